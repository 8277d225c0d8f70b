"""What the figures show is what they were given: the numbers are read back from the axes."""

import importlib
import sys

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from mtlbook import plots

M = np.array([[1.0, -2.0, 0.0], [0.5, 4.0, -4.0]])


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def test_a_matrix_shows_its_entries_in_place_and_in_number():
    axes = plots.matrix(M, title="M", rows=["a", "b"], columns=["u", "v", "w"])
    assert np.array_equal(axes.images[0].get_array(), M)
    written = {tuple(int(k) for k in t.get_position()): t.get_text() for t in axes.texts}
    assert written == {(j, i): f"{M[i, j]:.3g}" for i in range(2) for j in range(3)}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["u", "v", "w"]
    assert axes.get_title() == "M"


def test_colours_of_a_matrix_are_symmetric_about_zero():
    assert plots.matrix(M).images[0].get_clim() == (-4.0, 4.0)
    assert plots.matrix(M, limit=10).images[0].get_clim() == (-10.0, 10.0)
    assert plots.matrix(np.zeros((2, 2))).images[0].get_clim()[1] > 0


def test_numbers_stay_readable_on_dark_cells():
    axes = plots.matrix(M)
    shades = {t.get_text(): to_hex(t.get_color()) for t in axes.texts}
    assert (shades["4"], shades["0.5"]) == ("#ffffff", "#000000")


def test_a_large_matrix_is_drawn_without_numbers():
    assert len(plots.matrix(np.eye(9)).texts) == 0


def test_arrows_end_at_their_vectors_and_carry_names():
    axes = plots.arrows({"u": [1.0, 2.0], "v": [-3.0, 0.5]})
    tips = [t.xy for t in axes.texts if t.get_text() == ""]
    names = {t.get_text(): t.xy for t in axes.texts if t.get_text()}
    assert tips == [(1.0, 2.0), (-3.0, 0.5)]
    assert names == {"u": (1.0, 2.0), "v": (-3.0, 0.5)}
    assert axes.get_aspect() == 1.0


def test_curves_keep_their_numbers_and_differ_in_dashes():
    with plt.style.context("mtlbook.book"):
        axes = plots.curves([1, 2, 3], {"a": [1, 4, 9], "b": [2, 8]}, log="xy", xlabel="x", ylabel="y")
    first, second = axes.get_lines()
    assert first.get_xydata().tolist() == [[1, 1], [2, 4], [3, 9]]
    assert second.get_xydata().tolist() == [[1, 2], [2, 8]]
    assert first.get_linestyle() != second.get_linestyle()
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_axes_are_logarithmic_only_where_asked(log):
    axes = plots.curves([1, 2], {"a": [1, 2]}, log=log)
    assert (axes.get_xscale() == "log", axes.get_yscale() == "log") == ("x" in log, "y" in log)


def test_an_interval_is_two_standard_errors_to_either_side_of_the_mean():
    sample = np.array([1.0, 2.0, 6.0])
    axes = plots.intervals({"s": sample, "t": sample + 1}, xlabel="error")
    (bar,) = axes.containers[0].lines[2]
    low, high = bar.get_segments()[0][:, 0]
    error = np.sqrt(np.sum((sample - 3) ** 2) / 2) / np.sqrt(3)
    assert (low, high) == pytest.approx((3 - 2 * error, 3 + 2 * error))
    assert [t.get_text() for t in axes.get_yticklabels()] == ["s", "t"]
    assert axes.yaxis_inverted()
    wide = plots.intervals({"s": sample}, width=4).containers[0].lines[2][0].get_segments()[0][:, 0]
    assert np.ptp(wide) == pytest.approx(2 * (high - low))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.matrix([1.0, 2.0]), "M: wanted"),
        (lambda: plots.matrix([[np.nan]]), "finite"),
        (lambda: plots.matrix(M, rows=["a"]), "2 of them"),
        (lambda: plots.arrows({"u": [1.0, 2.0, 3.0]}), r"u: wanted an array of shape \(2,\)"),
        (lambda: plots.curves([1, 2], {"a": [1, 2, 3]}), "at most 2"),
        (lambda: plots.intervals({"s": [1.0]}), "at least two values"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.matrix(M, ax=ax),
        lambda ax: plots.arrows({"u": [1.0, 2.0]}, ax=ax),
        lambda ax: plots.curves([1, 2], {"a": [1, 2]}, ax=ax),
        lambda ax: plots.intervals({"s": [1.0, 2.0]}, ax=ax),
    ],
)
def test_every_plot_draws_on_the_axes_it_is_given_and_opens_no_other(draw):
    figure, ax = plt.subplots()
    assert draw(ax) is ax
    assert plt.get_fignums() == [figure.number]


def draw_level(ax, place):
    ax.plot([0, 1], [place, place])
    return f"A flat line at {place:g} & no more."


def test_a_movable_figure_has_one_picture_and_one_text_for_each_position():
    figure = plots.movable(draw_level, [1.0, 2.0, 3.0], label="level", start=1)
    page = figure._repr_html_()
    assert len(set(figure.frames)) == page.count("<img") == 3
    assert page.count(" hidden>") == 2
    assert figure.texts == tuple(f"A flat line at {k} & no more." for k in (1, 2, 3))
    assert '<output aria-live="polite">A flat line at 2 &amp; no more.</output>' in page
    assert 'max="2" value="1" aria-valuetext="2"' in page
    assert plt.get_fignums() == []


def test_in_print_a_movable_figure_stands_at_its_start():
    figure = plots.movable(draw_level, [1.0, 2.0], label="level", start=1)
    assert figure._repr_png_() == figure.frames[1]


@pytest.mark.parametrize(("positions", "start"), [([1.0], 0), ([1.0, 2.0], 2), ([1.0, 2.0], -1)])
def test_a_movable_figure_needs_somewhere_to_go(positions, start):
    with pytest.raises(ValueError, match="at least two"):
        plots.movable(draw_level, positions, label="level", start=start)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delitem(sys.modules, "mtlbook.plots")
    with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        importlib.import_module("mtlbook.plots")
