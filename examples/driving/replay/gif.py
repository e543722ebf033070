"""The drives as a GIF: what the page shows, for places where no page can be (needs the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from matplotlib.transforms import Affine2D

from examples.driving.health import MODES
from examples.driving.replay.episode import Array, Episode, Mark, Run
from examples.driving.road import ARROW_SEEN, SIGN_SEEN
from examples.driving.traffic import LANE_WIDTH, LANES, LENGTH, WIDTH

PAPER, ASPHALT, PAINT, TRAFFIC, GLASS = "#0c0f13", "#2c323a", "#dfe4ea", "#77828f", "#0c0f13"
INK, SOFT, BAD, SIGHT = "#e9edf2", "#93a0ae", "#ff7f50", "#4cc3d9"
DRIVERS = {
    "memoryless": "#f0a630",
    "latched": "#5cb2f5",
    "shielded": "#34c79a",
    "oracle": "#e08fbb",
    "rule": "#a99af2",
}
MODE = dict(zip(MODES, ("#38424e", "#e8cf3c", "#ee6a1f", "#6ac2f2")))
"""The page's colours in the dark."""
BEHIND, AHEAD, VERGE = 34.0, 96.0, 4.6
"""Metres that are shown along the road, and beside it for signs."""
WIDE, ROW, HEAD = 8.4, 1.3, 0.42
"""Inches of the picture, of a drive in it, of its heading."""
BODY = "round,pad=0,rounding_size=0.6"
DASH, EVERY = 4.5, 12.0
"""Metres of the paint between lanes."""


def write(
    runs: Sequence[Run],
    path: Path,
    frames: int = 150,
    fps: int = 15,
    span: tuple[float, float] | None = None,
) -> None:
    """Writes so many frames, evenly spaced between two times of the drives (seconds; all of the longest drive if `span` is None).

    Raises ValueError where there is no run or no frame.
    """
    if not runs or frames < 1:
        raise ValueError("a GIF needs at least one run and one frame")
    start, end = span or (0.0, max(run.episode.ticks for run in runs) - 1.0)
    figure = Figure(figsize=(WIDE, ROW * len(runs) + HEAD), facecolor=PAPER)
    rows = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
    top = 1.0 - HEAD / (ROW * len(runs) + HEAD)
    figure.subplots_adjust(left=0.012, right=0.988, bottom=0.015, top=top - 0.04, hspace=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = PillowWriter(fps=fps)
    with writer.saving(figure, str(path), dpi=100):
        clock = figure.text(
            0.985, 1 - 0.4 * (1 - top), "", color=INK, ha="right", va="center", fontsize=12
        )
        figure.text(
            0.015,
            1 - 0.4 * (1 - top),
            "The car that remembers",
            color=INK,
            va="center",
            fontsize=12,
            weight="bold",
        )
        for axes in rows:
            axes.set_ylim(LANES * LANE_WIDTH + VERGE, -1.0)
            axes.set_axis_off()
        for time in np.linspace(start, end, frames):
            clock.set_text(f"{int(time) // 60}:{int(time) % 60:02}")
            for axes, run in zip(rows, runs):
                _drive(axes, run, float(time))
            writer.grab_frame(facecolor=PAPER)


def _drive(axes: Any, run: Run, time: float) -> None:
    """One drive at one time."""
    drive = run.episode
    time = min(time, drive.ticks - 1.0)
    tick, now = int(time), drive.motion(time)
    ego = now[-1, 0]
    for old in (*axes.artists, *axes.patches, *axes.collections, *axes.texts):
        old.remove()
    axes.set_xlim(ego - BEHIND, ego + AHEAD)
    _road(axes, ego)
    _marks(axes, run, ego, tick)
    colour = DRIVERS.get(run.driver, INK)
    _cars(axes, now[:-1], TRAFFIC)
    _cars(axes, now[-1:], colour)
    if drive.crashed and tick == drive.ticks - 1:
        y = _across(now[-1, 1])
        _lines(axes, [[(ego - 4.0, y - s), (ego + 4.0, y + s)] for s in (-2.0, 2.0)], BAD, 4.0)
    _words(axes, run, tick, colour)


def _across(lane: float) -> float:
    """Metres from the left edge of the road to the middle of a lane."""
    return (lane + 0.5) * LANE_WIDTH


def _lines(
    axes: Any, lines: Sequence[Sequence[tuple[float, float]]], colour: str, width: float = 1.8
) -> None:
    axes.add_collection(
        LineCollection(lines, colors=colour, linewidths=width, zorder=4), autolim=False
    )


def _area(
    axes: Any, left: float, top: float, long: float, wide: float, colour: str, alpha: float = 1.0
) -> None:
    axes.add_artist(Rectangle((left, top), long, wide, color=colour, alpha=alpha, lw=0))


def _road(axes: Any, ego: float) -> None:
    wide, left, right = LANES * LANE_WIDTH, ego - BEHIND, ego + AHEAD
    _area(axes, left, 0.0, right - left, wide, ASPHALT)
    edges = [[(left, y), (right, y)] for y in (0.35, wide - 0.35)]
    dashes = [
        [(float(at), lane * LANE_WIDTH), (float(at) + DASH, lane * LANE_WIDTH)]
        for at in np.arange(np.floor(left / EVERY) * EVERY, right, EVERY)
        for lane in range(1, LANES)
    ]
    axes.add_collection(
        LineCollection(edges + dashes, colors=PAINT, linewidths=1.4, alpha=0.7), autolim=False
    )


def _marks(axes: Any, run: Run, ego: float, tick: int) -> None:
    """Junctions and signs in view, and from where they can be read."""
    for mark in run.episode.junctions():
        if -BEHIND - 6.0 < mark.at - ego < AHEAD + ARROW_SEEN[1]:
            _junction(axes, mark)
    for mark in run.episode.signs():
        if -BEHIND < mark.at - ego < AHEAD + SIGN_SEEN:
            _sign(axes, mark, run.episode, ego, tick)


def _junction(axes: Any, mark: Mark) -> None:
    """A side road to the left, and where the left lane must turn, the arrows on it."""
    far, near = mark.at - ARROW_SEEN[1], mark.at - ARROW_SEEN[0]
    _area(axes, mark.at - 6.0, -1.0, 12.0, 1.2, ASPHALT)
    _area(axes, far, 0.0, near - far, LANE_WIDTH, SIGHT, 0.16)
    y = _across(0)
    for at in np.arange(far + 10.0, near, 30.0) if mark.said else ():
        shaft = [(at - 3.0, y + 0.6), (at, y + 0.6), (at, y - 0.9)]
        _lines(axes, [shaft, [(at - 0.9, y - 0.2), (at, y - 1.1), (at + 0.9, y - 0.2)]], PAINT)


def _sign(axes: Any, mark: Mark, drive: Episode, ego: float, tick: int) -> None:
    """A sign at the right; a line to it where it is being read."""
    wide = LANES * LANE_WIDTH
    foot = wide + 2.3
    _area(axes, mark.at - SIGN_SEEN, wide + 0.4, SIGN_SEEN, 0.6, SIGHT, 0.5)
    if mark.at - ego > AHEAD:
        return
    if drive["sign_read"][tick] and mark.at - drive["place"][tick] <= SIGN_SEEN:
        _lines(
            axes,
            [[(ego + LENGTH / 2, _across(float(drive["lane"][tick]))), (mark.at, foot)]],
            SIGHT,
            2.0,
        )
    axes.add_artist(
        Circle((mark.at, foot), 2.0, facecolor="white", edgecolor="#c5221f", lw=2.6, zorder=5)
    )
    axes.text(
        mark.at,
        foot + 0.1,
        f"{mark.said:g}",
        ha="center",
        va="center",
        fontsize=8,
        weight="bold",
        zorder=6,
    )


def _cars(axes: Any, places: Array, colour: str) -> None:
    """Oriented bodies with their windscreens."""
    bodies, glass = list[Any](), list[Any]()
    for at, lane, drift in places:
        heading = float(np.arctan2(drift * LANE_WIDTH, 16.0))
        turned = Affine2D().rotate(heading).translate(at, _across(lane))
        corner, screen = (-LENGTH / 2, -WIDTH / 2), (0.1 * LENGTH, -0.36 * WIDTH)
        bodies.append(FancyBboxPatch(corner, LENGTH, WIDTH, boxstyle=BODY, transform=turned))
        glass.append(Rectangle(screen, 0.17 * LENGTH, 0.72 * WIDTH, transform=turned))
    axes.add_collection(
        PatchCollection(bodies, facecolor=colour, edgecolor="none", zorder=3), autolim=False
    )
    axes.add_collection(
        PatchCollection(glass, facecolor=GLASS, edgecolor="none", zorder=3.5), autolim=False
    )


def _words(axes: Any, run: Run, tick: int, colour: str) -> None:
    """What stands over a drive: who drives, how fast, what is remembered, what the shield and the automaton do."""
    drive = run.episode
    mode = MODES[int(drive["mode"][tick])]
    over = bool(drive["over"][tick])
    told = f"remembers {drive['fact_limit'][tick]:g}" if run.knows else "remembers nothing"
    if drive["faulty"][tick]:
        told = "its sensors fail"
    said = [
        (0.0, run.name, colour, "bold"),
        (0.215, f"{drive['speed'][tick]:.0f} m/s, the limit is {drive['limit'][tick]:g}", BAD if over else INK, "normal"),
        (0.45, told, SOFT, "normal"),
        (0.64, "override" if drive["overridden"][tick] else "", INK, "bold"),
        (0.75, mode if mode != MODES[0] else "", MODE[mode], "bold"),
        (1.0, f"return {drive.returned[tick]:.0f}".replace("-", "−"), INK, "normal"),
    ]  # fmt: skip
    for x, text, paint, weight in said:
        side = "right" if x == 1.0 else "left"
        axes.text(
            x,
            1.06,
            text,
            transform=axes.transAxes,
            color=paint,
            weight=weight,
            fontsize=10,
            ha=side,
        )
