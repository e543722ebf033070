"""The shield of the highway: what was chosen if it is safe, else the nearest that is.

The car cannot go under 20 m/s here, but others do: RSS as it stands, by which everybody may come to rest, would call nothing safe. Its distances
are kept in a frame that goes along at 20 m/s, whose speeds nobody falls below but those who are slow already; and who is slower is left in time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving.override import nearest
from examples.driving.rss import longitudinal
from examples.highway.scene import (
    ACTIONS,
    LANE_TAU,
    LANE_WIDTH,
    LANES,
    LEFT_OVER,
    LENGTH,
    SIDES,
    SLOWEST,
    SPEED_TAU,
    STEP,
    WIDTH,
    Scene,
    aims,
    lanes,
)
from seiche import bool_, f32, i32, node

BRAKE, GRIP = 4.3, 6.0
"""m/s²: how the car comes from 30 to 20 m/s, and how hard the others brake at most."""
PULL_BEHIND = 0.5
"""m/s²: by how much who is behind still speeds up when the car comes before it."""
STANDSTILL, HEADWAY, EASING, WISHED = 10.0, 1.5, 0.129, 23.0
"""m, s, s²/m, m/s: how the others drive by IDM; EASING is 1 / (2 sqrt(3 · 5))."""
PATIENCE = 25.0
"""Seconds: a slower car that would be reached within them is not followed."""
TIMES, SPARE = 10, 1.0
"""Seconds for which a way around is looked for, metres that it must leave."""
TRAPPED, FREE, HASTE = -20.0, 3.0, 2.0
"""Metres: less and more than these say nothing of a way around; what speeding up must be better by."""
STEEP = 10.0
"""How much worse a metre that is missing in this second is than one that is missing later."""
OTHER_LANE = 3.0
"""How far a change of lanes is from keeping to it, in m/s."""
FAR = 1e3
"""Metres to who is not there."""


class Margins(NamedTuple):
    """What is kept, in metres: to a car ahead, one behind the place that is entered, one on the far side of the lane that is entered,
    and sideways; in seconds: for how long a car under 20 m/s is followed, and until who is behind answers."""

    ahead: float
    behind: float
    beside: float
    sideways: float
    hold: float
    answer: float


SAFE = Margins(ahead=1.0, behind=2.5, beside=3.0, sideways=0.5, hold=5.0, answer=0.6)
LEAST = Margins(ahead=0.5, behind=1.2, beside=-9.0, sideways=0.4, hold=1.0, answer=0.4)
"""What is called safe; and by what the least evil is chosen where nothing is."""
CLEAR = 0.8
"""Seconds from which on a car that changes lanes is out of its old one."""


class Judgement(NamedTuple):
    """Which actions are safe `[ACTIONS]`, and what is done where none is."""

    safe: bool_[len(ACTIONS)]
    refuge: i32


class Verdict(NamedTuple):
    """What is done, and whether it is another thing than what was chosen."""

    action: i32
    overridden: bool_


class Plan(NamedTuple):
    """What an action comes to, `[ACTIONS]`: the lane that it steers for, whether it changes lanes, the speed after a second, metres
    until then; `[ACTIONS, others]`: who is in that lane, or on the way to it."""

    lane: sc.Stream
    changes: sc.Stream
    speed: sc.Stream
    moved: sc.Stream
    entered: sc.Stream


def occupied(now: Scene, keep: float) -> sc.Stream:
    """`[LANES, others]`: who is in a lane, or steers for it: `keep` metres apart at least are those who do not.

    The others' controllers, too, steer at a speed that is the way to go over LANE_TAU.
    """
    towards = now.beside + LANE_TAU * now.sideways
    low, high = sc.minimum(now.beside, towards), sc.maximum(now.beside, towards)
    middle = np.float32(np.arange(LANES) * LANE_WIDTH)[:, None]
    reach = WIDTH + keep
    return now.there & (low - middle < reach) & (high - middle > -reach)


def planned(now: Scene, there: sc.Stream) -> Plan:
    """Of each action, where `there` is who is in which lane."""
    lane, aim = lanes(now.lane), aims(now.speed, now.aim)
    after = aim + (now.speed - aim) * LEFT_OVER
    changes = sc.absolute(lane.to(f32) * LANE_WIDTH - now.across) > WIDTH
    return Plan(lane, changes, after, 0.5 * (now.speed + after), sc.take(there, lane))


def braked(now: Scene, there: sc.Stream) -> sc.Stream:
    """`[others]`: the speeds in a second of those who brake as IDM asks for the car before them (Treiber, Hennecke & Helbing 2000)."""
    shared = sc.any(there[:, :, None] & there[:, None, :], 0)
    gap = now.ahead - now.ahead[:, None]
    closing = now.speeds[:, None] - now.speeds
    wish = STANDSTILL + sc.maximum(now.speeds[:, None] * (HEADWAY + EASING * closing), 0.0)
    crowd = sc.where(shared & (gap > 0.0), sc.square(wish / sc.maximum(gap, 1.0)), 0.0)
    free = sc.square(sc.square(now.speeds / WISHED))
    return now.speeds + sc.clip(3.0 * (1.0 - free - sc.max(crowd, 1)), -GRIP, 0.0)


def least(metres: sc.Stream, who: sc.Stream) -> sc.Stream:
    """The smallest number of metres of those who matter, over the last axis."""
    return sc.min(sc.where(who, metres, FAR), -1)


def at_once(now: Scene, plan: Plan, there: sc.Stream, keep: Margins, strict: bool) -> sc.Stream:
    """`[ACTIONS]`: metres beyond what must be kept now: ahead, behind and beside, in the lane that is entered and the one that is left.

    Where it is not `strict`, the lane that is left must only be clear until the car is out of it.
    """
    slow, ahead = braked(now, there), now.ahead >= 0.0
    gap = sc.absolute(now.ahead) - LENGTH
    front = longitudinal(
        (now.speed - SLOWEST)[None], sc.maximum(slow - SLOWEST, 0.0), (plan.speed - now.speed)[:, None], BRAKE, GRIP
    ) + sc.maximum(SLOWEST - slow, 0.0) * keep.hold  # fmt: skip
    rear = longitudinal(
        sc.maximum(now.speeds - SLOWEST, 0.0), sc.maximum(plan.speed - SLOWEST, 0.0)[:, None], PULL_BEHIND, GRIP, BRAKE, keep.answer
    )  # fmt: skip
    lost = CLEAR * sc.maximum(plan.moved[:, None] - 0.5 * (now.speeds + slow), 0.0)
    here = sc.clip(sc.round(now.across / LANE_WIDTH), 0, LANES - 1).to(i32)
    # Who is on the far side of the lane that is entered may want to enter it too.
    far = 2 * plan.lane - here
    rivals = sc.take(there, sc.clip(far, 0, LANES - 1)) & ((far >= 0) & (far < LANES))[:, None]
    changes = plan.changes[:, None]
    left = least(
        gap - (front if strict else lost) - keep.ahead, sc.take(there, here) & changes & ahead
    )
    sides = least(gap - keep.beside, rivals & ~plan.entered & changes)
    behind = least(gap - rear - keep.behind, plan.entered & changes & ~ahead)
    before = least(gap - front - keep.ahead, plan.entered & ahead)
    return sc.minimum(sc.minimum(before, behind), sc.minimum(left, sides))


def follows(now: Scene, plan: Plan) -> sc.Stream:
    """`[ACTIONS]`: metres that are left when patience ends, in the lane and at 20 m/s."""
    later = now.ahead + now.speeds - plan.moved[:, None]
    closed = PATIENCE * sc.maximum(SLOWEST - now.speeds, 0.0)
    return least(later - LENGTH - SPARE - closed, plan.entered & (later > 0.0))


def around(now: Scene, plan: Plan, there: sc.Stream) -> sc.Stream:
    """`[ACTIONS]`: metres that the best way around leaves: some seconds at 20 or 25 m/s, then left or right.

    Others are thought to keep their speeds.
    """
    speeds = np.float32([SLOWEST, SLOWEST + STEP])[:, None, None]
    times = np.float32(np.arange(TIMES))[:, None]
    gain = plan.speed[:, None, None, None] - speeds
    gone = speeds * times + gain * np.where(times > 0, np.float32(SPEED_TAU), np.float32(0.0))
    later = (now.ahead + now.speeds - plan.moved[:, None])[:, None, None, :]
    at = later + now.speeds * times - gone
    lost, won = sc.maximum(speeds - now.speeds, 0.0), sc.maximum(now.speeds - speeds, 0.0)
    # Until it has left its lane, the car must not reach who is ahead there.
    out = least(at - LENGTH - 0.5 * SPARE - lost, plan.entered[:, None, None, :] & (later > 0.0))
    room = sc.where(at > 0.0, at - 2.0 * lost, -at - won) - LENGTH - SPARE
    ways: list[sc.Stream] = []
    for side in (-1, 1):
        lane = plan.lane + side
        other = sc.take(there, sc.clip(lane, 0, LANES - 1))[:, None, None, :]
        way = sc.max(sc.minimum(out, least(room, other)), (1, 2))
        ways.append(sc.where((lane >= 0) & (lane < LANES), way, -FAR))
    return sc.maximum(*ways)


def judge(now: Scene) -> Judgement:
    """Safe is what keeps its distances now and needs no patience; the refuge is what best keeps lesser ones, and a way around."""
    exists = np.int32(SIDES) + now.lane == lanes(now.lane)
    there = occupied(now, SAFE.sideways)
    plan = planned(now, there)
    safe = sc.minimum(at_once(now, plan, there, SAFE, strict=True), follows(now, plan)) >= 0.0

    there = occupied(now, LEAST.sideways)
    plan = planned(now, there)
    near = sc.minimum(at_once(now, plan, there, LEAST, strict=False), 0.0)
    on = sc.clip(sc.maximum(follows(now, plan), around(now, plan, there)), TRAPPED, FREE)
    # Of equals, the one that slows down.
    haste = np.float32([0.0, 0.0, 0.0, HASTE, -1e-3])
    refuge = sc.argmax(sc.where(exists, STEEP * near + on - haste, -FAR * STEEP))
    return Judgement(exists & safe, refuge)


def distances() -> np.ndarray:
    """How far each action is from each other: the difference of their speeds, and of their lanes."""
    pulls, sides = np.float32([0.0, 0.0, 0.0, STEP, -STEP]), np.float32(SIDES)
    lanes_apart = OTHER_LANE * np.abs(sides[:, None] - sides)
    return np.abs(pulls[:, None] - pulls) + lanes_apart.astype(np.float32)


@node
def shielded(chosen: i32, safe: bool_[len(ACTIONS)], refuge: i32) -> Verdict:
    """The chosen action if it is safe; else the nearest that is; where none is, the refuge."""
    chosen = sc.clip(chosen, 0, len(ACTIONS) - 1)
    done = nearest(chosen, safe, sc.take(distances(), chosen), refuge)
    sc.guarantee((done >= 0) & (done < len(ACTIONS)), "an action is done")
    sc.guarantee(sc.take(safe, done) | ~sc.any(safe), "it is safe, if anything is")
    return Verdict(done, done != chosen)
