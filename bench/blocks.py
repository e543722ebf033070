"""The same program tick by tick and 64 ticks at a time, in C, beside ONNX Runtime: stacks of causal convolutions before a GRU, and a
keyword spotter of depthwise ones.

A tick reads every weight once, so it is limited by the cache that holds them; a block reads them once for 64 ticks and is limited by
arithmetic, but for the GRU's recurrence, which stays a loop. The floor is the time of the products alone, in registers.
"""

from __future__ import annotations

from bench import contestants as c
from bench.frontend import TICKS, Frontend
from bench.keyword import Keyword
from bench.measure import Entry, Times, contest, ratio
from bench.race import BARE, ERROR_MAX, ONNX
from bench.report import Bench, Result, number

ROUNDS = 30
GAIN_MIN = 4.0
WINDOWS, HIDDEN = (5, 3, 3), 64
WORKS = (*(Frontend(WINDOWS, channels, HIDDEN) for channels in (256, 128, 64)), Keyword())
"""The first is what the bar is about: its weights leave the second cache, as those of models do for which blocks are made."""
TICK, BLOCK, FLOOR = "ticks, {}", f"blocks of {TICKS}, {{}}", "products alone, {}"
HOWS = ("strict", "fast")


def run(bench: Bench) -> Result:
    result = Result("blocks")
    works = (Frontend(WINDOWS, 16, 16),) if bench.tiny else WORKS
    for k, work in enumerate(works):
        with bench.status(work.title) as say:
            times = contest(entries(work), bench.pick(ROUNDS, 1), batches=bench.pick(5, 1), say=say)
        for how in HOWS:
            name = BLOCK.format(how)
            times[name] = per_tick(times[name], TICKS)
        _table(bench, work, times)
        _judge(result, work, times, GAIN_MIN if k == 0 else None)
        result.data[work.title] = [t.summary() for t in times.values()]
    return result


def entries(work: Frontend | Keyword) -> list[Entry]:
    ours = [
        entry
        for how in HOWS
        for entry in (
            Entry(TICK.format(how), c.seiche_in_c, (work, how)),
            Entry(BLOCK.format(how), c.seiche_in_c, (work, how, TICKS)),
            Entry(FLOOR.format(how), c.multiply, (work.products, how == "fast")),
        )
    ]
    return [
        *ours,
        Entry(BARE, c.seiche_call, (work,)),
        Entry(ONNX, c.onnx_binding, (work,), peer=True),
    ]


def per_tick(times: Times, ticks: int) -> Times:
    """Times of calls that make several ticks."""
    turns = [None if t is None else t / ticks for t in times.turns]
    return Times(
        times.name, turns, times.batches, times.kept, times.error, times.facts, times.failure
    )


def _table(bench: Bench, work: Frontend | Keyword, times: dict[str, Times]) -> None:
    columns = ["", "µs", "p10", "p90", "products / ns", "error"]
    title = f"{work.title}: one tick, {work.weights_bytes() / 1e6:.2f} MB of weights, {work.products:,} products"
    bench.table(title, columns, [_row(work, t) for t in times.values()])


def _row(work: Frontend | Keyword, t: Times) -> list[str]:
    if t.failure:
        return [t.name, f"absent: {t.failure[:40]}", *[""] * 4]
    s = t.summary()
    us = [number(s[k]) for k in ("us_median", "us_p10", "us_p90")]
    return [t.name, *us, number(work.products / s["us_median"] / 1e3), f"{t.error:.0e}"]


def _judge(
    result: Result, work: Frontend | Keyword, times: dict[str, Times], gain: float | None
) -> None:
    for how in HOWS:
        tick, block, floor = (times[name.format(how)] for name in (TICK, BLOCK, FLOOR))
        r = ratio(tick, block)
        met = None if gain is None else r.median >= gain
        bar = "" if gain is None else f"≥ {gain:g}"
        result.claim(f"{work.title}: throughput of blocks / of ticks, {how}", bar, str(r), met)
        result.claim(
            f"{work.title}: {block.name} / {floor.name}", "", str(ratio(block, floor)), None
        )
    if not times[ONNX].failure:
        r = ratio(times[BARE], times[ONNX])
        result.claim(f"{work.title}: {BARE} / {ONNX}", "≤ 1", str(r), r.median <= 1)
    worst = max((t for t in times.values() if not t.failure), key=lambda t: t.error)
    result.claim(
        f"{work.title}: largest error of all contestants", f"≤ {ERROR_MAX:.0e}",
        f"{worst.error:.1e} ({worst.name})", worst.error <= ERROR_MAX,
    )  # fmt: skip
