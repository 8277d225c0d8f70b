"""Experiments that take long: run once, stored as text, recalled by chapters, rechecked by tests.

A study is a function and the axes of a grid of cases. Its numbers are stored beside the file that defines
it, under a key of that source and of the data. So an edit of the study makes them stale; a change
elsewhere does not, and is caught by :func:`recheck`, which computes some cases again and compares.

:func:`run` needs the packages joblib and tqdm; :func:`recall` needs NumPy alone.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from mtlbook import checks
from mtlbook.checks import FloatArray

Case = dict[str, Any]
Found = dict[str, float]

DIGITS = 9
AGAIN = "Run make studies."
ANEW = "Delete the file and run make studies."


@dataclass(frozen=True, eq=False)
class Study:
    """A measurement that is repeated for every case of a grid.

    Parameters
    ----------
    measure : callable
        A function of a module that can be imported. It is called with the values of a case by name, after the
        data if there are any, and returns a mapping of names to numbers, the same names for every case.
    axes : mapping of names to sequences of text or numbers
        The grid: a case takes one value from each axis, and the last axis runs fastest.
    data : object, optional
        Data that all cases share, such as Tasks; part of the key.

    Raises
    ------
    TypeError
        If measure is not a function.
    ValueError
        If it is not defined in a file, or an axis is empty, repeats a value, or holds something else than
        text and numbers.
    """

    measure: Callable[..., Mapping[str, float]]
    axes: Mapping[str, Sequence[Any]]
    data: Any = None
    _source: str = field(init=False, default="", repr=False)

    def __post_init__(self) -> None:
        if not inspect.isfunction(self.measure):
            found = type(self.measure).__name__
            raise TypeError(f"measure: wanted a function, found {found}. Define it with def.")
        module = self.measure.__module__
        if module == "__main__" or "<" in self.measure.__qualname__ or not self._source_file().is_file():
            found = f"{self.measure.__qualname__} of {module}"
            checks.fail("measure", "a function of a module", found, "Put it into a file of chapters/studies.")
        for name, values in self.axes.items():
            good = [isinstance(v, str | int) or (isinstance(v, float) and isfinite(v)) for v in values]
            if not good or not all(good) or len({_text(v) for v in values}) < len(good):
                wanted = "distinct text or numbers, at least one"
                checks.fail(f"axis {name!r}", wanted, repr(list(values)), "Name each case once.")
        # Read now: an edit of the file does not reach the function that was already imported from it.
        object.__setattr__(self, "_source", self._sources())

    @property
    def name(self) -> str:
        """The study's module and function, in short."""
        return f"{self.measure.__module__.rpartition('.')[2]}.{self.measure.__name__}"

    @property
    def path(self) -> Path:
        """Where its numbers are stored."""
        return self._source_file().parent / "stored" / f"{self.name}.jsonl"

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def cases(self) -> list[Case]:
        """All combinations of the axes' values, the last axis running fastest."""
        return [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]

    @property
    def key(self) -> str:
        """A hash of the source, as it was when the study was made, and of the data."""
        return hashlib.sha256(_text([self._source, _hash_of(self.data)]).encode()).hexdigest()

    def _source_file(self) -> Path:
        return Path(inspect.getsourcefile(self.measure) or "")

    def _sources(self) -> str:
        """Text of the study's file, and of those files beside it from which it has functions."""
        functions = [value for value in self.measure.__globals__.values() if inspect.isfunction(value)]
        files = {self._source_file(), *(Path(inspect.getsourcefile(value) or "") for value in functions)}
        beside = sorted(file for file in files if file.parent == self._source_file().parent)
        return "".join(file.read_text(encoding="utf-8") for file in beside)


def run(study: Study, *, jobs: int = 1) -> dict[str, FloatArray]:
    """Compute the cases that are not stored yet, store all, and return them.

    Each case is written down as soon as it is known, so that an interrupted run goes on where it stopped. A
    terminal shows the progress; a notebook or a log does not.

    Parameters
    ----------
    study : Study
        What to compute.
    jobs : int
        How many processes share the work.

    Returns
    -------
    dict of ndarrays
        For each name that the study measures an array with one axis for each axis of the study.

    Raises
    ------
    ModuleNotFoundError
        If joblib or tqdm is not installed.
    ValueError
        If a case gives something else than finite numbers, or a stored file was damaged.
    """
    workers, part = checks.count(jobs, "jobs"), study.path.with_suffix(".part")
    header = _text({"study": study.name, "key": study.key})
    known = _known(study.path, header, sealed=True) | _known(part, header, sealed=False)
    todo = [case for case in study.cases if _text(case) not in known]
    study.path.parent.mkdir(exist_ok=True)
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in [header, *map(_line, known.items())])
        for case, found in _computed(study, todo, workers):
            known[_text(case)] = found
            file.write(_line((_text(case), found)) + "\n")
            file.flush()
    lines = [header, *(_line((_text(case), known[_text(case)])) for case in study.cases)]
    part.write_text(_sealed(lines), encoding="utf-8", newline="\n")
    part.replace(study.path)
    return recall(study)


def recall(study: Study) -> dict[str, FloatArray]:
    """The stored numbers of a study, if they are whole and belong to the study as it stands.

    Parameters
    ----------
    study : Study
        Whose numbers to read.

    Returns
    -------
    dict of ndarrays
        For each name that the study measures an array with one axis for each axis of the study.

    Raises
    ------
    ValueError
        If nothing is stored, the study or its data have changed since, cases are missing, or the file was
        damaged.
    """
    known = _known(study.path, _text({"study": study.name, "key": study.key}), sealed=True)
    found = [known.get(_text(case)) for case in study.cases]
    if not any(found):
        state = "numbers of another version of it or of its data" if study.path.exists() else "none"
        checks.fail(study.name, f"stored numbers in {study.path.name}", state, AGAIN)
    if None in found:
        checks.fail(study.name, f"{len(found)} cases", f"{len(found) - found.count(None)} stored", AGAIN)
    whole = [values for values in found if values is not None]
    if any(values.keys() != whole[0].keys() for values in whole):
        checks.fail(study.name, "the same names for every case", "others for some", "Mend the study.")
    return {name: np.array([values[name] for values in whole]).reshape(study.shape) for name in whole[0]}


def recheck(
    study: Study, rng: np.random.Generator, k: int = 2, *, tolerance: float = 1e-6
) -> list[dict[str, Any]]:
    """Compute some cases again and compare them with what is stored.

    The key of a study knows its own source, not the package it calls. This catches what the key cannot see.

    Parameters
    ----------
    study : Study
        Whose numbers to check.
    rng : numpy.random.Generator
        Chooses the cases.
    k : int
        How many cases.
    tolerance : float
        Largest difference allowed, relative to the number stored (absolute below one thousandth of it).

    Returns
    -------
    list of dicts
        The cases that were computed again.

    Raises
    ------
    ValueError
        As :func:`recall`, and if a number differs.
    """
    stored, close = recall(study), checks.number(tolerance, "tolerance", above=0.0)
    source, most = checks.generator(rng, "rng"), checks.count(k, "k")
    picks = source.choice(len(study.cases), size=min(most, len(study.cases)), replace=False)
    for at in picks:
        case = study.cases[at]
        for name, value in _measured(study, case).items():
            kept = float(stored[name].ravel()[at])
            if abs(value - kept) > close * max(abs(kept), 1e-3):
                checks.fail(f"{study.name} at {case}", f"{name} = {kept:.9g} as stored", f"{value:.9g}", ANEW)
    return [study.cases[at] for at in picks]


def _computed(study: Study, cases: list[Case], jobs: int) -> Iterator[tuple[Case, Found]]:
    """Pairs of case and numbers, each as soon as it is known."""
    if not cases:
        return
    try:
        from joblib import Parallel, delayed
        from tqdm import tqdm
    except ModuleNotFoundError as error:
        message = "Running a study needs two more packages: pip install joblib tqdm."
        raise ModuleNotFoundError(message) from error
    work = (delayed(_pair)(study.measure, study.data, case) for case in cases)
    pairs = Parallel(n_jobs=jobs, return_as="generator_unordered")(work)
    for case, found in tqdm(pairs, desc=study.name, total=len(cases), disable=None):
        yield case, _checked(study, case, found)


def _pair(measure: Callable[..., Mapping[str, float]], data: Any, case: Case) -> tuple[Case, Any]:
    return case, measure(**case) if data is None else measure(data, **case)


def _measured(study: Study, case: Case) -> Found:
    return _checked(study, *_pair(study.measure, study.data, case))


def _checked(study: Study, case: Case, found: Any) -> Found:
    """Numbers of a case, rounded: what lies below is noise of the machine."""
    try:
        numbers = {str(name): float(f"{float(value):.{DIGITS}g}") for name, value in dict(found).items()}
    except (TypeError, ValueError):
        numbers = {}
    if not numbers or not all(map(isfinite, numbers.values())):
        remedy = "Return a mapping of names to finite numbers."
        checks.fail(f"{study.name} at {case}", "finite numbers by name", repr(found), remedy)
    return numbers


def _known(path: Path, header: str, *, sealed: bool) -> dict[str, Found]:
    """Numbers in a file by case, if it has this header; one that is not sealed may end in a torn line."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    *lines, last = text.split("\n")
    if sealed:
        if last or not lines or text != _sealed(lines[:-1]):
            checks.fail(path.name, "the file as it was written", "one that was cut or changed since", ANEW)
        lines = lines[:-1]
    if not lines or lines[0] != header:
        return {}
    try:
        records = [json.loads(line) for line in lines[1:]]
        return {_text(record["case"]): dict(record["found"]) for record in records}
    except (KeyError, TypeError, ValueError):
        checks.fail(path.name, "one case on each line", "a line that is none", ANEW)


def _sealed(lines: list[str]) -> str:
    """The text of a finished file: its lines, and a last one that vouches for them."""
    body = "".join(f"{line}\n" for line in lines)
    return body + _text({"sha256": hashlib.sha256(body.encode()).hexdigest()}) + "\n"


def _line(item: tuple[str, Found]) -> str:
    case, found = item
    return _text({"case": json.loads(case), "found": found})


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _hash_of(data: Any) -> str:
    if data is None:
        return ""
    try:
        import joblib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("A study of data needs one more package: pip install joblib.") from error
    return str(joblib.hash(data))
