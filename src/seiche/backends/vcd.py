"""Recordings as Value Change Dumps (IEEE 1364-2005, clause 18). Needs the extra `traces` (pyvcd), which is imported here only."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from vcd.writer import VCDWriter

from seiche.backends.recording import Track, seconds_per_tick

if TYPE_CHECKING:
    from seiche.backends.recording import Recording

UNITS = {"s": 0, "ms": -3, "us": -6, "ns": -9, "ps": -12, "fs": -15}


@dataclass(frozen=True)
class Wave:
    """One variable of the file and its changes: (tick, value)."""

    scope: str
    name: str
    kind: str
    size: int
    changes: tuple[tuple[int, Any], ...]

    @property
    def range(self) -> tuple[int, int] | None:
        """The bits of an element, without which `n[0]` would be a bit of `n`."""
        return (
            (self.size - 1, 0)
            if self.name.endswith("]") and self.kind == "wire" and self.size > 1
            else None
        )


def write(recording: Recording, path: Path, tick_s: float, elements_max: int) -> None:
    """The file; SE903 for a length of ticks that a timescale cannot say."""
    number, unit, steps = timescale(seconds_per_tick(tick_s))
    shown = [s for s in recording.tracks if s.type.size <= elements_max]
    waves = [wave for s in shown for wave in _waves(recording, s)]
    out = [s.path for s in recording.tracks if s.type.size > elements_max]
    comment = f"left out for their size: {', '.join(out)}" if out else ""
    with path.open("w", encoding="ascii", errors="replace") as file:
        writer = VCDWriter(
            file, f"{number} {unit}", date="", comment=comment, version="seiche", check_values=False
        )
        made = [
            writer.register_var(w.scope, w.name, w.kind, w.size, _first(w), w.range) for w in waves
        ]
        changes = ((t, k, value) for k, w in enumerate(waves) for t, value in w.changes)
        for t, k, value in sorted(changes, key=lambda change: change[:2]):
            writer.change(made[k], t * steps, value)
        writer.close(recording.length * steps)


def timescale(tick_s: float) -> tuple[int, str, int]:
    """The coarsest timescale of which a tick is a whole number (1, 10 or 100 of a unit), and that number.

    >>> timescale(0.02), timescale(1.0), timescale(1 / 3)
    ((10, 'ms', 2), (1, 's', 1), (1, 'ns', 333333333))
    """
    for (unit, power), number in itertools.product(UNITS.items(), (100, 10, 1)):
        steps = tick_s / (number * 10.0**power)
        if round(steps) >= 1 and abs(steps - round(steps)) <= 1e-9 * steps:
            return number, unit, round(steps)
    return 1, "fs", max(1, round(tick_s * 1e15))


def _first(wave: Wave) -> Any:
    """What it is before its first change: unknown, or 0 where a real cannot be."""
    return 0.0 if wave.kind == "real" else "x"


def _waves(recording: Recording, track: Track) -> Iterator[Wave]:
    """A variable for each element; for reals that may be absent, one more that says whether they are there."""
    scope = ".".join(_word(part) for part in (recording.name, *track.scope))
    real = track.values.dtype.kind == "f"
    there = track.dense(recording.length)
    for index in np.ndindex(track.type.shape):
        name = _word(track.name) + "".join(f"[{i}]" for i in index)
        values = track.values[(slice(None), *index)]
        at = dict(zip(track.ticks.tolist(), values.tolist(), strict=True))
        seen = [(t, at.get(t)) for t in range(recording.length) if there[t] or not real]
        size = 64 if real else 1 if values.dtype.kind == "b" else values.dtype.itemsize * 8
        changes = tuple((t, _coded(v, real, size)) for t, v in _changed(seen))
        yield Wave(scope, name, "real" if real else "wire", size, changes)
    if real and not there.all():
        flags = tuple((t, int(v)) for t, v in _changed(list(enumerate(there.tolist()))))
        yield Wave(scope, f"{_word(track.name)}_present", "wire", 1, flags)


def _changed(seen: list[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """The values that differ from the one before."""
    before: Any = ()
    for t, value in seen:
        if value != before:
            yield t, value
        before = value


def _coded(value: Any, real: bool, size: int) -> Any:
    """As the writer takes it: absent is x, negative integers are two's complement."""
    if value is None:
        return "x"
    return float(value) if real else int(value) & ((1 << size) - 1)


def _word(name: str) -> str:
    """A name without what a viewer takes for structure.

    >>> _word("w['in'][0]")
    'w_in_0'
    """
    return re.sub(r"\W+", "_", name).strip("_") or "_"
