"""The report as a picture: a timeline of the sweeps above, the memory map of the scratch arena below (extra `plot`)."""

from __future__ import annotations

from typing import Any

from seiche.errors import NOWHERE, fail
from seiche.schedule.plan import BufferFact, SweepFact
from seiche.schedule.report import Report

FORWARD, BACKWARD = "#2f6f9f", "#c05746"
LEGIBLE = 0.02
"""Buffers of at least this share of the map's height are named in it."""


def draw(report: Report, path: str) -> None:
    """Writes the picture; raises SE904 where matplotlib is not installed."""
    figure = figure_of(report)
    figure.savefig(path, dpi=150)


def figure_of(report: Report) -> Any:
    """The picture as a matplotlib figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise fail(
            "SE904", "drawing needs matplotlib", NOWHERE, hint='pip install "seiche[plot]"'
        ) from None
    sweeps = report.plan.sweeps
    height = 1.2 + 0.3 * max(len(sweeps), 1)
    figure = Figure(figsize=(11, height + 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[height, 5.5])
    _timeline(top, report.name, sweeps)
    _memory(bottom, report)
    return figure


def _timeline(axes: Any, name: str, sweeps: list[SweepFact]) -> None:
    axes.set_title(f"{name}: sweeps inside one step", loc="left", fontsize=11)
    for row, sweep in enumerate(sweeps):
        color = BACKWARD if sweep.reverse else FORWARD
        start, end = (sweep.extent, 0) if sweep.reverse else (0, sweep.extent)
        axes.annotate(
            "",
            (end, row),
            (start, row),
            arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2.5, "shrinkA": 0, "shrinkB": 0},
        )
        kept = sum(n for _, n in sweep.stored)
        note = f"{len(sweep.equations)} equations" + (f", leaves {kept:,} B" if kept else "")
        axes.text(sweep.extent * 1.02, row, note, va="center", fontsize=9)
    longest = max((s.extent for s in sweeps), default=1)
    axes.set_xlim(0, longest * 1.35)
    axes.set_ylim(len(sweeps) - 0.4 if sweeps else 1, -0.6)
    axes.set_yticks(range(len(sweeps)), ["  " * s.depth + s.scan for s in sweeps], fontsize=9)
    axes.set_xlabel("row (tick of the frame)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _memory(axes: Any, report: Report) -> None:
    plan = report.plan
    title = (
        f"scratch: {plan.scratch_bytes:,} B shared by lifetimes (asked for: "
        f"{sum(b.nbytes for b in plan.of('scratch')):,} B); state: {plan.state_bytes:,} B"
    )
    axes.set_title(title, loc="left", fontsize=11)
    buffers = [b for b in plan.of("scratch") if b.nbytes]
    start = min((b.offset for b in buffers), default=0)
    for index, b in enumerate(buffers):
        _box(axes, b, -start, f"C{index % 10}", b.nbytes >= LEGIBLE * plan.scratch_bytes)
    axes.set_xlim(0, max(plan.statements, 1))
    axes.set_ylim(0, max(plan.scratch_bytes, 1))
    axes.set_xlabel("statement of the step", fontsize=9)
    axes.set_ylabel("byte of the arena", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _box(axes: Any, b: BufferFact, base: int, color: str, named: bool) -> None:
    width = b.last - b.first + 1
    axes.broken_barh(
        [(b.first, width)],
        (base + b.offset, b.nbytes),
        facecolor=color,
        alpha=0.55,
        edgecolor="white",
        lw=0.4,
    )
    if named:
        text = f"{b.user_name} {b.nbytes:,} B"
        axes.text(
            b.first + width / 2,
            base + b.offset + b.nbytes / 2,
            text,
            ha="center",
            va="center",
            fontsize=7.5,
            clip_on=True,
        )
