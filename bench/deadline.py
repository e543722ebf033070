"""The worst tick of a learner with frames: a GRU(10→64) trained through 128 and 512 ticks, whole at the close and spread by `deadline=`.

Operations are those of the plan (`tests/test_deadline.py` counts that no tick does more). Times are those of a tick of compiled C called
from Python, without the call: per place in the frame, the median over many frames, so that what else the machine does is left out; the
worst place against the mean of all. Rows of the two sweeps take different times per operation: a bound on time asks for a tighter one on
operations, so the bar of 2.5 is claimed under "1.5x". The 99th percentile is of all ticks as they came. Results are those of the frames before, in bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import seiche as sc
from bench import cells
from bench.measure import pinned
from bench.report import Bench, Result, number
from seiche.ir.tree import map_tree

Array: TypeAlias = "np.ndarray[Any, Any]"
IN, HIDDEN, OUT, RATE = 10, 64, 3, 0.01
LENGTHS = (128, 512)
DEADLINES = (None, "2.5x", "2x", "1.5x")
BAR, CLAIMED = 2.5, "1.5x"
FRAMES = 60


def node(ticks: int) -> Any:
    """A learner that is given a tick at a time; its result is the loss of a frame."""
    layer = cells.Cell("gru", IN, HIDDEN).layer()
    readout = 0.1 * np.random.default_rng(1).normal(size=(HIDDEN, OUT))
    start = {
        "cell": cells.Cell("gru", IN, HIDDEN).parameters(),
        "out": readout.astype(np.float32),
    }

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        def row(x: Any, y: Any) -> Any:
            return sc.square(layer(w["cell"], x) @ w["out"] - y).sum()

        return sc.over_time(row)(xs, ys).mean()

    def learner(x: Any, y: Any) -> Any:
        w = sc.state(start)
        value, dw = sc.value_and_grad(loss)(w, *sc.gather((x, y), ticks))
        w.next = map_tree(lambda a, b: a - RATE * b, w, dw)
        return value

    learner.__annotations__ = {"x": sc.f32[IN], "y": sc.f32[OUT]}
    return sc.node(learner)


def data(ticks: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return tuple(rng.normal(size=(ticks, n)).astype(np.float32) for n in (IN, OUT))  # type: ignore[return-value]


def timed(program: Any, xs: Array, ys: Array) -> Array:
    """Seconds of each tick, the call included."""
    instance, clock = program.executor.instance, time.perf_counter_ns
    tick: Callable[[], Any] = instance.bound()
    x, y = instance.inputs
    spent = np.zeros(len(xs))
    for t in range(len(xs)):
        x[...], y[...] = xs[t], ys[t]
        began = clock()
        tick()
        spent[t] = clock() - began
    return spent / 1e9


def call_s() -> float:
    """The seconds of a tick that does next to nothing."""

    @sc.node
    def idle(x: sc.f32, y: sc.f32) -> sc.f32:
        return x + y

    zeros = np.zeros(2000, np.float32)
    return float(np.median(timed(sc.compile(idle, target="c"), zeros, zeros)))


def measured(ticks: int, deadline: str | None, frames: int, call: float) -> dict[str, Any]:
    program = sc.compile(node(ticks), target="c", deadline=deadline)
    fact = program.lowered.deadline
    spent = np.maximum(timed(program, *data(ticks * frames)) - call, 0)
    places = np.median(spent.reshape(frames, ticks)[2:], axis=0)
    program.reset()
    losses = program.run(*data(ticks * 4)).values.tolist()
    plan = program.executor.scheduled.plan
    worst, mean = plan.operations, fact.mean if fact else None
    return {
        "ticks": ticks, "deadline": deadline or "none", "worst": worst, "mean": mean, "bytes": plan.struct_bytes,
        "slots": [(s.ticks, s.rows, s.operations) for x in (fact.spread if fact else ()) for s in x.slots],
        "us_worst": 1e6 * places.max(), "us_mean": 1e6 * places.mean(), "us_p99": 1e6 * float(np.percentile(spent, 99)),
        "time_ratio": float(places.max() / places.mean()), "operations_ratio": worst / mean if mean else None,
        "losses": losses,
    }  # fmt: skip


@pinned()
def run(bench: Bench) -> Result:
    result = Result("deadline")
    call = call_s()
    for ticks in LENGTHS[:1] if bench.tiny else LENGTHS:
        rows: list[dict[str, Any]] = []
        with bench.status(f"frames of {ticks} ticks") as say:
            for deadline in (None, CLAIMED) if bench.tiny else DEADLINES:
                say(f"deadline {deadline or 'none'}")
                rows.append(measured(ticks, deadline, bench.pick(FRAMES, 4), call))
        _judge(bench, result, ticks, rows)
    return result


def _judge(bench: Bench, result: Result, ticks: int, rows: list[dict[str, Any]]) -> None:
    whole, mean = rows[0], rows[1]["mean"]
    whole["operations_ratio"] = whole["worst"] / mean
    bench.table(
        f"GRU({IN}→{HIDDEN}) trained at every {ticks} ticks",
        ["deadline", "operations, worst", "/ mean", "µs, worst", "mean", "99 %", "worst / mean", "bytes"],
        [
            [r["deadline"], f"{r['worst']:,}", number(r["operations_ratio"]), number(r["us_worst"]), number(r["us_mean"]),
             number(r["us_p99"]), number(r["time_ratio"]), f"{r['bytes']:,}"]
            for r in rows
        ],
    )  # fmt: skip
    result.data[f"frames of {ticks}"] = rows
    spread = next(r for r in rows if r["deadline"] == CLAIMED)
    for what, key in (("operations", "operations_ratio"), ("time", "time_ratio")):
        result.claim(
            f"{ticks} ticks: worst tick / mean tick under {CLAIMED}, {what} (without {number(whole[key])})",
            f"≤ {BAR}", number(spread[key]), spread[key] <= BAR,
        )  # fmt: skip
    more = spread["bytes"] / whole["bytes"] - 1
    result.claim(f"{ticks} ticks: bytes that it takes more", "", f"{100 * more:.1f} %", None)
    late = all(r["losses"] == rows[1]["losses"] for r in rows[1:])
    same = late and rows[1]["losses"][: len(whole["losses"]) - 1] == whole["losses"][:-1]
    result.claim(f"{ticks} ticks: losses, a frame late", "equal bits", str(same), same)
