"""Sensors that fail for a time: what reaches the driver then, in place of what was sensed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import seiche as sc
from examples.driving.sensing import NOTHING, SECTORS, Sensors

KINDS = ("none", "lost", "frozen", "wild")
NONE, LOST, FROZEN, WILD = range(4)
"""No reading comes of radar and cameras; the radar repeats its last one, cameras see nothing; the radar says what cannot be true."""
OUTLANDISH = np.float32(-1e9)
"""Metres, what a wild radar says."""


@dataclass(frozen=True)
class Fault:
    """Radar and cameras fail from second `start` of a drive on, for so many `seconds`; `kind` is one of `KINDS`.

    Raises ValueError where that is no kind, or no time.

    >>> Fault(3, 2, "frozen").stream(7).tolist()
    [0, 0, 0, 2, 2, 0, 0]
    """

    start: int = 40
    seconds: int = 15
    kind: str = "lost"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is not one of {', '.join(KINDS)}")
        if self.start < 0 or self.seconds < 1:
            raise ValueError(f"{self.seconds} seconds from {self.start} on are no time of a drive")

    def stream(self, ticks: int) -> np.ndarray[Any, Any]:
        """What to give to `failing` at each tick of a drive."""
        second = np.arange(ticks)
        during = (second >= self.start) & (second < self.start + self.seconds)
        return np.where(during, KINDS.index(self.kind), NONE).astype(np.int32)

    def __str__(self) -> str:
        end = self.start + self.seconds
        return f"radar and cameras {self.kind} from {self.start} to {end} s"


def failing(said: Sensors, fault: sc.Stream) -> Sensors:
    """The sensors' words where `fault` (i32, an index of `KINDS`) has befallen them; what the car says of itself stays true."""
    kept = sc.state(
        {"gap": np.zeros(SECTORS, np.float32), "closing": np.zeros(SECTORS, np.float32)}
    )
    sound = fault == NONE
    kept.next = {
        name: sc.where(sound, getattr(said, name), kept[name]) for name in ("gap", "closing")
    }

    def radar(name: str) -> sc.Stream:
        broken = sc.where(fault == FROZEN, kept[name], sc.where(fault == WILD, OUTLANDISH, NOTHING))
        return sc.where(sound, getattr(said, name), broken)

    def camera(name: str) -> sc.Stream:
        return sc.where(sound, getattr(said, name), NOTHING)

    seen = {name: camera(name) for name in ("sign", "sign_ahead", "arrow", "junction")}
    return said._replace(gap=radar("gap"), closing=radar("closing"), **seen)
