"""Facts, distances, modes and the shield: each beside what it must do, and all of them under senseless sensors."""

from __future__ import annotations

import doctest
import importlib
from functools import lru_cache

import numpy as np
import pytest

import seiche as sc
from examples.driving import facts, health, rss, shield
from examples.driving.conditions import DRY, RAIN
from examples.driving.drivers import guarded
from examples.driving.health import DEGRADED, EMERGENCY, NOMINAL, RECOVERY, Readings
from examples.driving.road import FIRST_LIMIT
from examples.driving.sensing import REACH, SECTORS, Sensors
from examples.driving.world import (
    ACTIONS,
    BRAKE,
    FASTER,
    KEEP,
    LEFT,
    PULLS,
    RIGHT,
    SLOWER,
    SPEED_FIRST,
    motion,
)
from seiche import bool_, f32, i32
from tests.learning import in_c

NAN = np.float32(np.nan)

# ---------------------------------------------------------------------------------------- distances


def test_distances_are_those_of_the_paper():
    """Shalev-Shwartz et al. 2017, definitions 1 and 6, in f64."""
    rng = np.random.default_rng(0)
    vr, vf = rng.uniform(0, 35, (2, 300))
    a = rng.uniform(0, 3, 300)
    wanted = vr + a / 2 + (vr + a) ** 2 / (2 * 4.0) - vf**2 / (2 * 8.0)

    @sc.node
    def keep(vr: f32, vf: f32, a: f32, v: f32, w: f32):
        return rss.longitudinal(vr, vf, a, 4.0, 8.0), rss.lateral(v, w)

    v, w = rng.uniform(-2, 2, (2, 300))
    said = sc.compile(keep).run(*(np.float32(x) for x in (vr, vf, a, v, w)))
    np.testing.assert_allclose(said[0], np.maximum(wanted, 0), rtol=1e-5, atol=1e-4)
    # μ + max(0, what the left one drifts to the right, stopping included, less what the right one drifts away)
    p, q = v + rss.SIDEWAYS, w - rss.SIDEWAYS
    b = rss.SIDEWAYS_BRAKE
    sideways = (v + p) / 2 + p**2 / (2 * b) - ((w + q) / 2 - q**2 / (2 * b))
    np.testing.assert_allclose(said[1], rss.SIDEWAYS_MARGIN + np.maximum(sideways, 0), rtol=1e-4)


def test_at_that_distance_nobody_is_hit_and_at_less_somebody_is():
    """Both cars do their worst: the one ahead brakes at once, the one behind a second later."""

    def nearest(gap, vr, vf, pull):
        dt, low = 0.001, gap
        for t in np.arange(0, 12, dt):
            a = pull if t < 1.0 else -6.0
            r, f = max(vr + a * dt, 0.0), max(vf - 6.0 * dt, 0.0)
            gap += (f + vf - r - vr) / 2 * dt
            vr, vf, low = r, f, min(low, gap)
        return low

    @sc.node
    def keep(vr: f32, vf: f32, a: f32):
        return rss.longitudinal(vr, vf, a, 6.0, 6.0)

    cases = [(20, 10, 1.5), (28, 28, 0.0), (15, 25, 1.5), (12, 0, -2.0), (9, 4, -6.0)]
    for vr, vf, pull in cases:
        need = float(sc.compile(keep).step(*map(np.float32, (vr, vf, pull))))
        assert nearest(need + 0.05, vr, vf, pull) >= 0
        if need > 1.0:
            assert nearest(need - 1.0, vr, vf, pull) < 0.01


# -------------------------------------------------------------------------------------------- facts


@lru_cache(maxsize=1)
def remembering():
    @sc.node
    def memory(said: Sensors, opens: bool_):
        return facts.facts(said, said.moved, opens)

    return sc.compile(memory)


def silence(ticks, **given):
    """Sensors of a car that drives 20 m a second and sees nothing; `given` are `{tick: value}` or streams."""
    none, all_ = np.full(ticks, NAN), np.full((ticks, SECTORS), REACH, np.float32)
    own = np.full(ticks, 20.0, np.float32)
    noise = np.random.default_rng(0).normal(scale=0.5, size=(ticks, SECTORS)).astype(np.float32)
    said = {
        "speed": own, "lane": np.ones(ticks, np.int32), "moved": own.copy(), "pull": np.zeros(ticks, np.float32),
        "gap": all_ + noise, "closing": 0 * all_,
        "sign": none.copy(), "sign_ahead": none.copy(), "arrow": none.copy(), "junction": none.copy(),
    }  # fmt: skip
    for name, value in given.items():
        if isinstance(value, dict):
            for t, x in value.items():
                said[name][t] = x
        else:
            said[name] = value
    return Sensors(**said)


def drive_on(said, opens=()):
    ticks = len(said.speed)
    program = remembering()
    program.reset()
    return program.run(said, np.isin(np.arange(ticks), [0, *opens]))


def test_a_limit_is_remembered_from_its_sign_on():
    known = drive_on(silence(40, sign={3: 28.0, 20: 12.0}, sign_ahead={3: 10.0, 20: 10.0}))
    # The higher limit holds from the sign on (10 m ahead at tick 3: passed at tick 4), the lower one is kept at once.
    assert known.limit.tolist() == [17.0] * 4 + [28.0] * 16 + [12.0] * 20
    # It is in force 100 m behind its sign: 110 m ahead at tick 20, 20 m a second.
    assert known.room[20:27].tolist() == [110, 90, 70, 50, 30, 10, 0] and not known.room[:20].any()


def test_a_sign_seen_twice_is_one_sign():
    once = drive_on(silence(12, sign={3: 12.0}, sign_ahead={3: 25.0}))
    twice = drive_on(silence(12, sign={3: 12.0, 4: 12.0}, sign_ahead={3: 25.0, 4: 5.0}))
    for a, b in zip(once, twice):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sign", [NAN, 0.0, -7.0, 300.0, np.inf])
def test_a_sign_that_cannot_be_true_is_none(sign):
    known = drive_on(silence(9, sign={3: sign}, sign_ahead={3: 10.0}))
    assert (known.limit == FIRST_LIMIT).all()


def test_an_arrow_is_remembered_up_to_its_junction():
    known = drive_on(silence(25, arrow={2: 1.0, 4: 0.0 * NAN}, junction={2: 260.0}))
    assert known.left_only.tolist() == [False] * 2 + [True] * 13 + [False] * 10
    assert known.junction[2:15].tolist() == [260 - 20 * k for k in range(13)]
    assert (known.junction[15:] == facts.FAR).all()
    straight = drive_on(silence(9, arrow={2: 0.0}, junction={2: 260.0}))
    assert not straight.left_only.any()


def test_a_new_drive_knows_nothing_of_the_last_one():
    told = silence(12, sign={2: 28.0}, sign_ahead={2: 5.0}, arrow={2: 1.0}, junction={2: 290.0})
    known = drive_on(told, opens=[6])
    assert known.limit[5] == 28.0 and known.left_only[5]
    assert known.limit[6] == FIRST_LIMIT and not known.left_only[6:].any()


# -------------------------------------------------------------------------------------------- modes


OWN = ("speed", "lane", "moved", "pull")


@sc.node
def obedient(said: Sensors, opens: bool_, chosen: i32, broken: bool_[len(OWN)]):
    """A car that does as it is told: what it says of its own motion is true, but where that is `broken`; the truth beside it."""
    action, speed, lane = sc.var(i32), sc.state(SPEED_FIRST), sc.state(1)
    mine = motion(sc.fby(KEEP, action), speed, lane, DRY)
    speed.next, lane.next = sc.where(opens, SPEED_FIRST, mine.speed), sc.where(opens, 1, mine.lane)
    moved, pull = sc.where(opens, 0.0, mine.moved), sc.where(opens, 0.0, mine.pull)
    true = dict(zip(OWN, (speed.next, lane.next, moved, pull), strict=True))
    heard = {n: sc.where(broken[i], getattr(said, n), true[n]) for i, n in enumerate(OWN)}
    done = guarded(said._replace(**heard), opens, chosen)
    action.define(done.action)
    return done, true


@lru_cache(maxsize=1)
def watching():
    return sc.compile(obedient, target="c")


def modes(said, chosen=KEEP, opens=(), broken=False):
    ticks = len(said.speed)
    program = watching()
    program.reset()
    opens, chosen = np.isin(np.arange(ticks), [0, *opens]), np.broadcast_to(np.int32(chosen), ticks)
    broken = np.broadcast_to(np.bool_(broken), (ticks, len(OWN)))
    return program.run(said, opens, np.array(chosen), np.array(broken))[0]


@in_c
def test_sound_sensors_are_nominal_with_one_reading_in_twenty_lost():
    said = silence(400)
    lost = np.random.default_rng(1).random((400, SECTORS)) < 0.05
    said = said._replace(
        gap=np.where(lost, NAN, said.gap), closing=np.where(lost, NAN, said.closing)
    )
    assert (modes(said).mode == NOMINAL).mean() > 0.97


def broken(kind, said, some):
    """Sensors that fail at these ticks."""
    gap = said.gap.copy()
    if kind == "nan":
        gap[some] = NAN
    elif kind == "frozen":
        gap[some] = gap[some][0]
    elif kind == "out of range":
        gap[some] = 1e9
    elif kind == "backwards":
        return said._replace(moved=np.full_like(said.moved, -3.0))
    elif kind == "own":
        return said._replace(speed=np.full_like(said.speed, NAN))
    return said._replace(gap=gap)


def of_own(kind, some):
    """Which of the car's own words are broken at these ticks, `[ticks, OWN]`."""
    name = {"backwards": "moved", "own": "speed"}.get(kind)
    return some[:, None] & np.array([n == name for n in OWN])


@in_c
@pytest.mark.parametrize("kind", ["nan", "frozen", "out of range", "backwards", "own"])
def test_sensors_that_fail_lead_to_an_emergency_and_back_by_probation(kind):
    some = np.isin(np.arange(60), range(10, 30))
    seen = modes(broken(kind, silence(60), some), chosen=FASTER, broken=of_own(kind, some))
    order = [m for m, before in zip(seen.mode[1:], seen.mode) if m != before]
    assert order == [DEGRADED, EMERGENCY, RECOVERY, NOMINAL]
    assert (seen.mode == RECOVERY).sum() == health.PROBATION
    assert (seen.action[seen.mode == EMERGENCY] == BRAKE).all()
    assert (seen.action[seen.mode == DEGRADED] != FASTER).all()
    assert np.isfinite(seen.facts.limit).all()


FROZEN = slice(20, 45)


def in_motion(chosen, ticks=80):
    """The true motion of a car with sound sensors that is told this."""
    program = watching()
    program.reset()
    opens = np.arange(ticks) == 0
    none = np.zeros((ticks, len(OWN)), np.bool_)
    return program.run(silence(ticks), opens, np.array(np.broadcast_to(np.int32(chosen), ticks)), none)  # fmt: skip


@in_c
@pytest.mark.parametrize("at", ["zero", "the last"])
@pytest.mark.parametrize("names", [("speed",), ("moved",), ("pull",), ("lane",), OWN], ids="+".join)
def test_own_motion_that_freezes_is_noticed(names, at):
    """Each of the car's own words by itself, and all at once; at 0 (a dead sensor) or at what they were."""
    # Slower, faster and into other lanes all along, so that no word would stay as it is.
    told = np.int32([FASTER, FASTER, SLOWER, LEFT, SLOWER, FASTER, RIGHT, SLOWER] * 10)
    sound, true = in_motion(told)
    assert (sound.mode == NOMINAL).all()
    said = silence(80)
    for name in names:
        value = 0 if at == "zero" else true[name][FROZEN.start - 1]
        said = said._replace(**{name: np.full_like(getattr(said, name), value)})
    some = np.isin(np.arange(80), range(80)[FROZEN])
    seen = modes(said, told, broken=some[:, None] & np.array([n in names for n in OWN]))
    np.testing.assert_array_equal(seen.action[: FROZEN.start], sound.action[: FROZEN.start])
    assert DEGRADED in seen.mode[FROZEN] and (seen.mode[: FROZEN.start] == NOMINAL).all()
    assert seen.mode[-1] == NOMINAL


@in_c
@pytest.mark.parametrize("chosen", [KEEP, BRAKE, FASTER, SLOWER])
def test_a_car_that_stands_or_holds_its_speed_is_not_taken_for_frozen(chosen):
    done, true = in_motion(chosen, ticks=150)
    assert (done.mode == NOMINAL).all()
    resting = np.diff(true["speed"][-50:])
    assert (resting == 0).all() and (true["speed"][-1] == 0) == (chosen in (BRAKE, SLOWER))


@in_c
def test_a_dead_sensor_at_speed_leads_to_an_emergency_and_the_car_stops():
    some = np.isin(np.arange(80), range(30, 50))
    said = silence(80)._replace(speed=np.zeros(80, np.float32))
    broken = some[:, None] & np.array([n == "speed" for n in OWN])
    program = watching()
    program.reset()
    chosen = np.full(80, KEEP, np.int32)
    seen, true = program.run(said, np.arange(80) == 0, chosen, broken)
    assert true["speed"][29] == SPEED_FIRST and seen.mode[31] == DEGRADED and true["speed"][45] == 0
    order = [m for m, before in zip(seen.mode[1:], seen.mode) if m != before]
    assert order == [DEGRADED, EMERGENCY, RECOVERY, NOMINAL]


@in_c
def test_a_reading_now_and_then_does_not_shake_the_modes():
    """Hysteresis: failing every third second is degraded or worse all along, never to and fro."""
    some = np.arange(90) % 3 != 0
    order = modes(broken("nan", silence(90), some)).mode
    assert (np.diff(order) != 0).sum() <= 2 and order[-1] in (DEGRADED, EMERGENCY)


# ------------------------------------------------------------------------------------------- shield


@lru_cache(maxsize=2)
def shielding(of=DRY):
    @sc.node
    def judge(chosen: i32, seen: Readings, known: facts.Facts, mode: i32) -> shield.Verdict:
        return shield.shielded(chosen, seen, known, mode, of=of)

    return sc.compile(judge)


def judged(
    chosen,
    speed=20.0,
    lane=1,
    gap=(),
    closing=(),
    known=(28.0, 0.0, False, 400.0),
    mode=NOMINAL,
    of=DRY,
):
    gaps, closings = np.full(SECTORS, REACH, np.float32), np.zeros(SECTORS, np.float32)
    for where, values in ((gaps, gap), (closings, closing)):
        for k, x in dict(values).items():
            where[k] = x
    seen = Readings(
        np.float32(speed), np.int32(lane), np.float32(speed), np.float32(0), gaps, closings,
        np.zeros(SECTORS, np.int32), np.float32(0),
    )  # fmt: skip
    limit, room, left_only, junction = known
    told = facts.Facts(
        np.float32(limit), np.float32(room), np.bool_(left_only), np.float32(junction)
    )
    return shielding(of).step(np.int32(chosen), seen, told, np.int32(mode))


@pytest.mark.parametrize("chosen", range(len(ACTIONS)))
def test_on_a_free_road_every_choice_is_let_be(chosen):
    said = judged(chosen)
    assert said.action == chosen and not said.overridden and said.safe.all()


def test_distances_are_kept_ahead():
    """At 20 m/s behind a car at 20 m/s: as far as both brake alike, a second's way and the margin."""
    margin = shield.MARGIN * DRY.noise_gap
    near, far = 20.0 + margin - 0.1, 20.0 + margin + 0.1
    assert judged(KEEP, gap={1: far}).action == KEEP
    assert judged(KEEP, gap={1: near}).action == SLOWER
    assert judged(FASTER, gap={1: far}).action == KEEP
    assert judged(FASTER, gap={1: 5.0}).action == BRAKE
    assert judged(KEEP, gap={1: near}, of=RAIN).action == SLOWER
    # One that drives away may be near.
    assert judged(KEEP, gap={1: near}, closing={1: 5.0}).action == KEEP


def test_lanes_are_changed_with_room_on_all_sides():
    assert judged(LEFT, gap={0: 10.0}).action == KEEP
    assert judged(LEFT, gap={3: 8.0}, closing={3: 4.0}).action == KEEP
    assert judged(LEFT, gap={2: 8.0, 5: 3.0}).action == LEFT, (
        "what is on the other side does not matter"
    )
    assert judged(LEFT, lane=0).action == KEEP and judged(RIGHT, lane=2).action == KEEP


def test_the_law_is_kept():
    assert judged(FASTER, speed=16.9, known=(17.0, 0.0, False, 400.0)).action == KEEP
    assert judged(KEEP, speed=18.5, known=(17.0, 0.0, False, 400.0)).action == SLOWER
    # A lower limit a long way ahead is no reason to brake yet.
    assert judged(KEEP, speed=20.0, known=(12.0, 110.0, False, 400.0)).action == KEEP
    assert judged(KEEP, speed=20.0, known=(12.0, 40.0, False, 400.0)).action in (SLOWER, BRAKE)
    turns = (28.0, 0.0, True, 120.0)
    assert judged(LEFT, known=turns).action == KEEP
    assert judged(FASTER, lane=0, known=(28.0, 0.0, True, 60.0)).action == RIGHT
    assert (
        judged(KEEP, lane=0, speed=5.0, gap={2: 0.0}, known=(28.0, 0.0, True, 12.0)).action == BRAKE
    )


def test_modes_restrict():
    assert judged(FASTER, mode=DEGRADED).action == KEEP
    assert judged(LEFT, mode=DEGRADED).action == KEEP
    assert judged(FASTER, mode=RECOVERY).action == FASTER
    assert [judged(k, mode=EMERGENCY).action for k in range(6)] == [BRAKE] * 6


def test_the_nearest_safe_action_is_taken():
    away = shield.distances()
    assert (np.diag(away) == 0).all() and (away == away.T).all()
    assert away[FASTER, KEEP] == PULLS[FASTER] and away[KEEP, SLOWER] == -PULLS[SLOWER]


# --------------------------------------------------------------------------- sensors without a sense


def senseless(ticks, seed):
    """Sensors that say anything: often true, often wild, NaN and infinite."""
    rng = np.random.default_rng(seed)

    def any_of(size, low, high):
        told = rng.uniform(low, high, size)
        odd = np.float64([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -1.0])
        spells = np.repeat(rng.random((ticks // 50 + 1, *size[1:])), 50, axis=0)[:ticks]
        wrong = rng.random(size) < spells**3
        return np.where(wrong, rng.choice(odd, size), told).astype(np.float32)

    one, six = (ticks,), (ticks, SECTORS)
    lanes = np.where(
        rng.random(ticks) < 0.9, rng.integers(0, 3, ticks), rng.integers(-9, 99, ticks)
    )
    return Sensors(
        any_of(one, 0, 30), lanes.astype(np.int32), any_of(one, 0, 30), any_of(one, -6, 2),
        any_of(six, -5, 150), any_of(six, -20, 20), any_of(one, 5, 40), any_of(one, -5, 30),
        any_of(one, 0, 1), any_of(one, 190, 310),
    )  # fmt: skip


def survives(ticks, seed):
    """No guarantee of the shield is broken (that would stop the run), nothing but finite facts and real actions comes out."""
    rng = np.random.default_rng(seed + 1)
    opens, chosen = rng.random(ticks) < 0.01, rng.integers(-3, 99, ticks).astype(np.int32)
    spells = np.repeat(rng.random((ticks // 50 + 1, len(OWN))) < 0.2, 50, axis=0)[:ticks]
    done, _ = watching().run(senseless(ticks, seed), opens, chosen, spells)
    assert set(np.unique(done.action)) <= set(range(6))
    assert (done.action[done.mode == EMERGENCY] == BRAKE).all()
    assert np.isfinite(done.facts.limit).all() and np.isfinite(done.facts.room).all()
    assert done.facts.limit.min() >= 5 and done.facts.limit.max() <= 40
    return np.bincount(done.mode, minlength=4)


@in_c
def test_senseless_sensors_break_nothing():
    assert (survives(20_000, seed=0) > 0).all(), "all modes were visited"


@in_c
@pytest.mark.long
def test_a_million_seconds_of_senseless_sensors_break_nothing():
    visited = sum(survives(50_000, seed) for seed in range(20))
    assert (visited > 1000).all()


# -------------------------------------------------------------------------------------- docstrings


@in_c
@pytest.mark.parametrize(
    "name", ["conditions", "rss", "health", "training", "record", "environment"]
)
def test_examples_in_docstrings_are_true(name):
    if name == "environment":
        pytest.importorskip("gymnasium")
    ran = doctest.testmod(importlib.import_module(f"examples.driving.{name}"))
    assert ran.attempted and not ran.failed
