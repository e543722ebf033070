"""One step of a GRU and of an LSTM: from Python beside JAX and ONNX Runtime, inside C beside a hand-written program.

A streaming step uses each weight once, so the floor is the time to read the weights from the cache that holds them.
"""

from __future__ import annotations

from typing import Any

from bench import contestants as c
from bench.cells import Cell
from bench.measure import Entry, Times, contest, ratio
from bench.report import Bench, Result, number

CELLS = (Cell("gru", 40, 128), Cell("lstm", 40, 256))
ROUNDS = 60
ERROR_MAX = 5e-6
"""Relative to a float64 reference, after 64 ticks: what is worse is another function."""
OURS, TICK = "seiche step (numpy)", "seiche tick (in place)"
IN_C, FAST_IN_C, BY_HAND, FLOOR = (
    "seiche",
    "seiche, fast arithmetic",
    "by hand",
    "reading the weights",
)


def from_python(cell: Cell) -> list[Entry]:
    """Each as its users call it (numpy in and out), and at its best (everything in place beforehand)."""
    return [
        Entry(OURS, c.seiche_step, (cell,)),
        Entry(TICK, c.seiche_tick, (cell,)),
        Entry("JAX jit (in place)", c.jax_step, (cell, True, False), peer=True),
        Entry("JAX jit, sync (in place)", c.jax_step, (cell, False, False), peer=True),
        Entry("JAX jit, sync (numpy)", c.jax_step, (cell, False, True), peer=True),
        Entry("ONNX Runtime (IO binding)", c.onnx_binding, (cell,), peer=True),
        Entry("ONNX Runtime (numpy)", c.onnx_numpy, (cell,), peer=True),
    ]


def inside_c(cell: Cell) -> list[Entry]:
    return [
        Entry(IN_C, c.seiche_in_c, (cell,)),
        Entry(FAST_IN_C, c.seiche_in_c, (cell, "fast")),
        Entry(BY_HAND, c.hand_in_c, (cell,)),
        Entry(FLOOR, c.floor, (cell,)),
    ]


def run(bench: Bench) -> Result:
    result = Result("step")
    for cell in CELLS[: bench.pick(len(CELLS), 1)]:
        _beside_peers(bench, result, cell)
        _beside_c(bench, result, cell)
    return result


def _beside_peers(bench: Bench, result: Result, cell: Cell) -> None:
    with bench.status(f"{cell.title} from Python") as say:
        entries = from_python(cell)
        times = contest(entries[: bench.pick(len(entries), 3)], bench.pick(ROUNDS, 1), say=say)
    _table(bench, f"{cell.title}, one step from Python", times, (OURS, TICK))
    result.data[f"{cell.kind} from Python"] = [t.summary() for t in times.values()]
    ours = {OURS: "step", TICK: "tick"}
    for mine, short in ours.items():
        for name, theirs in times.items():
            if name not in ours and not theirs.failure:
                r = ratio(times[mine], theirs)
                result.claim(f"{cell.title} {short} / {name}", "≤ 1.0", str(r), r.median <= 1.0)
    _errors(result, cell, times)


def _beside_c(bench: Bench, result: Result, cell: Cell) -> None:
    with bench.status(f"{cell.title} inside C") as say:
        times = contest(inside_c(cell), bench.pick(ROUNDS, 1), say=say)
    _table(bench, f"{cell.title}, one step inside C", times, (IN_C,))
    result.data[f"{cell.kind} inside C"] = [t.summary() for t in times.values()]
    floor = times[FLOOR]
    rate = floor.facts["weights_bytes"] / floor.median / 1e9
    bench.console.print(
        f"floor: {floor.facts['weights_bytes']} bytes of weights at {rate:.0f} GB/s: {1e6 * floor.median:.2f} µs"
    )
    r = ratio(times[IN_C], times[BY_HAND])
    result.claim(f"{cell.title} inside C / by hand", "≤ 1.5", str(r), r.median <= 1.5)
    result.claim(f"{cell.title} inside C / floor", "", str(ratio(times[IN_C], floor)), None)
    _errors(result, cell, times)


def _errors(result: Result, cell: Cell, times: dict[str, Times]) -> None:
    """A contestant that computes something else does not compete."""
    worst = max((t for t in times.values() if not t.failure), key=lambda t: t.error)
    said = f"{worst.error:.1e} ({worst.name})"
    result.claim(
        f"{cell.title}: largest error of all contestants",
        f"≤ {ERROR_MAX:.0e}",
        said,
        worst.error <= ERROR_MAX,
    )


def _table(bench: Bench, title: str, times: dict[str, Times], ours: tuple[str, ...]) -> None:
    columns = [
        "",
        "µs",
        "p10",
        "p90",
        *(f"{_short(name)} / it" for name in ours),
        "error",
        "undisturbed",
    ]
    bench.table(title, columns, [_row(t, times, ours) for t in times.values()])


def _row(t: Times, times: dict[str, Times], ours: tuple[str, ...]) -> list[Any]:
    if t.failure:
        return [t.name, f"failed: {t.failure[:40]}", *[""] * (4 + len(ours))]
    s = t.summary()
    ratios = ["" if t.name in ours else f"{ratio(times[mine], t).median:.2f}" for mine in ours]
    kept = f"{t.kept}/{t.batches}" + ("*" if t.facts.get("all_batches_counted") else "")
    return [
        t.name,
        *(number(s[k]) for k in ("us_median", "us_p10", "us_p90")),
        *ratios,
        f"{t.error:.0e}",
        kept,
    ]


def _short(name: str) -> str:
    return name.partition(" (")[0].removeprefix("seiche ")
