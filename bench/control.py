"""Control: the worst tick of a model-predictive controller beside IPOPT's, in the same loops; and what ticks of the other programs take.

Both controllers answer the same places, those of a run in closed loop, in the same order; IPOPT starts from its last plan, a step
later, as ours does. Runs take turns on one core. A tick's time is its least over the turns, since whatever else the machine does
only ever slows it; the worst tick is the largest of these. IPOPT's is that of the call alone, its model built and differentiated
beforehand; where it is timed it may stop at a tolerance of 1e-3, where its plans are the reference it is 1e-8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

import seiche as sc
from bench.measure import pinned
from bench.report import Bench, Result, number
from examples import twin
from examples.bearing import monitor as bearing
from examples.bearing.world import life
from examples.mpc import __main__ as loops
from examples.mpc import controllers as c
from seiche.backends.program import Program

RATIO_MAX = 0.1
"""Of the worst tick to IPOPT's."""
COST_MAX = 1.01
"""Of what the closed loop costs, to IPOPT's loop."""
LOOSE = 1e-3
"""IPOPT's tolerance where it is timed."""
Array = np.ndarray[Any, Any]


def run(bench: Bench) -> Result:
    result = Result("control")
    if find_spec("casadi") is None:
        bench.console.print("[red]casadi is not installed: no figures beside IPOPT[/]")
    rows = [_swing(bench, result), _road(bench, result)]
    columns = [
        "",
        "cost / IPOPT's",
        "median ms",
        "worst ms",
        "IPOPT median",
        "IPOPT worst",
        "B",
        "operations",
    ]
    bench.table("Model-predictive control in closed loop, a tick", columns, rows)
    rows = [_tick(bench, result, *entry) for entry in _others(bench)]
    bench.table(
        "Ticks of the other programs, in strict C", ["", "µs", "B", "operations at most"], rows
    )
    return result


def _swing(bench: Bench, result: Result) -> list[str]:
    """The cart-pole."""
    gust, go = loops.gusts()
    ticks = bench.pick(loops.THINKS + loops.GUST, loops.THINKS + 4)
    out = sc.compile(c.swing, target="c").run(gust[:ticks], go[:ticks])
    controller = sc.compile(c.balance, target="c")
    asked = [(now, bool(g)) for now, g in zip(out["now"], go, strict=False)]

    def peer() -> tuple[Any, list[tuple[Any, ...]], float]:
        from examples.mpc import ipopt

        ratio, _ = loops.beside_swing(*(out[k][loops.THINKS :] for k in ("now", "push")))
        return ipopt.Solver(ipopt.SWING, LOOSE), [(now, np.zeros(0)) for now in out["now"]], ratio

    return _contest(bench, result, "cart-pole, 50 steps", controller, asked, peer)


def _road(bench: Bench, result: Result) -> list[str]:
    """The car."""
    drive = {k: x[: bench.pick(len(x), 8)] for k, x in c.traffic().items()}
    out = sc.compile(c.road, target="c").run(**drive)
    told = np.stack([drive["wish"], drive["limit"]], axis=1)
    controller = sc.compile(c.cruise, target="c")
    asked = [(now, *row) for now, row in zip(out["now"], told, strict=True)]

    def peer() -> tuple[Any, list[tuple[Any, ...]], float]:
        from examples.mpc import ipopt

        ratio, _ = loops.beside_road(out["now"], out["push"], drive)
        pairs = list(zip(out["now"], told.astype(float), strict=True))
        return ipopt.Solver(ipopt.ROAD, LOOSE), pairs, ratio

    return _contest(bench, result, "car, 30 steps", controller, asked, peer)


def _contest(
    bench: Bench,
    result: Result,
    name: str,
    controller: Program,
    asked: list[tuple[Any, ...]],
    peer: Callable[[], tuple[Any, list[tuple[Any, ...]], float]],
) -> list[str]:
    """A row: both in turns over the same places."""
    plan = controller.report().plan
    solver, same, cost = peer() if find_spec("casadi") else (None, [], float("nan"))
    ours, theirs = [np.full(len(asked), np.inf) for _ in range(2)]
    with pinned():
        for _ in bench.track(range(turns := bench.pick(7, 1)), name, turns):
            controller.reset()
            ours = np.minimum(ours, _times(controller.step, asked))
            if solver is not None:
                solver.reset()
                theirs = np.minimum(theirs, _times(solver.solve, same))
    if solver is not None:
        ratio = ours.max() / theirs.max()
        result.claim(
            f"{name}: worst tick / IPOPT's", f"≤ {RATIO_MAX}", number(ratio), ratio <= RATIO_MAX
        )
        result.claim(f"{name}: cost / IPOPT's", f"≤ {COST_MAX}", number(cost, 5), cost <= COST_MAX)
    else:
        theirs = np.full(1, np.nan)
    result.data[name] = {
        "ms": (1e3 * ours).tolist(), "ipopt_ms": (1e3 * theirs).tolist(), "cost_ratio": cost,
        "struct_bytes": plan.struct_bytes, "operations": plan.operations,
    }  # fmt: skip
    figures = [1e3 * f(x) for x in (ours, theirs) for f in (np.median, np.max)]
    return [
        name,
        number(cost, 5),
        *(number(x) for x in figures),
        f"{plan.struct_bytes:,}",
        f"{plan.operations:,}",
    ]


def _times(call: Callable[..., Any], asked: list[tuple[Any, ...]]) -> Array:
    """Seconds of each call."""
    spent = np.zeros(len(asked))
    for k, args in enumerate(asked):
        began = time.perf_counter()
        call(*args)
        spent[k] = time.perf_counter() - began
    return spent


def _others(bench: Bench) -> list[tuple[str, Program, tuple[Array, ...]]]:
    one = life(0, records=bench.pick(100, 1))
    today = twin.day(0, ticks=bench.pick(twin.DAY, 200))
    return [
        ("bearing, a sample", sc.compile(bearing.monitor, target="c"), one.streams),
        ("twin, a tick", sc.compile(twin.twin, target="c"), (today["volt"], today["seen"])),
    ]


def _tick(
    bench: Bench, result: Result, name: str, program: Program, given: tuple[Array, ...]
) -> list[str]:
    """The mean time of a tick: the least over some runs."""
    spent = [np.inf]
    with pinned():
        for _ in range(bench.pick(5, 1)):
            program.reset()
            began = time.perf_counter()
            program.run(*given)
            spent.append(time.perf_counter() - began)
    microseconds = 1e6 * min(spent) / len(given[0])
    plan = program.report().plan
    result.claim(f"{name}: µs", "-", number(microseconds), None)
    result.data[name] = {
        "us": microseconds,
        "struct_bytes": plan.struct_bytes,
        "operations": plan.operations,
    }
    return [name, number(microseconds), f"{plan.struct_bytes:,}", f"{plan.operations:,}"]
