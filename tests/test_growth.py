"""The stored measurements of growth: complete, without a date, and made by a program that still runs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_chunks import assert_equal

from mtlbook import Moments, Tasks, chunks

BENCH = Path(__file__).resolve().parent.parent / "bench"
STORED = json.loads((BENCH / "growth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def growth():
    """The program, as a module."""
    spec = importlib.util.spec_from_file_location("growth", BENCH / "growth.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_holds_what_the_program_measures(growth):
    assert set(STORED) == {"command", "machine", "rates", "curves", "penalties", "memory"}
    assert set(STORED["machine"]) == set(growth.machine())
    for curve in STORED["curves"]:
        sizes, fixed = growth.RANGES[curve["grows"]]
        assert (curve["sizes"], curve["fixed"]) == (sizes, fixed)
        for what in ("moments", "solve"):
            assert min(map(len, curve[what])) >= 3
            assert all(runs == sorted(runs) and runs[0] > 0 for runs in curve[what])
            assert len(curve[what]) == len(sizes) == len(curve["iterations"])


def test_the_file_names_no_date_and_no_host():
    text = (BENCH / "growth.json").read_text(encoding="utf-8")
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d:\d\d", text)
    assert not {"host", "node", "user", "date", "time"} & set(STORED["machine"])


def test_memory_is_flat_by_chunks_and_grows_with_the_rows_without(growth):
    memory = STORED["memory"]
    assert max(memory["chunks"]) < 1.3 * min(memory["chunks"])
    assert memory["whole"][-1] / memory["whole"][0] > 0.5 * memory["sizes"][-1] / memory["sizes"][0]


def test_the_rows_written_are_the_rows_read(growth, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "CHUNK_ROWS", 30)
    growth.write(tmp_path, 4)
    X, y, task = (np.load(tmp_path / f"{name}.npy") for name in ("X", "y", "task"))
    assert (X.shape, len(np.unique(task))) == ((120, growth.CHUNK_FEATURES), growth.CHUNK_TASKS)
    pieces = [growth.piece(tmp_path, k) for k in range(4)]
    assert_equal(chunks.moments(pieces), Moments.from_tasks(Tasks.from_table(X, y, task)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_reports_its_own_peak(growth, tmp_path):
    growth.write(tmp_path, 2)
    command = [sys.executable, BENCH / "growth.py", "--peak", "whole", tmp_path, "2"]
    found = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert STORED["memory"]["chunk bytes"] * 2 < found < STORED["memory"]["chunk bytes"] * 20


def test_repetitions_are_sorted_and_stop_when_there_are_enough(growth, monkeypatch):
    assert len(runs := growth.seconds(lambda: None)) == growth.REPEATS
    assert runs == sorted(runs)
    monkeypatch.setattr(growth, "ENOUGH", -1.0)
    assert len(growth.seconds(lambda: None)) == 3
