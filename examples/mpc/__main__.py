"""Both controllers in their loops, beside IPOPT in the same loops."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

import seiche as sc
from examples import show
from examples.mpc import controllers as c

Array = np.ndarray[Any, Any]

THINKS = 10
"""Ticks before the cart may go."""
SWINGS, GUST = 150, 110
"""Ticks of the cart-pole, and when a gust of 6 N sets in, for five ticks."""

INTERPRETED = 3
"""Ticks that are interpreted as well."""


def gusts() -> tuple[Array, Array]:
    """What the cart is told: the gust `[ticks]`, and whether it may go."""
    ticks = np.arange(THINKS + SWINGS)
    late = ticks - THINKS
    blows = (late >= GUST) & (late < GUST + 5)
    return np.where(blows, 6.0, 0.0).astype(np.float32), late >= 0


def upright(angle: Array) -> int:
    """The tick from which on the pole stays within 0.1 rad."""
    away = np.flatnonzero(np.abs((angle + np.pi) % (2 * np.pi) - np.pi) > 0.1)
    return int(away[-1]) + 1 if len(away) else 0


def cost_of(program: Any) -> str:
    """Bytes and operations."""
    report = program.report().as_dict()
    return f"{report['struct_bytes']:,} B, {report['operations']:,}"


def beside_swing(now: Array, push: Array) -> tuple[float, float]:
    """What a run of the cart without gusts cost, by what IPOPT's costs; and the largest difference of first pushes along it."""
    from examples.mpc import ipopt

    solver = ipopt.Solver(ipopt.SWING)
    none = np.zeros((len(now), 0))
    best = solver.paid(*solver.run(c.HANGING, none, lambda _, at: at), none)
    solver.reset()
    firsts = [solver.solve(at, none[0])[1][0] for at in now]
    return solver.paid(now, push, none) / best, float(np.abs(firsts - push).max())


def beside_road(now: Array, push: Array, drive: dict[str, Array]) -> tuple[float, Array]:
    """What a drive cost by what IPOPT's costs; and the differences of first pushes along it `[ticks]`."""
    from examples.mpc import ipopt

    solver = ipopt.Solver(ipopt.ROAD)
    given = np.stack([drive["wish"], drive["limit"]], axis=1).astype(float)

    def seen(t: int, at: Array) -> Array:
        gap = drive["gap"][t] if drive["cut_in"][t] else at[0]
        return np.array([gap, at[1], drive["ahead"][t], at[3]])

    best = solver.paid(*solver.run(now[0], given, seen), given)
    solver.reset()
    firsts = [solver.solve(at, told)[1][0] for at, told in zip(now, given, strict=True)]
    return solver.paid(now, push, given) / best, np.abs(firsts - push)


def show_swing(peer: bool) -> None:
    """The cart-pole."""
    program = sc.compile(c.swing, target="c")
    out = program.run(*gusts())
    now, push = (out[k][THINKS:] for k in ("now", "push"))
    show.fact(
        f"cart-pole, at most {c.PUSH_MAX:.0f} N: |angle| from hanging, with a gust",
        show.line(
            np.abs((now[:, 2] + np.pi) % (2 * np.pi) - np.pi).reshape(50, -1).mean(1), 0, np.pi
        ),
    )
    show.fact(
        "  upright after, largest push",
        f"{upright(now[:GUST, 2]) * c.SWING_TICK:.1f} s, {np.abs(push).max():.1f} N",
    )
    show.fact("  memory, operations of a tick at most", cost_of(program))
    if peer:
        ratio, apart = beside_swing(now[:GUST], push[:GUST])
        show.fact(
            "  cost by that of IPOPT in the loop",
            f"{ratio:.5f}, pushes at most {apart:.3f} N apart",
        )
        cold = program_from_cold()
        show.fact("  if it has to go at once, without a plan", f"{beside_swing(*cold)[0]:.3f}")


def program_from_cold() -> tuple[Array, Array]:
    """A run of the cart that may go at once: places and pushes."""
    out = sc.compile(c.swing, target="c").run(np.zeros(GUST, np.float32), np.ones(GUST, bool))
    return out["now"], out["push"]


def show_road(peer: bool) -> None:
    """The car."""
    program, drive = sc.compile(c.road, target="c"), c.traffic()
    out = program.run(**drive)
    now, push = out["now"], out["push"]
    for name, row, most in (("gap, 0 to 80 m", 0, 80), ("speed, 0 to 30 m/s", 1, 30)):
        show.fact(f"car: {name}", show.line(now[:, row].reshape(50, -1).mean(1), 0, most))
    show.fact("  the car ahead", show.line(drive["ahead"].reshape(50, -1).mean(1), 0, 30))
    show.fact(
        "  least gap, hardest braking", f"{now[:, 0].min():.1f} m, {now[:, 3].min():.1f} m/s²"
    )
    show.fact("  memory, operations of a tick at most", cost_of(program))
    if peer:
        ratio, apart = beside_road(now, push, drive)
        show.fact(
            "  cost by that of IPOPT in the loop",
            f"{ratio:.4f}, pushes {np.median(apart):.3f} m/s² apart (at most {apart.max():.2f})",
        )


def main() -> None:
    """Runs it."""
    show.title("Model-predictive control: a fixed amount of work, a plan that is remembered")
    peer = find_spec("casadi") is not None
    if not peer:
        show.fact("IPOPT", "NOT COMPARED: casadi is not installed")
    show_swing(peer)
    show_road(peer)
    drive = {name: x[:INTERPRETED] for name, x in c.traffic().items()}
    first, again = (sc.compile(c.road, target=t).run(**drive) for t in ("interp", "c"))
    same = all(first[k].tobytes() == again[k].tobytes() for k in first)
    show.fact("interpreter and C", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "Problem.improve() in examples/ilqr.py: the gradient of the whole plan, and more, as two costates;",
        "balance() and cruise() in examples/mpc/controllers.py: a controller is a node, its plan a state;",
        "python -m bench control: a tick's time beside IPOPT's.",
    )


if __name__ == "__main__":
    main()
