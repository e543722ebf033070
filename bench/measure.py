"""Robust timing on a machine that others use too.

Contestants run in processes of their own, all pinned to the same core, and take turns: A B C A B C. A turn is a few batches of
calls; a batch during which the kernel preempted the process is dropped, the turn's time is the median of the others. Ratios are
formed turn by turn, so that what slows the machine for a while slows both sides, and the median of these ratios is quoted.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""The environment of every contestant: one thread for the arithmetic."""
BATCHES = 5
"""Batches per turn."""
BATCH_S = 2e-3
"""The aim for a batch: shorter than a time slice, so that most are not preempted."""


@dataclass(frozen=True)
class Job:
    """What a contestant's factory returns: `run(n)` makes n calls, `error` is that of its results against the reference.

    `facts` is what else is worth knowing of it (versions, bytes); `keep` is memory to which C holds pointers.
    """

    run: Callable[[int], Any]
    error: float
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    keep: Any = None


Factory: TypeAlias = Callable[..., Job]


@dataclass(frozen=True)
class Entry:
    """A contestant: a function at the top of a module, and its arguments. It is called in the contestant's process.

    A peer may be missing (its package is not installed); then it has no times. `env` is its environment beside `ONE_THREAD`;
    one that uses several cores is not `pinned`.
    """

    name: str
    make: Factory
    args: tuple[Any, ...] = ()
    peer: bool = False
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    pinned: bool = True


@dataclass
class Times:
    """Seconds per call, one figure per turn (None: every batch of the turn was preempted)."""

    name: str
    turns: list[float | None] = field(default_factory=list["float | None"])
    batches: int = 0
    kept: int = 0
    error: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    failure: str = ""

    @property
    def seconds(self) -> list[float]:
        return [t for t in self.turns if t is not None]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")

    def summary(self) -> dict[str, Any]:
        """For the JSON file; times in microseconds."""
        low, high = percentiles(self.seconds)
        return {
            "name": self.name, "us_median": 1e6 * self.median, "us_p10": 1e6 * low, "us_p90": 1e6 * high,
            "batches": self.batches, "undisturbed": self.kept, "error": self.error, **self.facts,
            **({"failure": self.failure} if self.failure else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs, turn by turn."""

    median: float
    p10: float
    p90: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.p10:.2f} to {self.p90:.2f})"


def percentiles(
    values: Sequence[float], low: float = 0.1, high: float = 0.9
) -> tuple[float, float]:
    """Two order statistics, by the nearest rank.

    >>> percentiles([3.0, 1.0, 2.0])
    (1.0, 3.0)
    """
    if not values:
        return float("nan"), float("nan")
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[round(low * last)], ordered[round(high * last)]


def ratio(ours: Times, theirs: Times) -> Ratio:
    """The median of the ratios of the turns in which both were measured.

    >>> print(ratio(Times("a", [1.0, 2.0, None]), Times("b", [2.0, 4.0, 1.0])))
    0.50 (0.50 to 0.50)
    """
    pairs = [a / b for a, b in zip(ours.turns, theirs.turns) if a is not None and b is not None]
    if not pairs:
        return Ratio(float("nan"), float("nan"), float("nan"))
    return Ratio(statistics.median(pairs), *percentiles(pairs))


def difference(ours: Times, theirs: Times) -> float:
    """The median of the differences of the turns in which both were measured, in seconds.

    >>> difference(Times("a", [3.0, 2.0, None]), Times("b", [2.0, 0.0, 1.0]))
    1.5
    """
    pairs = [a - b for a, b in zip(ours.turns, theirs.turns) if a is not None and b is not None]
    return statistics.median(pairs) if pairs else float("nan")


# ------------------------------------------------------------------------------------- one process


def pin() -> int | None:
    """Keeps this process on the last core that it may use; says which, or None where that cannot be done."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


@contextmanager
def pinned() -> Iterator[None]:
    """Keeps this process on one core meanwhile; what comes after has all of them again."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    pin()
    try:
        yield
    finally:
        if cores is not None:
            os.sched_setaffinity(0, cores)


def preempted() -> int:
    """How often the kernel took the processor away from this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def calls_per_batch(run: Callable[[int], Any], aim_s: float = BATCH_S) -> int:
    """How many calls last about `aim_s`, judged by the fastest of a few tries."""
    run(2)
    n = 1
    while True:
        best = min(_timed(run, n) for _ in range(3))
        if best > aim_s / 4 or n > 1 << 20:
            return max(1, round(n * aim_s / best))
        n *= 4


def _timed(run: Callable[[int], Any], n: int) -> float:
    began = time.perf_counter()
    run(n)
    return time.perf_counter() - began


def turn(
    run: Callable[[int], Any], n: int, batches: int = BATCHES
) -> tuple[float | None, float, int]:
    """(median of the undisturbed batches or None, median of all, number of undisturbed), in seconds per call.

    A batch comes first that is not counted: it brings code and data back into the caches after the others' turns.
    """
    run(n)
    kept: list[float] = []
    every: list[float] = []
    for _ in range(batches):
        before = preempted()
        seconds = _timed(run, n) / n
        every.append(seconds)
        if preempted() == before:
            kept.append(seconds)
    return statistics.median(kept) if kept else None, statistics.median(every), len(kept)


def _serve(pipe: Connection, entry: Entry, batches: int, aim_s: float) -> None:
    """A contestant's process: builds, checks, then takes a turn whenever it is told to."""
    try:
        if entry.pinned:
            pin()
        job = entry.make(*entry.args)
        n = calls_per_batch(job.run, aim_s)
        pipe.send((job.error, job.facts))
        while pipe.recv():
            pipe.send(turn(job.run, n, batches))
    except Exception:
        pipe.send(traceback.format_exc())


# ------------------------------------------------------------------------------------ the contest


def contest(
    entries: Sequence[Entry],
    rounds: int,
    *,
    batches: int = BATCHES,
    aim_s: float = BATCH_S,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Times]:
    """Times by name. A peer that is not installed has a `failure` and no times; what fails otherwise is an error."""
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    times = {e.name: Times(e.name) for e in entries}
    running: dict[str, tuple[Any, Connection]] = {}
    try:
        for entry in entries:
            say(f"{entry.name}: building and checking")
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, entry, batches, aim_s), daemon=True
            )
            os.environ.update({**ONE_THREAD, **entry.env})
            process.start()
            theirs.close()
            if _ready(ours, times[entry.name], entry.peer):
                running[entry.name] = (process, ours)
        for k in range(rounds):
            say(f"round {k + 1} of {rounds}")
            for name in _order(list(running), k):
                _take(running[name][1], times[name], batches)
    finally:
        os.environ.update(ONE_THREAD)
        for process, pipe in running.values():
            pipe.send(False)
            process.join(10)
    for result in times.values():
        _fill(result)
    return times


def _order(names: list[str], round: int) -> Iterator[str]:
    """Each round starts with another contestant: nobody always follows the same neighbour's mess."""
    yield from (names[(k + round) % len(names)] for k in range(len(names)))


def _ready(pipe: Connection, times: Times, peer: bool) -> bool:
    try:
        first = pipe.recv()
    except EOFError:
        first = "the process ended"
    if isinstance(first, str):
        times.failure = first.strip().splitlines()[-1]
        if not (peer and "ModuleNotFoundError" in times.failure):
            raise RuntimeError(f"{times.name} failed:\n{first}")
        return False
    times.error, times.facts = first
    return True


def _take(pipe: Connection, times: Times, batches: int) -> None:
    pipe.send(True)
    answer = pipe.recv()
    if isinstance(answer, str):
        raise RuntimeError(f"{times.name} failed while it was measured:\n{answer}")
    undisturbed, whole, kept = answer
    times.turns.append(undisturbed)
    times.facts.setdefault("us_turns_unfiltered", []).append(round(1e6 * whole, 3))
    times.batches += batches
    times.kept += kept


def _fill(times: Times) -> None:
    """A contestant that preempts itself (it has threads of its own) has no undisturbed batch: then all batches count."""
    every = times.facts.pop("us_turns_unfiltered", [])
    if sum(t is not None for t in times.turns) < max(1, len(times.turns) // 3):
        times.turns = [x / 1e6 for x in every]
        times.facts["all_batches_counted"] = True
