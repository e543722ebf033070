"""What differs between worlds: the road's grip, the spacing of signs, the other drivers, the sensors. Fixed before training."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]
"""The bounds of a uniform draw."""


@dataclass(frozen=True)
class Conditions:
    """A world's parameters; the defaults are those of a dry road.

    >>> Conditions().grip, RAIN.grip
    (6.0, 4.0)
    """

    grip: float = 6.0
    """The hardest braking of anybody, m/s²."""
    sign_spacing: Range = (300.0, 900.0)
    junction_spacing: Range = (600.0, 1200.0)
    """Metres from one to the next."""
    desired: Range = (14.0, 30.0)
    """The speeds that other drivers would drive on an empty road, m/s: whatever the limit."""
    headway: Range = (1.0, 1.8)
    """Seconds that they keep to the car ahead."""
    acceleration: float = 1.5
    comfortable: float = 2.0
    """Their acceleration and their usual braking, m/s²."""
    politeness: float = 0.2
    """What the others' loss weighs for one who changes lanes."""
    noise_gap: float = 0.5
    noise_speed: float = 0.3
    """Standard deviations of the radar's readings, m and m/s (uniform noise)."""
    dropout: float = 0.05
    """The share of readings that do not come."""


DRY = Conditions()
RAIN = Conditions(
    grip=4.0,
    sign_spacing=(200.0, 600.0),
    desired=(10.0, 24.0),
    headway=(1.4, 2.6),
    acceleration=1.0,
    comfortable=1.5,
    noise_gap=1.0,
)
"""The shifted world: longer braking, other sign spacing, other drivers. For continual learning and for trials; nobody trains in it first."""
