"""The page's charts as SVG, drawn here so that they are there without any script: time lines of drives, learning curves."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10
from typing import Any

import numpy as np

from examples.driving.health import MODES
from examples.driving.replay.episode import Episode
from examples.driving.training import Pilot, spread

Array = np.ndarray[Any, Any]
FASTEST = 36.0
"""m/s, the top of the speeds' chart."""
SPEEDS, TICKS, BANDS = 60.0, 9.0, 9.0
"""Heights of a time line's rows: speeds, overrides, modes; 4 between them."""
HEIGHT = SPEEDS + TICKS + BANDS + 8.0


@dataclass(frozen=True)
class Curve:
    """How a driver learnt: mean returns of episodes `[seeds, points]`, after so many decisions `[points]`."""

    name: str
    decisions: Array
    returns: Array

    @classmethod
    def of(cls, pilots: Sequence[Pilot]) -> Curve:
        """Of pilots of one kind, trained equally long from several seeds."""
        return cls(
            pilots[0].driver, pilots[0].curve[:, 0], np.stack([p.curve[:, 1] for p in pilots])
        )


def timeline(episode: Episode, ticks: int) -> str:
    """The speeds, the shield's overrides and the modes of a drive, on an axis of so many ticks (one unit each)."""
    return (
        f'<svg class="line" viewBox="0 0 {ticks - 1} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(_spoken(episode))}">{_beyond(episode, ticks)}{_faults(episode)}{_speeds(episode)}{_overrides(episode)}'
        f"{_modes(episode)}</svg>"
    )


def _spoken(episode: Episode) -> str:
    """What the time line shows, in words."""
    modes = episode["mode"]
    away = ", ".join(f"{n} {int(np.sum(modes == i))} s" for i, n in enumerate(MODES) if i)
    failed = (
        f", sensors fail for {int(episode['faulty'].sum())} s" if episode["faulty"].any() else ""
    )
    end = "a crash" if episode.crashed else "no crash"
    return (
        f"{episode.ticks - 1} seconds: {int(episode['overridden'].sum())} overrides, {int(episode['over'].sum())} s over "
        f"the limit, {int(episode['wrong'].sum())} wrong turns, {away}{failed}, {end}"
    )


def _beyond(episode: Episode, ticks: int) -> str:
    """What is left of the axis after the drive's end; a line each half minute."""
    end = episode.ticks - 1
    half_minutes = "".join(
        f'<line class="grid" x1="{t}" x2="{t}" y1="0" y2="{HEIGHT:g}"/>'
        for t in range(30, ticks, 30)
    )
    return f'<rect class="beyond" x="{end}" width="{ticks - 1 - end}" y="0" height="{HEIGHT:g}"/>{half_minutes}'


def _height(speed: float) -> float:
    return SPEEDS * (1.0 - min(speed, FASTEST) / FASTEST)


def _speeds(episode: Episode) -> str:
    speed, limit = episode["speed"], episode["limit"]
    points = " ".join(f"{t},{_height(v):.1f}" for t, v in enumerate(speed))
    over = "".join(
        f'<rect class="over" x="{t - 1}" width="1" y="0" height="{SPEEDS:g}"/>'
        for t in np.flatnonzero(episode["over"])
    )
    wrong = "".join(
        f'<line class="wrong" x1="{t}" x2="{t}" y1="0" y2="{SPEEDS:g}"/>'
        for t in np.flatnonzero(episode["wrong"])
    )
    crash = f'<line class="crash" x1="{episode.ticks - 1}" x2="{episode.ticks - 1}" y1="0" y2="{HEIGHT:g}"/>'
    return (
        f'{over}<path class="limit" d="{_steps(limit)}"/><path class="known" d="{_steps(episode["fact_limit"])}"/>'
        f'<polyline class="speed" points="{points}"/>{wrong}{crash if episode.crashed else ""}'
    )


def _steps(values: Array) -> str:
    """A path that holds each value until the next."""
    parts = [f"M0,{_height(values[0]):.1f}"]
    for t in np.flatnonzero(np.diff(values)) + 1:
        parts.append(f"H{t}V{_height(values[t]):.1f}")
    return "".join(parts) + f"H{len(values) - 1}"


def _overrides(episode: Episode) -> str:
    top = SPEEDS + 4.0
    return "".join(
        f'<rect class="override" x="{t + 0.15:g}" width="0.7" y="{top:g}" height="{TICKS:g}"/>'
        for t in np.flatnonzero(episode["overridden"])
    )


def _modes(episode: Episode) -> str:
    modes, top = episode["mode"], SPEEDS + TICKS + 8.0
    return "".join(
        f'<rect class="{MODES[int(modes[low])]}" x="{low}" width="{high - low}" y="{top:g}" height="{BANDS:g}">'
        f"<title>{MODES[int(modes[low])]}, {low}–{high} s</title></rect>"
        for low, high in _stretches(modes)
    )


def _faults(episode: Episode) -> str:
    return "".join(
        f'<rect class="fault" x="{low}" width="{high - low}" y="0" height="{HEIGHT:g}">'
        f"<title>sensors fail, {low}–{high} s</title></rect>"
        for low, high in _stretches(episode["faulty"])
        if episode["faulty"][low]
    )


def _stretches(values: Array) -> list[tuple[int, int]]:
    """From where to where the values of ticks stay the same."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1), max(len(values) - 1, 1)]
    return [(int(low), int(high)) for low, high in pairwise(edges) if high > low]


WIDE, HIGH, LEFT, RIGHT, FOOT, HEAD = 1000.0, 330.0, 54.0, 150.0, 40.0, 10.0
"""Of the learning curves, with their margins."""


@dataclass(frozen=True)
class _Axes:
    """Where the values of a chart lie on the paper."""

    most: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (WIDE - LEFT - RIGHT) * value / self.most

    def y(self, value: float) -> float:
        return HIGH - FOOT - (HIGH - FOOT - HEAD) * (value - self.low) / (self.high - self.low)


def curves(shown: Sequence[Curve]) -> str:
    """Returns by decisions: means as lines, their 95 % intervals as bands; each line has its name at its end."""
    bands = [[spread(column.tolist()) for column in np.asarray(c.returns).T] for c in shown]
    ends = [m + s * h for band in bands for m, h in band for s in (-1, 1)]
    step = _round_step(max(ends) - min(ends), 5)
    low, high = step * floor(min(ends) / step), -step * floor(-max(ends) / step)
    axes = _Axes(max(max(c.decisions) for c in shown), low, max(high, low + step))
    drawn = "".join(_curve(c, b, axes) for c, b in zip(shown, bands))
    names = _names([(c.name, axes.y(b[-1][0])) for c, b in zip(shown, bands)])
    label = "Mean return per episode by decisions: " + "; ".join(
        f"{c.name} ends at {b[-1][0]:.1f} ± {b[-1][1]:.1f}" for c, b in zip(shown, bands)
    )
    return (
        f'<svg class="curves" viewBox="0 0 {WIDE:g} {HIGH:g}" role="img" aria-label="{html.escape(label)}">'
        f"{_grid(axes, step)}{drawn}{names}</svg>"
    )


def _curve(curve: Curve, band: Sequence[tuple[float, float]], axes: _Axes) -> str:
    def path(values: Sequence[float]) -> list[str]:
        return [f"{axes.x(d):.1f},{axes.y(v):.1f}" for d, v in zip(curve.decisions, values)]

    upper, lower = path([m + h for m, h in band]), path([m - h for m, h in band])
    area, line = " ".join(upper + lower[::-1]), " ".join(path([m for m, _ in band]))
    name = html.escape(curve.name)
    return f'<g data-driver="{name}"><polygon class="band" points="{area}"/><polyline points="{line}"/></g>'


def _names(ends: Sequence[tuple[str, float]]) -> str:
    """The names at the ends of their lines, far enough from each other to be read."""
    apart, last, parts = 19.0, -1e9, list[str]()
    for name, y in sorted(ends, key=lambda end: end[1]):
        last = max(y, last + apart)
        safe = html.escape(name)
        parts.append(
            f'<g data-driver="{safe}"><text x="{WIDE - RIGHT + 10:g}" y="{last + 5:.1f}">{safe}</text></g>'
        )
    return "".join(parts)


def _grid(axes: _Axes, step: float) -> str:
    lines = np.arange(axes.low, axes.high + step / 2, step)
    rows = "".join(
        f'<line class="grid" x1="{LEFT:g}" x2="{WIDE - RIGHT:g}" y1="{axes.y(v):.1f}" y2="{axes.y(v):.1f}"/>'
        f'<text class="axis" x="{LEFT - 8:g}" y="{axes.y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in lines
    )
    every = _round_step(axes.most, 5)
    columns = "".join(
        f'<text class="axis" x="{axes.x(d):.1f}" y="{HIGH - FOOT + 18:g}" text-anchor="middle">{_short(d)}</text>'
        for d in np.arange(0.0, axes.most + every / 2, every)
        if d <= axes.most
    )
    middle = (LEFT + WIDE - RIGHT) / 2
    title = f'<text class="axis" x="{middle:g}" y="{HIGH - 4:g}" text-anchor="middle">decisions (seconds driven)</text>'
    return rows + columns + title


def _round_step(span: float, parts: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts a span into about so many parts.

    >>> _round_step(930.0, 5)
    200.0
    """
    raw = max(span, 1e-9) / parts
    power = 10.0 ** floor(log10(raw))
    return power * min((1, 2, 5, 10), key=lambda f: abs(f * power - raw))


def _short(count: float) -> str:
    """A count in thousands or millions.

    >>> _short(250_000), _short(1_500_000)
    ('250k', '1.5M')
    """
    if count >= 1_000_000:
        return f"{count / 1_000_000:g}M"
    return f"{count / 1000:g}k" if count >= 1000 else f"{count:g}"
