"""Measure how the cost of moments and of solve grows, and store it for the chapter `scale`.

    python bench/growth.py [OUTPUT]      # a few minutes, on Linux; writes bench/growth.json

Seconds are CPU seconds of one thread, all repetitions stored in the order of their size. Memory is the growth
of the peak resident set of a fresh process.
"""

from __future__ import annotations

import os

# One thread, or CPU seconds would count waiting threads; to be set before NumPy is loaded.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mtlbook import Moments, Tasks, TraceRegularized, chunks, relations, solve

OUTPUT = Path(__file__).with_name("growth.json")
REPEATS, ENOUGH = 9, 5.0
CHUNK_ROWS, CHUNK_FEATURES, CHUNK_TASKS = 20_000, 50, 10
# What grows, with what else held fixed: sizes double, in the range where a call is neither free nor endless.
RANGES = {
    "rows": ([200, 400, 800, 1600, 3200, 6400, 12800], {"tasks": 20, "features": 50}),
    "tasks": ([32, 64, 128, 256, 512, 1024, 2048], {"rows": 500, "features": 50}),
    "features": ([32, 64, 128, 256, 512, 1024], {"rows": 1000, "tasks": 20}),
}


def planted(rows: int, tasks: int, features: int) -> Tasks:
    """Tasks of `rows` rows each, whose features are correlated and scaled a little."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=features)
    X = [rng.normal(size=(rows, features)) for _ in range(tasks)]
    W = common[:, None] + 0.3 * rng.normal(size=(features, tasks))
    y = [x @ w + rng.normal(size=rows) for x, w in zip(X, W.T, strict=True)]
    return Tasks(X, y)


def ring(n: int) -> np.ndarray:
    """The Laplacian of a ring plus a little of the identity: a relation that does not change with n."""
    A = np.roll(np.eye(n), 1, axis=0)
    return relations.laplacian(A + A.T) + 0.1 * np.eye(n)


def seconds(call: Callable[[], object]) -> list[float]:
    """CPU seconds of repeated calls, least first, to three digits; fewer repetitions of long calls."""
    found: list[float] = []
    while len(found) < REPEATS and (len(found) < 3 or sum(found) < ENOUGH):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return [float(f"{value:.3g}") for value in sorted(found)]


def curve(grows: str) -> dict[str, object]:
    """Cost of moments and of solve, objective included, over one range of sizes."""
    sizes, fixed = RANGES[grows]
    measured: dict[str, list] = {"moments": [], "solve": [], "iterations": []}
    for size in sizes:
        shape = {**fixed, grows: size}
        tasks, P = planted(**shape), ring(shape["tasks"])
        moments = Moments.from_tasks(tasks)
        measured["moments"].append(seconds(partial(Moments.from_tasks, tasks)))
        measured["solve"].append(seconds(lambda m=moments, P=P: solve(TraceRegularized(m, P, 1.0))))
        measured["iterations"].append(solve(TraceRegularized(moments, P, 1.0)).n_iterations)
        print(grows, shape, measured["moments"][-1][0], measured["solve"][-1][0], flush=True)
    return {"grows": grows, "sizes": sizes, "fixed": fixed, **measured}


def penalties(rank: int = 10, columns: int = 10) -> dict[str, object]:
    """Cost of making P = (Z Z^T + I)^-1 and applying it once: as a matrix, and by Woodbury."""
    sizes, dense, woodbury = [128, 256, 512, 1024, 2048], [], []
    for n in sizes:
        rng = np.random.default_rng(0)
        Z, W = rng.normal(size=(n, rank)), rng.normal(size=(columns, n))
        dense.append(seconds(lambda W=W, Z=Z: W @ relations.precision(relations.similarity(Z), 1.0)))
        woodbury.append(seconds(lambda W=W, Z=Z: W - (W @ Z) @ np.linalg.solve(np.eye(rank) + Z.T @ Z, Z.T)))
        print("penalty", n, dense[-1][0], woodbury[-1][0], flush=True)
    return {
        "sizes": sizes,
        "fixed": {"rank": rank, "features": columns},
        "dense": dense,
        "woodbury": woodbury,
    }


def rates() -> dict[str, float]:
    """What one thread does at best: products of large matrices, and reading what is in memory."""
    M = np.ones((1500, 1500))
    product = 2 * 1500**3 / seconds(lambda: M @ M)[0]
    big = np.ones(20_000_000)
    return {
        "flops per second": float(f"{product:.3g}"),
        "bytes per second": float(f"{big.nbytes / seconds(big.sum)[0]:.3g}"),
    }


# Memory, each measured in a process of its own -----------------------------------


def piece(folder: Path, k: int) -> chunks.Table:
    """Rows of chunk k, copied from files that are only mapped into memory."""
    rows = slice(k * CHUNK_ROWS, (k + 1) * CHUNK_ROWS)
    X, y, task = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("X", "y", "task"))
    return np.array(X[rows]), np.array(y[rows]), np.array(task[rows])


def write(folder: Path, n_chunks: int) -> None:
    """Three .npy files of so many chunks, written without ever holding more than one."""
    rng, rows = np.random.default_rng(0), n_chunks * CHUNK_ROWS
    shapes = {"X": (rows, CHUNK_FEATURES), "y": (rows,), "task": (rows,)}
    for name, shape in shapes.items():
        kind = np.int64 if name == "task" else np.float64
        column = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape)
        for k in range(n_chunks):
            part = (CHUNK_ROWS, *shape[1:])
            column[k * CHUNK_ROWS : (k + 1) * CHUNK_ROWS] = (
                rng.integers(CHUNK_TASKS, size=part) if name == "task" else rng.normal(size=part)
            )


def peak(how: str, folder: Path, n_chunks: int) -> int:
    """Bytes by which the peak of this process grows while moments are computed."""
    before = status("VmRSS")
    if how == "chunks":
        chunks.moments(partial(piece, folder, k) for k in range(n_chunks))
    else:
        X, y, task = (np.load(folder / f"{name}.npy") for name in ("X", "y", "task"))
        Moments.from_tasks(Tasks.from_table(X, y, task))
    return status("VmHWM") - before


def status(entry: str) -> int:
    """Bytes that Linux reports of this process; unlike getrusage, of it alone and not of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(entry)))


def memory() -> dict[str, object]:
    """Peak memory against the number of chunks, for rows in chunks and for all rows at once."""
    sizes, found = [2, 4, 8, 16, 32, 64], {"chunks": [], "whole": []}
    for n_chunks in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), n_chunks)
            for how, peaks in found.items():
                command = [sys.executable, __file__, "--peak", how, folder, str(n_chunks)]
                peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        print("memory", n_chunks, found["chunks"][-1], found["whole"][-1], flush=True)
    chunk = CHUNK_ROWS * (CHUNK_FEATURES + 2) * 8
    fixed = {"rows": CHUNK_ROWS, "features": CHUNK_FEATURES, "tasks": CHUNK_TASKS}
    return {"sizes": sizes, "fixed": fixed, "chunk bytes": chunk, **found}


def machine() -> dict[str, object]:
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "threads": 1,
    }


def main(arguments: list[str]) -> None:
    """Measure all, and write the file."""
    if arguments[:1] == ["--peak"]:
        print(peak(arguments[1], Path(arguments[2]), int(arguments[3])))
        return
    found = {
        "command": "python bench/growth.py",
        "machine": machine(),
        "rates": rates(),
        "curves": [curve(grows) for grows in RANGES],
        "penalties": penalties(),
        "memory": memory(),
    }
    output = Path(arguments[0]) if arguments else OUTPUT
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
