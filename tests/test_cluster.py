"""Cluster: the same moments as one array gives, from workers that may be slow, lost, absent or misled."""

import io
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from helpers import D, full_penalty, make_tasks, refused
from test_chunks import Table, assert_equal, cut, named, table

from mtlbook import Moments, Tasks, TraceRegularized, chunks, cluster, solve
from mtlbook.chunks import Sums

SIZES = (40, 70, 110)
ANY = "127.0.0.1:0"


@pytest.fixture(scope="module")
def threads() -> Iterator[Client]:
    """Workers that are threads of this process."""
    with Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
    ) as client:
        yield client


@pytest.fixture(scope="module")
def processes() -> Iterator[LocalCluster]:
    """Workers that are processes, which can be killed; a chunk on which two die is given up."""
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": ANY,
    }
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(processes=True, silence_logs=logging.CRITICAL, **options) as local,
    ):
        yield local


SERVER = """
from distributed import LocalCluster
with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
                  protocol="tcp://") as local:
    print(local.scheduler_address, flush=True)
    input()
"""


@pytest.fixture
def server() -> Iterator[tuple[str, subprocess.Popen]]:
    """A scheduler with a worker in a program of its own: its address and its process."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", SERVER], **pipes, text=True, env=here) as program:
        yield program.stdout.readline().strip(), program
        program.kill()


@pytest.fixture(scope="module")
def rows() -> Table:
    tasks = make_tasks(SIZES, seed=7)
    return table(Tasks(tasks.X, tasks.y, "xyz"))


def same_bits(a: Moments, b: Moments) -> bool:
    return a.names == b.names and all(
        np.array_equal(getattr(a, field), getattr(b, field)) for field in ("C", "B", "s", "m")
    )


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end, "nothing happened within 30 s"
        time.sleep(0.02)


def slowly(piece: Table, folder: str) -> Table:
    """Leaves the number of its process in the folder, and takes its time."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(0.15)
    return piece


def deadly() -> Table:
    os._exit(1)


# The same result --------------------------------------------------------------


def test_W_is_the_same_from_one_array_from_chunks_and_from_processes(processes, rows):
    """To 1e-10, and between chunks and cluster of whatever number of workers."""
    P, pieces = full_penalty(), cut(rows, list(range(9, 220, 9)))
    whole = Moments.from_tasks(Tasks.from_table(*rows))
    found = [whole, chunks.moments(pieces), cluster.moments(pieces, address=processes.scheduler_address)]
    W, *others = (solve(TraceRegularized(moments, P, 0.3)).W for moments in found)
    for other in others:
        assert np.linalg.norm(other - W) <= 1e-10 * np.linalg.norm(W)


@pytest.mark.parametrize("n_chunks", [1, 7, 8, 9, 64, 65, 220])
def test_trees_of_every_height_add_all_chunks_once(threads, rows, n_chunks):
    places = np.linspace(0, len(rows[1]), n_chunks + 1).astype(int)[1:-1].tolist()
    assert_equal(
        cluster.moments(cut(rows, places), client=threads), Moments.from_tasks(Tasks.from_table(*rows))
    )


def test_sums_meet_eight_by_eight_in_the_order_of_the_chunks(threads, rows):
    """To the last bit, so that no worker ever holds more than eight sums besides its own."""
    pieces = cut(rows, list(range(3, 220, 3)))
    sums = [Sums.of(piece, k) for k, piece in enumerate(pieces)]
    while len(sums) > 1:
        sums = [Sums.merge(sums[k : k + 8]) for k in range(0, len(sums), 8)]
    assert same_bits(cluster.moments(pieces, client=threads), sums[0].moments())


def test_dask_arrays_give_the_same_whatever_their_blocks(threads, rows):
    X, y, task = rows
    arrays = (
        da.from_array(X, chunks=(13, 3)),
        da.from_array(y, chunks=50),
        da.from_array(task, chunks=220),
    )
    blocks = cluster.row_blocks(*arrays)
    assert len(blocks) == 17
    assert_equal(cluster.moments(blocks, client=threads), Moments.from_tasks(Tasks.from_table(*rows)))


def test_rows_that_a_filter_leaves_have_unknown_numbers_and_may_leave_blocks_empty(threads, rows):
    X, y, task = (da.from_array(column, chunks=(20, D)[: column.ndim]) for column in rows)
    kept = da.from_array(np.arange(220) >= 45, chunks=20)
    blocks = cluster.row_blocks(X[kept], y[kept], task[kept])
    want = Moments.from_tasks(Tasks.from_table(*(column[45:] for column in rows)))
    assert_equal(cluster.moments(blocks, client=threads), want)


def test_delayed_chunks_functions_and_tasks_may_be_mixed(threads):
    parts = [named(seed=seed) for seed in range(4)]
    mixed = [parts[0], table(parts[1]), partial(table, parts[2]), dask.delayed(table)(parts[3])]
    want = Moments.from_chunks(parts)
    assert_equal(cluster.moments(mixed, client=threads), want)
    assert_equal(cluster.moments(iter(mixed), client=threads, names="xyz"), want)


def test_names_set_the_order_on_a_cluster_too(threads, rows):
    moments = cluster.moments(cut(rows, [50, 100]), client=threads, names="zxy")
    assert_equal(moments, chunks.moments([rows], names="zxy"))


# Memory -----------------------------------------------------------------------


class Tracked(np.ndarray):
    """An array that can be watched."""


ALIVE: set[int] = set()
MOST: list[int] = []


def watched(k: int) -> Table:
    """A table whose inputs are counted as long as they are in memory."""
    X, y, task = table(named(), seed=k)
    X = X.view(Tracked)
    ALIVE.add(k)
    weakref.finalize(X, ALIVE.discard, k)
    MOST.append(len(ALIVE))
    time.sleep(0.005)
    return X, y, task


@pytest.mark.parametrize("wrap", [partial(partial, watched), dask.delayed(watched, pure=False)])
def test_a_worker_holds_few_chunks_at_a_time(threads, wrap):
    """Sixty chunks pass through two threads; those in memory at once stay a handful."""
    MOST.clear()
    assert cluster.moments([wrap(k) for k in range(60)], client=threads).m.sum() == 60 * 24
    assert len(MOST) == 60
    assert max(MOST) <= 6


# Workers are lost -------------------------------------------------------------


def test_a_worker_killed_midway_changes_no_bit(processes, rows, tmp_path):
    pieces = cut(rows, list(range(11, 220, 11)))
    address = processes.scheduler_address
    calm = cluster.moments(pieces, address=address)
    loaders = [partial(slowly, piece, str(tmp_path)) for piece in pieces]
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(cluster.moments, loaders, address=address)
        until(lambda: running.done() or len(list(tmp_path.iterdir())) == 2)
        time.sleep(0.3)
        assert not running.done()
        os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)
        assert same_bits(running.result(timeout=60), calm)


def test_a_chunk_on_which_workers_die_is_named(processes, rows):
    """Two are enough here; Dask's own limit is four."""
    with pytest.raises(RuntimeError, match=r"^chunk 1: wanted workers that survive it, found 2 dead\. Cut "):
        cluster.moments([rows, deadly], address=processes.scheduler_address)


# Schedulers -------------------------------------------------------------------


def test_a_scheduler_of_ones_own_answers_at_its_address_and_may_be_lost(server, rows, tmp_path):
    address, scheduler = server
    pieces = cut(rows, list(range(11, 220, 11)))
    assert_equal(cluster.moments(pieces, address=address), Moments.from_tasks(Tasks.from_table(*rows)))
    loaders = [partial(slowly, piece, str(tmp_path)) for piece in pieces]
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(cluster.moments, loaders, address=address, timeout=2)
        until(lambda: running.done() or list(tmp_path.iterdir()))
        assert not running.done()
        scheduler.kill()
        with pytest.raises(RuntimeError, match=r"^client: wanted a scheduler that stays, found it gone"):
            running.result(timeout=60)


def test_an_address_where_nobody_listens_is_told_in_time(rows):
    start = time.monotonic()
    with refused("address", "a scheduler that answers within 0.5 s", "Timed out", "dask scheduler"):
        cluster.moments([rows], address="tcp://127.0.0.1:9", timeout=0.5)
    assert time.monotonic() - start < 10


def test_one_who_listens_and_says_nothing_is_no_scheduler(rows):
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with refused("address", "a scheduler that answers within 0.5 s", "", "dask scheduler"):
            cluster.moments([rows], address=address, timeout=0.5)
    assert time.monotonic() - start < 10


def test_asking_in_vain_leaves_no_thread_behind(rows):
    """A Client that finds no scheduler leaves one, and a few of them can hang a program."""
    before = threading.active_count()
    for _ in range(3):
        with refused("address", "a scheduler"):
            cluster.moments([rows], address="tcp://127.0.0.1:9", timeout=0.1)
    until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize("wrong", ["nowhere", "ftp://127.0.0.1:9", ""])
def test_an_address_that_is_none_is_refused(rows, wrong):
    with refused("address", "a scheduler that answers within 0.5 s", "", "leave address out"):
        cluster.moments([rows], address=wrong, timeout=0.5)


def test_a_scheduler_without_workers_is_told_in_time(rows):
    start = time.monotonic()
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=ANY) as empty,
        refused("client", "a worker within 0.5 s", "none", "dask worker"),
    ):
        cluster.moments([rows], address=empty.scheduler_address, timeout=0.5)
    assert time.monotonic() - start < 10


def test_a_client_given_stays_open_and_is_no_default(threads, rows):
    cluster.moments([rows], client=threads)
    assert threads.status == "running"


def test_a_client_and_an_address_are_one_too_many(threads, rows):
    with refused("client", "a client or an address", "both"):
        cluster.moments([rows], client=threads, address="tcp://127.0.0.1:9")
    with refused("client", "a Client", "str", kind=TypeError):
        cluster.moments([rows], client="tcp://127.0.0.1:9")


# A cluster of one's own -------------------------------------------------------

SCRIPT = """
import multiprocessing, numpy as np
from mtlbook import chunks, cluster
rng = np.random.default_rng(0)
pieces = [(rng.normal(size=(9, 3)), rng.normal(size=9), rng.integers(4, size=9)) for _ in range(12)]
"""
GUARDED = """
if __name__ == "__main__":
    here, there = chunks.moments(pieces[:2]), cluster.moments(pieces[:2])
    print(np.abs(here.C - there.C).max() < 1e-12, multiprocessing.active_children())
    try:
        cluster.moments([5])
    except TypeError as error:
        print(error, multiprocessing.active_children())
"""
BARE = """
try:
    cluster.moments(pieces[:1])
except RuntimeError as error:
    print(error)
"""


def run(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT + source, encoding="utf-8")
    return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, cwd=folder)


def test_a_cluster_started_here_is_quiet_and_ends_also_after_an_error(tmp_path):
    result = run(GUARDED, tmp_path)
    wrong = "chunk 0: wanted a table (X, y, task) or a Tasks, found int. Make it one of these."
    assert (result.stderr, result.stdout) == ("", f"True []\n{wrong} []\n")


def test_a_script_without_its_guard_is_told_so(tmp_path):
    assert 'Call it below `if __name__ == "__main__":`' in run(BARE, tmp_path).stdout


# Progress ---------------------------------------------------------------------


def test_a_bar_grows_as_workers_report(threads, rows, capsys, tmp_path):
    loaders = [partial(slowly, piece, str(tmp_path)) for piece in cut(rows, [40, 80, 120, 160, 200])]
    cluster.moments(loaders, client=threads, progress=True)
    drawn = capsys.readouterr().err
    states = drawn.strip("\r\n").split("\r")
    assert f"[{'#' * 5}{'.' * 25}] 1 of 6 chunks" in states
    assert states[-1] == f"[{'#' * 30}] 6 of 6 chunks"
    assert drawn.endswith("\n")


def test_a_bar_is_full_at_the_end_though_reports_be_late(threads, rows, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "get_worker", Mute)
    cluster.moments([rows, rows], client=threads, progress=True)
    assert capsys.readouterr().err == f"\r[{'#' * 30}] 2 of 2 chunks\n"


def test_workers_report_only_to_a_bar(threads, rows, monkeypatch):
    monkeypatch.setattr(cluster, "get_worker", None)
    cluster.moments([rows], client=threads)
    with pytest.raises(TypeError, match="not callable"):
        cluster.moments([rows], client=threads, progress=True)


class Mute:
    """A worker whose reports are lost."""

    def log_event(self, topic: str, event: int) -> None:
        pass


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_nothing_else_does(threads, rows, capsys, monkeypatch):
    cluster.moments([rows], client=threads)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    cluster.moments([rows], client=threads, progress=False)
    assert terminal.getvalue() == ""
    cluster.moments([rows], client=threads)
    assert "1 of 1 chunks" in terminal.getvalue()


def test_a_bar_ends_its_line_after_an_error(threads, capsys):
    with pytest.raises(TypeError):
        cluster.moments([5], client=threads, progress=True)
    assert capsys.readouterr().err.endswith("\n")


# What is refused --------------------------------------------------------------


def test_a_bad_chunk_is_named_from_afar(threads, rows):
    X, y, task = (column.copy() for column in cut(rows, [80, 160])[1])
    X[7, 2] = np.nan
    pieces = cut(rows, [80, 160])
    with refused("chunk 1, X", "finite numbers", "nan at (7, 2)"):
        cluster.moments([pieces[0], (X, y, task), pieces[2]], client=threads)
    with refused("chunk 2", "4 features, as in chunk 0", "3"):
        cluster.moments([*pieces[:2], (pieces[2][0][:, :3], *pieces[2][1:])], client=threads)
    task = pieces[2][2].copy()
    task[9] = "w"
    with refused("chunk 2, task", "one of the 3 names", "'w' in row 9"):
        cluster.moments([*pieces[:2], (*pieces[2][:2], task)], client=threads, names="xyz")
    with refused("names", "tasks with rows", "no row of 'w'"):
        cluster.moments(pieces, client=threads, names="wxyz")


def test_bad_arguments_are_refused_before_a_cluster_is_asked():
    with refused("chunks", "at least one chunk", "none"):
        cluster.moments([], address="nowhere")
    with refused("names", "distinct names", "'x' more than once"):
        cluster.moments([1], names="xx", address="nowhere")
    with refused("timeout", "a finite number above 0", "0"):
        cluster.moments([1], timeout=0, address="nowhere")
    with pytest.raises(TypeError, match="chunks: wanted an iterable of chunks, found 5"):
        cluster.moments(5, address="nowhere")


def test_arrays_that_are_no_table_are_refused():
    X, y = da.zeros((6, 2), chunks=3), da.zeros(6, chunks=3)
    with refused("y", "6 rows, as X", "5"):
        cluster.row_blocks(X, y[:5], y)
    with refused("task", "6 rows, as X", "5"):
        cluster.row_blocks(X, y, y[:5])
    with refused("X, y, task", "2, 1 and 1 axes", "2, 2 and 1"):
        cluster.row_blocks(X, X, y)
    with refused("y", "a Array", "ndarray", "dask.array.from_array", kind=TypeError):
        cluster.row_blocks(X, np.zeros(6), y)
    with refused("y", "2 blocks of rows, as X", "1", "compute_chunk_sizes"):
        cluster.row_blocks(X[X[:, 0] > 0], y.rechunk(6), y)


def test_without_dask_the_room_says_what_to_install():
    code = "import sys; sys.modules['distributed'] = None; import mtlbook.cluster"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "A cluster needs two more packages: pip install dask distributed." in result.stderr
