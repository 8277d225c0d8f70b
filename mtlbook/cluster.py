"""Cluster: moments of rows that lie on many machines, summed where they lie.

Sums over chunks meet in a tree, `FAN_IN` at a time. Its shape depends on the order of the chunks alone, so
that the result is the same to the last bit whichever worker did what, and whichever was lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as ConcurrentFuture
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from threading import Thread
from typing import Any, NoReturn
from uuid import uuid4

import numpy as np

from mtlbook import checks
from mtlbook.chunks import Sums, checked_names, listed
from mtlbook.moments import Moments

try:
    import dask.array as da
    from dask.delayed import delayed
    from dask.system import CPU_COUNT
    from distributed import Client, Future, KilledWorker, LocalCluster, Security, get_worker
    from distributed.comm.core import connect
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("A cluster needs two more packages: pip install dask distributed.") from error

FAN_IN = 8
TICK = 1.0
BAR = 30


def moments(
    chunks: Iterable[Any],
    *,
    names: Sequence[Hashable] = (),
    address: str | None = None,
    client: Client | None = None,
    progress: bool | None = None,
    timeout: float = 30.0,
) -> Moments:
    """Moments of rows that come in chunks, summed by the workers of a Dask cluster.

    The same as ``Moments.from_tasks`` of all rows at once, though no machine ever holds them: a worker has
    the few chunks that it is summing, and sums of outer products [DG08]_, [R15]_. What a lost worker knew is
    computed again by others.

    Parameters
    ----------
    chunks : iterable
        As for :func:`mtlbook.chunks.moments`: tables (X, y, task), Tasks, or functions that load one of
        these. A function is called on the worker, and so keeps the rows out of the scheduler. Chunks and
        parts of tables may be Dask ``Delayed``; Dask arrays become chunks by :func:`row_blocks`.
    names : sequence of n hashable values, optional
        All tasks, in the order wanted. By default those that occur: sorted if all chunks are tables, else in
        the order in which they first occur.
    address : str, optional
        Where a scheduler listens, such as "tcp://10.0.0.5:8786". By default worker processes are started on
        this machine, with one BLAS thread each, and ended when done.
    client : distributed.Client, optional
        A connection that is open already; it stays open.
    progress : bool, optional
        Whether to draw a bar on stderr; by default only if that is a terminal.
    timeout : float
        Seconds to wait for the scheduler, for a first worker, and for a new one when all are lost.

    Returns
    -------
    Moments

    Raises
    ------
    TypeError
        If chunks is not iterable, a chunk is none of the above, or client is no Client.
    ValueError
        If there is no row; a chunk has an entry that is not finite, another number of features or a task
        that is not among the names (chunk and row are named); a name has no rows; or no scheduler or no
        worker answers.
    RuntimeError
        If a chunk cannot be loaded or takes down every worker that tries, or the scheduler is lost.

    References
    ----------
    .. [DG08] J. Dean, S. Ghemawat. MapReduce: simplified data processing on large clusters. Communications
       of the ACM 51(1), 107-113, 2008.
    .. [R15] M. Rocklin. Dask: parallel computation with blocked algorithms and task scheduling. Python in
       Science Conference, 126-132, 2015.
    """
    patience = checks.number(timeout, "timeout", above=0.0)
    shown = sys.stderr.isatty() if progress is None else progress
    wanted, run = checked_names(names), uuid4().hex
    tree, n_chunks = _tree(listed(chunks), wanted, run, run if shown else "")
    with ExitStack() as opened:
        workers = opened.enter_context(_connected(address, client, patience, n_chunks))
        opened.enter_context(_bar(workers, run, n_chunks) if shown else nullcontext())
        total = _computed(tree, workers, patience)
    return total.moments(wanted)


def row_blocks(X: da.Array, y: da.Array, task: da.Array) -> list[tuple[Any, Any, Any]]:
    """Chunks of a table that lies in Dask arrays, one for each block of rows of X.

    Parameters
    ----------
    X : dask.array.Array of shape (rows, d)
        Inputs. Blocks of columns are joined.
    y : dask.array.Array of shape (rows,)
        Targets; cut into the same blocks of rows as X.
    task : dask.array.Array of shape (rows,)
        The label of the task that a row belongs to; cut likewise.

    Returns
    -------
    list of triples of dask.delayed.Delayed
        Chunks for :func:`moments`. Nothing is computed yet.

    Raises
    ------
    TypeError
        If one of them is not a Dask array.
    ValueError
        If shapes do not match.
    """
    for name, array in (("X", X), ("y", y), ("task", task)):
        checks.instance(array, da.Array, name, "Wrap it with dask.array.from_array.")
    if (X.ndim, y.ndim, task.ndim) != (2, 1, 1):
        found = f"{X.ndim}, {y.ndim} and {task.ndim}"
        checks.fail("X, y, task", "arrays of 2, 1 and 1 axes", found, "Check which array is which.")
    inputs = X.rechunk({1: -1})
    columns = _cut(y, inputs, "y"), _cut(task, inputs, "task")
    blocks = inputs.to_delayed()[:, 0], *(column.to_delayed() for column in columns)
    return list(zip(*blocks, strict=True))


def _cut(column: da.Array, X: da.Array, name: str) -> da.Array:
    """A column in the blocks of rows of X; blocks of unknown length are compared when they are summed."""
    unknown = bool(np.isnan([*column.shape, *X.shape]).any())
    if unknown and column.numblocks != X.numblocks[:1]:
        wanted, found = f"{X.numblocks[0]} blocks of rows, as X", f"{column.numblocks[0]}"
        checks.fail(name, wanted, found, "Call compute_chunk_sizes() on both first.")
    if not unknown and len(column) != len(X):
        checks.fail(name, f"{len(X)} rows, as X", str(len(column)), "Pair them up.")
    return column if unknown else column.rechunk(X.chunks[:1])


def _tree(chunks: Iterable[Any], names: tuple[Hashable, ...], run: str, topic: str) -> tuple[Any, int]:
    """The sums of all chunks as a Dask graph, and the number of chunks."""
    # Keys of one prefix are what Dask holds back until a worker is free to load another chunk.
    leaf, branch = delayed(_sums, pure=False), delayed(Sums.merge, pure=False)
    parts = [leaf(chunk, k, names, topic, dask_key_name=(f"sums-{run}", k)) for k, chunk in enumerate(chunks)]
    n_chunks = len(parts)
    if not parts:
        checks.fail("chunks", "at least one chunk", "none", "Check that the source holds rows.")
    while len(parts) > 1:
        parts = [branch(parts[k : k + FAN_IN]) for k in range(0, len(parts), FAN_IN)]
    return parts[0], n_chunks


def _sums(chunk: Any, number: int, names: tuple[Hashable, ...], topic: str) -> Sums:
    """What a worker does with a chunk."""
    sums = Sums.of(chunk, number, names)
    if topic:
        get_worker().log_event(topic, number)
    return sums


@contextmanager
def _connected(address: str | None, client: Client | None, patience: float, most: int) -> Iterator[Client]:
    """A client of the cluster asked for; what was opened here is closed here."""
    if client is not None and address is not None:
        checks.fail("client", "a client or an address", "both", "Leave one out.")
    if client is not None:
        yield checks.instance(client, Client, "client", "Connect with distributed.Client(address).")
        return
    with ExitStack() as opened:
        if address is not None:
            _call(address, patience)
        place = address if address is not None else opened.enter_context(_local(most)).scheduler_address
        connected = Client(place, timeout=patience, set_as_default=False)
        yield opened.enter_context(connected)


def _call(address: str, patience: float) -> None:
    """Call a scheduler once and hang up: a Client that finds none leaves threads behind, and may hang."""

    async def call() -> None:
        keys = Security().get_connection_args("client")
        line = await connect(address, timeout=patience, **keys)
        await line.close()

    answer: ConcurrentFuture[None] = ConcurrentFuture()

    def wait() -> None:
        try:
            answer.set_result(asyncio.run(call()))
        except Exception as error:
            answer.set_exception(error)

    # A notebook's main thread has a loop already; and one who listens but never speaks is not hung up on.
    Thread(target=wait, daemon=True).start()
    try:
        answer.result(timeout=patience + TICK)
    except (OSError, ValueError) as error:
        remedy = "Start one with `dask scheduler`, or leave address out to use this machine."
        found = str(error) or "silence"
        checks.fail("address", f"a scheduler that answers within {patience:g} s", found, remedy)


def _local(most: int) -> LocalCluster:
    """Worker processes on this machine that listen to it alone. Dask gives each one BLAS thread."""
    try:
        return LocalCluster(
            n_workers=min(CPU_COUNT, most),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        remedy = 'Call it below `if __name__ == "__main__":`, or pass client=Client(processes=False).'
        raise RuntimeError(f"cluster: wanted worker processes that start, found {error} {remedy}") from error


def _computed(tree: Any, client: Client, patience: float) -> Sums:
    """The sums, waited for as long as there are workers."""
    future: Future[Any] = client.compute(tree)
    seen = time.monotonic()
    try:
        while not future.done():
            with suppress(TimeoutError):
                return future.result(timeout=TICK)
            if client.nthreads():
                seen = time.monotonic()
            elif time.monotonic() - seen > patience:
                remedy = "Start one with `dask worker` and the scheduler's address."
                checks.fail("client", f"a worker within {patience:g} s", "none", remedy)
        return future.result()
    except KilledWorker as error:
        _refuse_killer(error)
    except (CancelledError, OSError) as error:
        message = "client: wanted a scheduler that stays, found it gone. Read its log, and start again."
        raise RuntimeError(message) from error
    finally:
        future.release()


def _refuse_killer(error: KilledWorker) -> NoReturn:
    key, deaths = error.task, error.allowed_failures + 1
    name = f"chunk {key[1]}" if isinstance(key, tuple) and str(key[0]).startswith("sums-") else f"step {key}"
    remedy = "Cut the chunks smaller, or give the workers more memory."
    raise RuntimeError(f"{name}: wanted workers that survive it, found {deaths} dead. {remedy}") from error


@contextmanager
def _bar(client: Client, run: str, n_chunks: int) -> Iterator[None]:
    """A bar on stderr that grows as workers report chunks; one that is summed again counts once."""
    done: set[int] = set()

    def draw(event: tuple[float, int]) -> None:
        done.add(event[1])
        show()

    def show() -> None:
        full = BAR * len(done) // n_chunks
        sys.stderr.write(f"\r[{'#' * full}{'.' * (BAR - full)}] {len(done)} of {n_chunks} chunks")
        sys.stderr.flush()

    client.subscribe_topic(run, draw)
    try:
        yield
        # The last reports may still be on their way.
        done.update(range(n_chunks))
        show()
    finally:
        client.unsubscribe_topic(run)
        sys.stderr.write("\n")
