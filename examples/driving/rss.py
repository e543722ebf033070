"""Responsibility-sensitive safety: the distances at which nobody can be hit who keeps to the rules.

Shalev-Shwartz, Shammah & Shashua 2017 (arXiv 1708.06374), definitions 1 and 6.
"""

from __future__ import annotations

import seiche as sc

RESPONSE = 1.0
"""Seconds until one can answer: a decision."""
SIDEWAYS, SIDEWAYS_BRAKE, SIDEWAYS_MARGIN = 0.2, 0.8, 0.1
"""m/s², m/s², m: how cars drift, how they stop drifting, what they keep."""


def longitudinal(
    rear: sc.Tensor,
    front: sc.Tensor,
    pull: sc.Tensor,
    rear_brake: float,
    front_brake: float,
    response: float = RESPONSE,
) -> sc.Stream:
    """Metres that the car behind, at speed `rear` (m/s), must keep to one at speed `front` in its lane.

        max(0, v ρ + a ρ²/2 + (v + a ρ)² / (2 b) - front² / (2 B))

    It may accelerate by a = `pull` for the response time ρ, then brakes by at least b = `rear_brake`, while the car ahead brakes
    by at most B = `front_brake`. Nobody drives backwards: v + a ρ is at least 0, and v ρ + a ρ²/2 the mean of both speeds times ρ.
    Where nobody comes to rest, speeds may be those over the slowest that both keep to: distances in a frame that goes along.

    >>> @sc.node
    ... def keep(v: sc.f32) -> sc.f32:
    ...     return longitudinal(v, v, 0.0, 6.0, 6.0)
    >>> sc.compile(keep).run([10.0, 20.0]).tolist()
    [10.0, 20.0]
    """
    after = sc.maximum(rear + response * pull, 0.0)
    moved = 0.5 * response * (rear + after)
    stopping = sc.square(after) * (0.5 / rear_brake) - sc.square(front) * (0.5 / front_brake)
    return sc.maximum(moved + stopping, 0.0)


def lateral(left: sc.Tensor, right: sc.Tensor, response: float = RESPONSE) -> sc.Stream:
    """Metres between the sides of two cars that move sideways at these speeds (m/s, to the right is positive).

        μ + max(0, (v + v') ρ / 2 + v'² / (2 b) - ((w + w') ρ / 2 - w'² / (2 b))),  v' = v + ρ a,  w' = w - ρ a

    v is that of the car on the left, w that of the one on the right.

    >>> @sc.node
    ... def keep(v: sc.f32) -> sc.f32:
    ...     return lateral(v, 0.0)
    >>> sc.compile(keep).run([0.0, 2.0]).round(2)
    array([0.35, 5.35], dtype=float32)
    """
    drift = response * SIDEWAYS
    v, w = left + drift, right - drift
    towards = 0.5 * response * (left + v) + sc.square(v) * (0.5 / SIDEWAYS_BRAKE)
    away = 0.5 * response * (right + w) - sc.square(w) * (0.5 / SIDEWAYS_BRAKE)
    return SIDEWAYS_MARGIN + sc.maximum(towards - away, 0.0)
