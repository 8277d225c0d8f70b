"""The worked examples of CONTRIBUTING run as printed: a loss and a relation, added in one file each."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_gradient, finite_differences, literal_trace

import mtlbook
from mtlbook import relations
from mtlbook.losses import Logistic, Loss
from mtlbook.mixed import MixedRegularized
from mtlbook.newton import newton

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The Python blocks of a section, as printed."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def run(heading: str) -> dict:
    values: dict = {"__name__": "example"}
    for block in blocks(heading):
        exec(compile(block, f"CONTRIBUTING.md, {heading}", "exec"), values)
    return values


@pytest.fixture(scope="module")
def example() -> dict:
    return run("Add a loss")


def test_the_examples_are_printed():
    assert [len(blocks(heading)) for heading in ("Add a loss", "Add a relation")] == [2, 1]


def test_running_them_changes_no_solver_and_no_file():
    def house():
        files = {path: path.read_bytes() for path in Path(mtlbook.__file__).parent.glob("*.py")}
        return files, [
            dict(vars(importlib.import_module(f"mtlbook.{room}"))) for room in ("solvers", "newton")
        ]

    before = house()
    assert "huber" not in "".join(before[0][path].decode().lower() for path in before[0])
    run("Add a loss")
    run("Add a relation")
    assert house() == before


def test_the_loss_fits(example, capsys):
    result, F = example["result"], example["F"]
    assert result.converged
    assert np.linalg.norm(F.gradient(result.W)) <= 1e-8 * np.linalg.norm(F.gradient(0 * result.W))
    run("Add a loss")
    assert capsys.readouterr().out == result.message + "\n"


def test_the_gradient_of_the_fit_meets_finite_differences(example):
    F = example["F"]
    W = np.random.default_rng(1).normal(size=F.shape)
    assert_gradient(F.value, F.gradient(W), W)


def test_the_loss_is_what_its_docstring_says(example):
    huber = example["Huber"](delta=0.5)
    assert isinstance(huber, Loss)
    s = np.array([-4.0, -0.6, -0.2, 0.0, 0.3, 0.7, 9.0])
    y = np.zeros(s.shape)
    literal = [r**2 if abs(r) <= 0.5 else 0.25 + 2 * 0.5 * (abs(r) - 0.5) for r in s]
    np.testing.assert_allclose(huber.value(s, y), literal, rtol=1e-14)
    np.testing.assert_allclose(
        huber.slope(s, y), finite_differences(lambda t: huber.value(t, y).sum(), s), atol=1e-9
    )
    np.testing.assert_allclose(
        huber.curvature(s, y), finite_differences(lambda t: huber.slope(t, y).sum(), s), atol=1e-9
    )
    assert huber.curvature(s, y).max() <= huber.bound
    np.testing.assert_array_equal(huber.mean(s), s)


def test_the_loss_stands_beside_others(example):
    tasks = example["tasks"]
    y = [np.sign(y) if i % 2 else y for i, y in enumerate(tasks.y)]
    losses = [Logistic() if i % 2 else example["Huber"]() for i in range(12)]
    F = MixedRegularized(mtlbook.Tasks(tasks.X, y), relations.independent(12), 0.1, losses)
    assert newton(F).converged


def test_the_relation_charges_steps_around_the_circle():
    values = run("Add a relation")
    assert values["result"].converged
    for n in (3, 5, 12):
        P = values["ring"](n)
        np.testing.assert_allclose(
            P, relations.chain(n) + np.outer(*2 * [np.eye(n)[0] - np.eye(n)[-1]]), atol=1e-15
        )
        W = np.random.default_rng(n).normal(size=(4, n))
        steps = sum(np.sum((W[:, i] - W[:, i - 1]) ** 2) for i in range(n))
        assert literal_trace(W, P) == pytest.approx(steps)
