"""One race: all contestants of a workload in one contest, their table, and the figures that the bars are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import contestants as c
from bench.measure import Entry, Times, contest, difference, ratio
from bench.report import Bench, Result, number
from bench.workloads import Workload

ROUNDS = 40
ERROR_MAX = 5e-6
"""Relative to a float64 reference: what is worse is another function."""
CALL_US_MAX = 0.5
STEP, TICK, BARE = "seiche step (numpy)", "seiche tick (in place)", "seiche call, nothing copied"
IN_C, FAST_IN_C = "seiche in C, strict", "seiche in C, fast"
BY_HAND, FLOOR = "C by hand", "reading the weights"
JAX_ASYNC, JAX, JAX_NUMPY = "JAX jit", "JAX jit, sync", "JAX jit, sync (numpy)"
ONNX, ONNX_NUMPY = "ONNX Runtime (IO binding)", "ONNX Runtime (numpy)"
LITERT = "LiteRT (invoke alone)"


@dataclass(frozen=True)
class Race:
    """A workload with its bars: ours over theirs at most. Peers are compared with the bare tick, the C by hand with our C.

    `more` are further contestants, `beside` further pairs (ours, theirs, bar or None);
    `best_peer`: who of us is compared with the fastest peer, and the bar.
    """

    work: Workload
    hand: float
    peers: Mapping[str, float]
    more: tuple[Entry, ...] = ()
    beside: tuple[tuple[str, str, float | None], ...] = ()
    best_peer: tuple[str, float] | None = None


def entries(race: Race) -> list[Entry]:
    """From Python each at its best, and as its users call it (numpy in and out); then from C."""
    w = race.work
    return [
        Entry(BARE, c.seiche_call, (w,)),
        Entry(IN_C, c.seiche_in_c, (w,)),
        Entry(BY_HAND, c.hand_in_c, (w,)),
        Entry(FAST_IN_C, c.seiche_in_c, (w, "fast")),
        Entry(FLOOR, c.floor, (w,)),
        *race.more,
        Entry(TICK, c.seiche_tick, (w,)),
        Entry(STEP, c.seiche_step, (w,)),
        Entry(JAX, c.jax_step, (w, False, False), peer=True),
        Entry(LITERT, c.lite_invoke, (w,), peer=True),
        Entry(ONNX, c.onnx_binding, (w,), peer=True),
        Entry(ONNX_NUMPY, c.onnx_numpy, (w,), peer=True),
        Entry(JAX_NUMPY, c.jax_step, (w, False, True), peer=True),
        Entry(JAX_ASYNC, c.jax_step, (w, True, False), peer=True),
    ]


def run_race(bench: Bench, result: Result, race: Race) -> dict[str, Times]:
    """Runs, prints and judges it; the times by name."""
    title = race.work.title
    with bench.status(title) as say:
        some = entries(race)[: bench.pick(99, 3)]
        times = contest(some, bench.pick(ROUNDS, 1), batches=bench.pick(5, 1), say=say)
    _table(bench, title, times)
    for name, t in times.items():
        if t.failure:
            bench.console.print(f"[bold red]{title}: {name} is left out: {t.failure}[/]")
    result.data[title] = [t.summary() for t in times.values()]
    _judge(result, race, times)
    return times


def _judge(result: Result, race: Race, times: dict[str, Times]) -> None:
    title = race.work.title
    _pair(result, title, times, IN_C, BY_HAND, race.hand)
    _pair(result, title, times, FAST_IN_C, BY_HAND, None)
    _pair(result, title, times, IN_C, FLOOR, None)
    for theirs, bar in race.peers.items():
        _pair(result, title, times, BARE, theirs, bar)
    for ours, theirs, bar in race.beside:
        _pair(result, title, times, ours, theirs, bar)
    if race.best_peer is not None:
        _best(result, title, times, *race.best_peer)
    call = difference(times[BARE], times[IN_C])
    said = f"{1e6 * call:.2f} µs"
    result.claim(
        f"{title}: a call from Python over that from C", f"≤ {CALL_US_MAX} µs", said, 1e6 * call <= CALL_US_MAX
    )  # fmt: skip
    worst = max((t for t in times.values() if not t.failure), key=lambda t: t.error)
    result.claim(
        f"{title}: largest error of all contestants", f"≤ {ERROR_MAX:.0e}",
        f"{worst.error:.1e} ({worst.name})", worst.error <= ERROR_MAX,
    )  # fmt: skip


def _pair(
    result: Result, title: str, times: dict[str, Times], ours: str, theirs: str, bar: float | None
) -> None:
    """Ours over theirs; nothing where one of them did not run."""
    if any(name not in times or times[name].failure for name in (ours, theirs)):
        return
    r = ratio(times[ours], times[theirs])
    limit = "" if bar is None else f"≤ {bar:.3g}"
    result.claim(
        f"{title}: {ours} / {theirs}", limit, str(r), None if bar is None else r.median <= bar
    )


def _best(result: Result, title: str, times: dict[str, Times], ours: str, bar: float) -> None:
    """Ours over the peer that was fastest."""
    peers = [
        t
        for name, t in times.items()
        if name in (JAX_ASYNC, JAX, JAX_NUMPY, ONNX, ONNX_NUMPY, LITERT) and not t.failure
    ]
    if peers:
        best = min(peers, key=lambda t: t.median)
        _pair(result, f"{title}, the best peer", times, ours, best.name, bar)


def _table(bench: Bench, title: str, times: dict[str, Times]) -> None:
    columns = ["", "µs", "p10", "p90", "ours in C / it", "our tick / it", "error", "undisturbed"]
    bench.table(f"{title}, one step", columns, [_row(t, times) for t in times.values()])


def _row(t: Times, times: dict[str, Times]) -> list[Any]:
    if t.failure:
        return [t.name, f"absent: {t.failure[:40]}", *[""] * 6]
    s = t.summary()
    ratios = [f"{ratio(times[mine], t).median:.2f}" for mine in (IN_C, BARE)]
    kept = f"{t.kept}/{t.batches}" + ("*" if t.facts.get("all_batches_counted") else "")
    times_us = (number(s[k]) for k in ("us_median", "us_p10", "us_p90"))
    return [t.name, *times_us, *ratios, f"{t.error:.0e}", kept]
