"""Plots: each function draws what it is given on one Axes and returns it.

The sole importer of matplotlib. All figures share one style sheet: ``plt.style.use("mtlbook.book")``.
Nothing is told by colour alone: matrices carry their numbers, curves their own dashes, arrows their names.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mtlbook import checks

try:
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("Figures need one more package: pip install matplotlib.") from error

MOST_NUMBERS = 64

# Shows the frame that the slider stands at, and says what it shows.
SHOW_FRAME = """
const figure = this.closest('figure');
figure.querySelectorAll('img').forEach((frame, k) => { frame.hidden = k != this.value; });
const frame = figure.querySelectorAll('img')[this.value];
this.setAttribute('aria-valuetext', frame.dataset.position);
figure.querySelector('output').textContent = frame.alt;
"""


def matrix(
    M: ArrayLike,
    *,
    ax: Axes | None = None,
    title: str = "",
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    limit: float | None = None,
) -> Axes:
    """Draw a matrix as a heat map: zero is white, positive red, negative blue.

    Parameters
    ----------
    M : array of shape (p, q)
        What to draw; up to `MOST_NUMBERS` entries are written into their cells.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str
        Title of the axes.
    rows, columns : sequences of p and q names
        Labels of rows and columns; none by default.
    limit : float, optional
        The absolute value at which colours saturate, to compare matrices; the largest entry by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If M is not a finite matrix, or names do not match its shape.
    """
    values = checks.array(M, "M", ("p", "q"))
    axes = _axes(ax)
    largest = max(abs(values).max(), np.finfo(float).tiny)
    top = largest if limit is None else checks.number(limit, "limit", above=0)
    axes.imshow(values, vmin=-top, vmax=top, aspect="equal")
    axes.set(title=title)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for names, axis, size in ((rows, axes.yaxis, values.shape[0]), (columns, axes.xaxis, values.shape[1])):
        if names and len(names) != size:
            checks.fail("names", f"{size} of them", str(len(names)), "Name every row and column, or none.")
        axis.set_ticks(range(size) if names else [], labels=list(names))
        axis.set_tick_params(length=0)
    if values.size <= MOST_NUMBERS:
        for (i, j), entry in np.ndenumerate(values):
            shade = "white" if abs(entry) > 0.6 * top else "black"
            axes.text(j, i, f"{entry:.3g}", ha="center", va="center", color=shade, fontsize="small")
    return axes


def arrows(vectors: Mapping[str, ArrayLike], *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw vectors of the plane as arrows from the origin, each with its name at the tip.

    Parameters
    ----------
    vectors : mapping of names to arrays of shape (2,)
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str
        Title of the axes.

    Returns
    -------
    Axes
        With one scale on both axes, so that lengths and angles are true.

    Raises
    ------
    ValueError
        If a vector is not of shape (2,) or not finite.
    """
    axes = _axes(ax)
    for k, (name, vector) in enumerate(vectors.items()):
        tip = checks.array(vector, name, (2,))
        axes.annotate(
            "",
            xy=(tip[0], tip[1]),
            xytext=(0, 0),
            arrowprops={"arrowstyle": "-|>", "color": f"C{k % 6}", "lw": 2, "shrinkA": 0, "shrinkB": 0},
        )
        axes.annotate(name, (tip[0], tip[1]), textcoords="offset points", xytext=(4, 4), color=f"C{k % 6}")
        axes.plot(*tip, alpha=0)
    axes.plot(0, 0, ".", color="black")
    axes.set(title=title, aspect="equal")
    return axes


def curves(
    x: ArrayLike,
    ys: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
) -> Axes:
    """Draw named curves over one x, each with its own colour and dashes.

    Parameters
    ----------
    x : array of shape (p,)
        Abscissae; a curve that is shorter uses the first of them.
    ys : mapping of names to arrays of shape (at most p,)
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title, xlabel, ylabel : str
        Texts of the axes.
    log : str
        Which axes are logarithmic: "", "x", "y" or "xy".

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a curve is longer than x, or not finite.
    """
    across = checks.array(x, "x", ("p",))
    axes = _axes(ax)
    for name, y in ys.items():
        up = checks.array(y, name, ("p",))
        if len(up) > len(across):
            checks.fail(name, f"at most {len(across)} values", str(len(up)), "Give an x for each.")
        axes.plot(across[: len(up)], up, label=name)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
    axes.legend()
    return axes


def intervals(
    samples: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    title: str = "",
    xlabel: str = "",
    width: float = 2.0,
) -> Axes:
    """Draw the mean of each sample with an interval of `width` standard errors to either side.

    Parameters
    ----------
    samples : mapping of names to arrays of shape (at least 2,)
        Repeated measurements of each thing, such as test errors over splits.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title, xlabel : str
        Texts of the axes.
    width : float
        Half the length of the interval, in standard errors of the mean.

    Returns
    -------
    Axes
        One row a sample, the first on top.

    Raises
    ------
    ValueError
        If a sample has fewer than two values, or one is not finite.
    """
    axes = _axes(ax)
    for row, (name, sample) in enumerate(samples.items()):
        values = checks.array(sample, name, ("k",))
        if len(values) < 2:
            checks.fail(name, "at least two values", "one", "Repeat the measurement: one has no interval.")
        error = width * values.std(ddof=1) / np.sqrt(len(values))
        axes.errorbar(values.mean(), row, xerr=error, fmt="o", capsize=4, color="C0", linestyle="none")
    axes.set_yticks(range(len(samples)), labels=list(samples))
    axes.set(title=title, xlabel=xlabel)
    axes.invert_yaxis()
    axes.margins(y=0.3)
    return axes


@dataclass(frozen=True)
class Movable:
    """A figure that the reader moves with a slider; notebooks and pages show it by themselves.

    Attributes
    ----------
    label : str
        What the slider sets.
    positions : tuple of k str
        Where the slider can stand.
    frames : tuple of k bytes
        The picture at each position, as PNG.
    texts : tuple of k str
        What each picture shows, in words.
    start : int
        Where the slider stands at first; that picture alone is printed.
    """

    label: str
    positions: tuple[str, ...]
    frames: tuple[bytes, ...] = field(repr=False)
    texts: tuple[str, ...]
    start: int

    def _repr_html_(self) -> str:
        pictures = "".join(
            f'<img src="data:image/png;base64,{base64.b64encode(frame).decode()}" alt="{html.escape(text)}" '
            f'data-position="{html.escape(position)}"{"" if k == self.start else " hidden"}>'
            for k, (frame, text, position) in enumerate(
                zip(self.frames, self.texts, self.positions, strict=True)
            )
        )
        slider = (
            f'<input type="range" min="0" max="{len(self.frames) - 1}" value="{self.start}" '
            f'aria-valuetext="{html.escape(self.positions[self.start])}" oninput="{html.escape(SHOW_FRAME)}">'
        )
        text = f'<output aria-live="polite">{html.escape(self.texts[self.start])}</output>'
        label = f"<label>{html.escape(self.label)} {slider}</label>"
        return f'<figure class="movable">{pictures}<figcaption>{label}{text}</figcaption></figure>'

    def _repr_png_(self) -> bytes:
        return self.frames[self.start]


def movable(
    draw: Callable[[Axes, float], str],
    positions: Sequence[float],
    *,
    label: str,
    start: int = 0,
    form: str = "{:g}",
) -> Movable:
    """A figure with a slider: one picture for each position, each with its text alternative.

    Parameters
    ----------
    draw : callable
        Draws on the Axes it is given for a position, and returns in words what the picture shows.
    positions : sequence of k numbers
        Where the slider can stand.
    label : str
        What the slider sets.
    start : int
        Index of the position shown at first, and in print.
    form : str
        Format of a position.

    Returns
    -------
    Movable

    Raises
    ------
    ValueError
        If there are fewer than two positions, or start is not among them.
    """
    places = checks.array(positions, "positions", ("k",)).tolist()
    if len(places) < 2 or not 0 <= start < len(places):
        found = f"{len(places)} positions and start {start}"
        checks.fail("positions", "at least two, with start among them", found, "Add positions.")
    frames, texts = [], []
    for place in places:
        figure, axes = plt.subplots()
        texts.append(draw(axes, place))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        plt.close(figure)
        frames.append(buffer.getvalue())
    names = tuple(form.format(place) for place in places)
    return Movable(label, names, tuple(frames), tuple(texts), start)


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax
