"""Whether the sensors can be believed, and the modes that follow: nominal, degraded, emergency, recovery."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving.conditions import DRY, Conditions
from examples.driving.sensing import REACH, SECTORS, Motion, Sensors
from examples.driving.traffic import LANES, LENGTH
from examples.driving.world import SPEED_FIRST, motion
from seiche import f32, i32

MODES = ("nominal", "degraded", "emergency", "recovery")
NOMINAL, DEGRADED, EMERGENCY, RECOVERY = range(4)
SPEED_MOST, PULL_MOST, CLOSING_MOST = 60.0, 12.0, 80.0
"""m/s, m/s², m/s: what no sensor of this car can truly say more of."""
FROZEN_AFTER, BLIND_AFTER = 3, 3
"""Seconds of the very same noise, and without a word of the lane ahead."""
FADE = 0.75
"""What a second leaves of the ill repute of the seconds before."""
DOUBT, FEAR, TRUST = 0.35, 0.65, 0.15
"""Shares of bad readings: above the first, degraded; above the second, emergency; below the third, better again."""
PROBATION = 5
"""Seconds of recovery."""
SLACK = 0.5
"""m/s, m, m/s²: what the car's words of its own motion may be off what its actions make of it."""


class Readings(NamedTuple):
    """The sensors' words, believable all: where one did not come or cannot be true, what follows from the last that was.

    `speed`, `pull`, `moved` and `lane` are the car's own, or what its action makes of the second before; `gap` and `closing` the
    radar's `[SECTORS]`, with `age` the seconds since each was really read. `bad` is the share of readings of this second that are none.
    """

    speed: f32
    lane: i32
    moved: f32
    pull: f32
    gap: f32[SECTORS]
    closing: f32[SECTORS]
    age: i32[SECTORS]
    bad: f32


def within(x: sc.Stream, low: float, high: float) -> sc.Stream:
    """Whether it lies there; NaN does not."""
    return (x >= low) & (x <= high)


def believed(said: Sensors, opens: sc.Stream, done: sc.Stream, of: Conditions = DRY) -> Readings:
    """The readings that can be true; `opens` says where a new drive begins, `done` is the action of the second that they are of."""
    kept = sc.state({"speed": SPEED_FIRST, "lane": 1})
    due = motion(done, kept["speed"], kept["lane"], of)
    sound = _possible(said) & (opens | _follows(said, due))
    speed, moved = sc.where(sound, said.speed, due.speed), sc.where(sound, said.moved, due.moved)
    lane, pull = sc.where(sound, said.lane, due.lane), sc.where(sound, said.pull, due.pull)
    kept.next = {"speed": speed, "lane": lane}

    gap, closing, age, heard = _radar(said, lane - kept["lane"], speed - kept["speed"], opens)
    bad = sc.where(sound, 1.0 - sc.mean(heard.to(sc.f32)), 1.0)
    return Readings(speed, lane, moved, pull, gap, closing, age, bad)


def _possible(said: Sensors) -> sc.Stream:
    """Whether any car may say so of its own motion."""
    paced = within(said.speed, 0.0, SPEED_MOST) & within(said.moved, 0.0, SPEED_MOST)
    return paced & within(said.pull, -PULL_MOST, PULL_MOST) & within(said.lane, 0, LANES - 1)


def _follows(said: Sensors, due: Motion) -> sc.Stream:
    """Whether it is what the action makes of what was believed: a sensor that freezes stands still while the car goes on."""
    pairs = ((said.speed, due.speed), (said.moved, due.moved), (said.pull, due.pull))
    near = [within(x - y, -SLACK, SLACK) for x, y in pairs]
    return near[0] & near[1] & near[2] & (said.lane == due.lane)


def _radar(
    said: Sensors, shifted: sc.Stream, faster: sc.Stream, opens: sc.Stream
) -> tuple[sc.Stream, ...]:
    """`(gaps, closing speeds, ages, which were heard)`: sectors that were not go on as they last went."""
    heard = within(said.gap, -2 * LENGTH, 2 * REACH) & within(
        said.closing, -CLOSING_MOST, CLOSING_MOST
    )
    heard &= ~_frozen(said.gap, heard)
    zero = np.zeros(SECTORS, np.float32)
    gap, closing, age = sc.state(zero), sc.state(zero), sc.state(np.zeros(SECTORS, np.int32))
    # After a change of lanes the sectors look elsewhere; of a lane that was not seen before, the worst is thought.
    lanes = np.arange(SECTORS, dtype=np.int32) % LANES + shifted
    known = (lanes >= 0) & (lanes < LANES)
    source = np.arange(SECTORS, dtype=np.int32) // LANES * LANES + sc.clip(lanes, 0, LANES - 1)
    speeds = sc.take(closing, source) - faster
    sign = np.float32([1.0] * LANES + [-1.0] * LANES)
    gone = sc.where(
        known & ~opens, sc.clip(sc.take(gap, source) + sign * speeds, -LENGTH, REACH), -LENGTH
    )
    gap.next = sc.where(heard, said.gap, gone)
    closing.next = sc.where(heard, said.closing, sc.where(known & ~opens, speeds, 0.0))
    age.next = sc.where(heard, 0, sc.minimum(age + 1, 99))
    return gap.next, closing.next, age.next, heard


def _frozen(gap: sc.Stream, heard: sc.Stream) -> sc.Stream:
    """Whether the radar repeats itself: noise never does."""
    before, since = sc.state(np.zeros(SECTORS, np.float32)), sc.state(0)
    before.next = sc.where(heard, gap, before)
    same = (heard & (gap == before)).any() & ((gap == before) | ~heard).all()
    since.next = sc.where(same, sc.minimum(since + 1, 99), 0)
    return since.next >= FROZEN_AFTER


def mode(bad: sc.Stream, blind: sc.Stream) -> sc.Stream:
    """The mode (i32, an index of `MODES`) by the share of bad readings, and whether the lane ahead is unknown.

    Hysteresis: what leads into a worse mode is more than what leads out of it, and the way back takes a time of probation.

    >>> @sc.node
    ... def modes(bad: sc.f32) -> sc.i32:
    ...     return mode(bad, sc.constant(False))
    >>> sc.compile(modes).run([0.0] + [1.0] * 5 + [0.0] * 14).tolist()
    [0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 0, 0, 0, 0]
    """
    repute = sc.state(0.0)
    repute.next = FADE * repute + (1.0 - FADE) * bad
    doubted = (repute.next > DOUBT) | blind
    feared, trusted = repute.next > FEAR, (repute.next < TRUST) & ~blind
    with sc.automaton() as auto:
        with auto.mode("nominal") as m:
            m.emit(index=NOMINAL)
        with auto.mode("degraded") as m:
            m.emit(index=DEGRADED)
        with auto.mode("emergency") as m:
            m.emit(index=EMERGENCY)
        with auto.mode("recovery") as m:
            passed = sc.state(1)
            passed.next = passed + 1
            m.emit(index=RECOVERY)
            m.until(passed >= PROBATION, "nominal")
        for calm in ("nominal", "recovery"):
            auto.unless(calm, feared, "emergency")
            auto.unless(calm, doubted, "degraded")
        auto.unless("degraded", feared, "emergency")
        auto.unless("degraded", trusted, "recovery")
        auto.unless("emergency", trusted, "recovery")
    return auto.index
