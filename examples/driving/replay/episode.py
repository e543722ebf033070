"""A recorded drive: what the page and the GIF read of it, checked, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.driving.health import MODES
from examples.driving.sensing import SECTORS
from examples.driving.traffic import CARS, LANES, RING
from examples.driving.world import ACTIONS

Array = np.ndarray[Any, Any]

FIELDS: dict[str, tuple[int, ...]] = {
    "place": (),
    "speed": (),
    "lane": (),
    "pull": (),
    "cars_place": (CARS,),
    "cars_speed": (CARS,),
    "cars_lane": (CARS,),
    "limit": (),
    "sign": (),
    "sign_place": (),
    "junction_place": (),
    "left_only": (),
    "sign_read": (),
    "arrow_read": (),
    "gap": (SECTORS,),
    "faulty": (),
    "fact_limit": (),
    "fact_left_only": (),
    "fact_junction": (),
    "mode": (),
    "chosen": (),
    "action": (),
    "overridden": (),
    "reward": (),
    "over": (),
    "wrong": (),
    "crash": (),
}
"""The arrays that are read of a record, each `[ticks, ...]`, with their shapes at a tick; `record.record` says what they mean."""

INDICES = {
    "mode": len(MODES), "chosen": len(ACTIONS), "action": len(ACTIONS), "lane": LANES, "cars_lane": LANES,
}  # fmt: skip
"""Those of them that count from 0, and up to where."""
NEVER = -1
"""The tick at which something was last read that was not."""
SAME_PLACE = 5.0
"""Metres by which the place of one sign may differ from tick to tick, by rounding."""


@dataclass(frozen=True)
class Mark:
    """Something that stands at a place of the road (m since the opening): a sign's limit (m/s), or whether a junction's left
    lane must turn."""

    at: float
    said: float


class Episode:
    """One drive, from its opening to its end, as `record.record` has it; `episode[name]` is an array of `FIELDS`.

    Raises ValueError where one is missing, has another shape or a value that means nothing, where the car goes back, or where there is
    no tick.
    """

    def __init__(self, record: Mapping[str, Array]) -> None:
        self._arrays = {name: np.asarray(record[name]) for name in FIELDS if name in record}
        _check(self._arrays)
        self.ticks = len(self["speed"])

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    @property
    def crashed(self) -> bool:
        """Whether the drive ends in a crash."""
        return bool(self["crash"][-1])

    @property
    def returned(self) -> Array:
        """`[ticks]`: the rewards so far."""
        return np.cumsum(self["reward"], dtype=np.float64)

    def signs(self) -> list[Mark]:
        """All signs that were ahead at some time, in their order."""
        return _marks(self["sign_place"], self["sign"])

    def junctions(self) -> list[Mark]:
        """All junctions that were ahead at some time, in their order."""
        return _marks(self["junction_place"], self["left_only"])

    def last_read(self, sensor: str) -> Array:
        """`[ticks]`: the tick at which a sensor ("sign" or "arrow") last read something, `NEVER` before."""
        return np.maximum.accumulate(np.where(self[f"{sensor}_read"], np.arange(self.ticks), NEVER))

    def motion(self, time: float) -> Array:
        """`[CARS + 1, 3]` at a time between ticks (s): metres since the opening, lanes, and lanes per second; the learning car last.

        The other cars are where they are nearest to the learning car, on the road that repeats itself.
        """
        tick = min(int(time), self.ticks - 1)
        after, part = min(tick + 1, self.ticks - 1), time - tick
        start, end, before, then = self._ends("place", "speed", tick, after)
        own = _between(start, end, before, then, part)
        start, end, before, then = self._ends("cars_place", "cars_speed", tick, after)
        start = start + self["place"][tick]
        end = start + _nearest(end + self["place"][after] - start)
        place = own + _nearest(_between(start, end, before, then, part) - own)
        lanes = np.array([[*self["cars_lane"][t], self["lane"][t]] for t in (tick, after)])
        shift = lanes[1] - lanes[0]
        across = lanes[0] + part * part * (3 - 2 * part) * shift
        return np.stack([np.append(place, own), across, 6 * part * (1 - part) * shift], axis=1)

    def _ends(self, place: str, speed: str, tick: int, after: int) -> tuple[Array, ...]:
        x, v = self[place].astype(np.float64), self[speed].astype(np.float64)
        return x[tick], x[after], v[tick], v[after]


NOT_USED, TOLD = "not used", "told"
"""What stands in place of a fact's age where a driver is not told it, or knows it without having read it."""


@dataclass(frozen=True)
class Run:
    """A drive as it is shown: its name, who drives, a line on that, what the driver does with facts (`NOT_USED`, `TOLD`, or ""
    where it remembers what it read)."""

    name: str
    driver: str
    about: str
    episode: Episode
    memory: str = ""

    @property
    def knows(self) -> bool:
        """Whether the facts make a difference to the driver."""
        return self.memory != NOT_USED


def _check(arrays: Mapping[str, Array]) -> None:
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        raise ValueError(f"the record lacks {', '.join(missing)}")
    ticks = len(arrays["speed"])
    if not ticks:
        raise ValueError("the record has no tick")
    for name, shape in FIELDS.items():
        if arrays[name].shape != (ticks, *shape):
            raise ValueError(f"{name} is {arrays[name].shape}, not {(ticks, *shape)}")
    on = np.diff(arrays["place"], prepend=arrays["place"][:1]) >= 0
    if not on.all():
        tick = int(np.flatnonzero(~on)[0])
        before, there = arrays["place"][[max(tick - 1, 0), tick]]
        raise ValueError(f"place goes from {before:g} to {there:g} m at tick {tick}: it only grows")
    for name, end in INDICES.items():
        if not ((arrays[name] >= 0) & (arrays[name] < end)).all():
            raise ValueError(
                f"{name} is from 0 to {end - 1}, not {arrays[name].min()} to {arrays[name].max()}"
            )


def _marks(at: Array, said: Array) -> list[Mark]:
    """Of arrays that tell where the next one is: each once."""
    new = np.flatnonzero(np.abs(np.diff(at, prepend=np.inf)) > SAME_PLACE)
    return [Mark(float(at[t]), float(said[t])) for t in new]


def _nearest(metres: Array) -> Array:
    """The shortest way on the ring, forward or back."""
    return (metres + RING / 2) % RING - RING / 2


def _between(start: Array, end: Array, before: Array, after: Array, part: float) -> Array:
    """Cubic Hermite interpolation over a second, with these speeds at its ends: exact where the acceleration is constant."""
    s, s2, s3 = part, part * part, part**3
    kept, reached = 2 * s3 - 3 * s2 + 1, 3 * s2 - 2 * s3
    return kept * start + (s3 - 2 * s2 + s) * before + reached * end + (s3 - s2) * after
