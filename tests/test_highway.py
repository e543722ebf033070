"""The shield of highway-env's fast highway: what it takes the scene to be, what it calls safe, and what drives behind it."""

from __future__ import annotations

import doctest
from functools import lru_cache

import numpy as np
import pytest

import seiche as sc
from examples.driving import override
from examples.driving.rss import longitudinal
from examples.highway import scene as scenes
from examples.highway.scene import (
    CONFIG,
    FASTER,
    ID,
    IDLE,
    LEFT,
    LENGTH,
    RIGHT,
    ROWS,
    SLOWER,
    Scene,
)
from examples.highway.shield import SAFE, judge, shielded
from seiche import bool_, f32, i32
from tests.agreement import same_bits

pytest.importorskip("gymnasium")
OTHERS = ROWS - 1


def road():
    gymnasium = pytest.importorskip("gymnasium")
    from examples import gymnasiums

    try:
        return gymnasiums.made(ID, config=CONFIG)
    except gymnasium.error.NameNotFound:
        pytest.skip("highway-env is not installed (pip install 'seiche[worlds]')")


# ------------------------------------------------------------------------------------------ override


def test_the_nearest_safe_action_is_done_and_no_other():
    @sc.node
    def done(chosen: i32, safe: bool_[5], away: f32[5], refuge: i32) -> i32:
        return override.nearest(chosen, safe, away, refuge)

    rng = np.random.default_rng(0)
    chosen, refuge = rng.integers(0, 5, (2, 300)).astype(np.int32)
    safe, away = rng.random((300, 5)) < 0.4, rng.random((300, 5)).astype(np.float32)
    said = sc.compile(done).run(chosen, safe, away, refuge)
    for k in range(300):
        among = [a for a in range(5) if safe[k, a]]
        wanted = min(among, key=lambda a: away[k, a]) if among else refuge[k]
        assert said[k] == (chosen[k] if safe[k, chosen[k]] else wanted)
    assert doctest.testmod(override).failed == 0


# --------------------------------------------------------------------------------------------- scene


def test_the_scene_is_what_the_simulator_hides():
    """Lane and speed that the car steers for, and who is where, over random drives with their crashes."""
    env = road()
    inner = env.unwrapped

    @sc.node
    def seen(observation: f32[75], done: i32, opens: bool_):
        return scenes.scene(observation, done, opens)

    program, rng = sc.compile(seen), np.random.default_rng(1)
    opens, done, episode = True, IDLE, 0
    observation, _ = env.reset(seed=0)
    for _ in range(45):
        now = program.step(observation.reshape(-1), np.int32(done), np.bool_(opens))
        own = inner.vehicle
        assert (now.lane, now.aim) == (own.target_lane_index[2], own.target_speed)
        assert now.speed == pytest.approx(own.speed, abs=1e-3)
        assert now.across == pytest.approx(own.position[1], abs=1e-3)
        others = [
            v for v in inner.road.vehicles
            if v is not own and np.linalg.norm(v.position - own.position) < 200
        ]  # fmt: skip
        nearest = sorted(others, key=lambda v: abs(v.position[0] - own.position[0]))[:OTHERS]
        assert now.there.sum() == len(nearest)
        for k, v in enumerate(nearest):
            assert now.ahead[k] == pytest.approx(v.position[0] - own.position[0], abs=1e-2)
            assert now.beside[k] == pytest.approx(v.position[1], abs=1e-2)
            assert now.speeds[k] == pytest.approx(v.velocity[0], abs=1e-2)
        done = int(rng.integers(5))
        observation, _, crashed, late, _ = env.step(done)
        opens = crashed or late
        if opens:
            episode += 1
            observation, _ = env.reset(seed=episode)
    assert episode >= 1


# -------------------------------------------------------------------------------------------- shield


@lru_cache(maxsize=1)
def judging():
    @sc.node
    def verdict(chosen: i32, now: Scene):
        judged = judge(now)
        return judged, shielded(chosen, *judged)

    return sc.compile(verdict)


def drawn(*cars, speed=25.0, lane=1, across=None, aim=None):
    """A scene with cars `(metres ahead, lane, speed, sideways speed)`."""
    ahead, beside, speeds, sideways = np.zeros((4, OTHERS), np.float32)
    for k, (x, at, v, *drift) in enumerate(cars):
        ahead[k], beside[k], speeds[k], sideways[k] = x, 4.0 * at, v, drift[0] if drift else 0.0
    there = np.arange(OTHERS) < len(cars)
    middle = 4.0 * lane if across is None else across
    return Scene(
        np.float32(speed), np.float32(middle), np.int32(lane), np.float32(aim or speed),
        there, ahead, beside, speeds, sideways,
    )  # fmt: skip


def safe(*cars, **own):
    """Which actions are safe."""
    return set(np.flatnonzero(judging().step(np.int32(IDLE), drawn(*cars, **own))[0].safe).tolist())


def test_on_a_free_road_all_is_safe_but_lanes_that_are_not_there():
    assert safe() == {LEFT, IDLE, RIGHT, FASTER, SLOWER}
    assert LEFT not in safe(lane=0) and RIGHT not in safe(lane=2)


def test_nobody_is_approached_beyond_the_distance_of_rss():
    """In the frame of 20 m/s, with the margin: a metre more is safe, a metre less is not."""

    @sc.node
    def keep(v: f32, w: f32) -> f32:
        return longitudinal(v, w, 0.0, 4.3, 6.0)

    need = float(sc.compile(keep).step(np.float32(10.0), np.float32(2.0))) + SAFE.ahead + LENGTH
    walls = ((0.0, 0, 22.0), (0.0, 2, 22.0))
    assert IDLE in safe((need + 0.5, 1, 22.0), *walls, speed=30.0)
    assert IDLE not in safe((need - 0.5, 1, 22.0), *walls, speed=30.0)


def test_who_is_beside_or_comes_from_behind_keeps_the_lane_closed():
    assert RIGHT not in safe((2.0, 2, 25.0)) and LEFT in safe((2.0, 2, 25.0))
    assert LEFT not in safe((-12.0, 0, 33.0)) and LEFT in safe((-60.0, 0, 25.0))
    # One on its way from the far lane to the lane between.
    assert RIGHT not in safe((1.0, 2, 25.0, -5.0), lane=1) and RIGHT not in safe(
        (3.0, 2, 25.0), lane=0
    )


def test_one_who_cuts_in_is_ahead_before_he_is_there():
    assert IDLE in safe((9.0, 0, 25.0)) and IDLE not in safe((9.0, 0, 21.0, 5.0))


def test_a_slower_car_is_left_in_time_and_a_crowd_is_expected_to_brake():
    assert IDLE not in safe((60.0, 1, 17.0), speed=20.0) and LEFT in safe(
        (60.0, 1, 17.0), speed=20.0
    )
    alone, crowd = ((22.0, 1, 23.0),), ((22.0, 1, 23.0), (34.0, 1, 20.0))
    assert IDLE in safe(*alone) and IDLE not in safe(*crowd)


def test_where_nothing_is_safe_it_slows_down_or_leaves_and_says_so():
    blocked = drawn((11.0, 1, 15.0), (0.0, 0, 20.0), (1.0, 2, 20.0), speed=25.0)
    judged, verdict = judging().step(np.int32(FASTER), blocked)
    assert not judged.safe.any() and verdict.overridden and verdict.action == SLOWER
    opening = drawn((11.0, 1, 15.0), (0.0, 0, 20.0), (60.0, 2, 19.0), speed=25.0)
    assert judging().step(np.int32(FASTER), opening)[1].action == RIGHT


def test_what_is_done_is_the_choice_where_it_is_safe_whoever_is_around():
    """Random scenes: in bounds, the choice or another, a safe one wherever there is one."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        cars = [(rng.uniform(-80, 120), rng.integers(3), rng.uniform(14, 26)) for _ in range(12)]
        chosen = np.int32(rng.integers(5))
        own = {"speed": rng.uniform(20, 30), "lane": int(rng.integers(3))}
        judged, verdict = judging().step(chosen, drawn(*cars, **own))
        assert 0 <= verdict.action < 5 and verdict.overridden == (verdict.action != chosen)
        assert judged.safe[verdict.action] == judged.safe.any()
        if judged.safe[chosen] or not judged.safe.any():
            assert verdict.action == (chosen if judged.safe[chosen] else judged.refuge)


# ------------------------------------------------------------------------------------------- driving


@pytest.mark.long
@pytest.mark.cc
def test_a_learner_drives_behind_it_with_the_same_bits_as_the_interpreter():
    from examples.highway.training import Wheel, program
    from seiche.learn.rl import gym

    class Kept(Wheel):
        def step(self, *told):
            kept.append((told, super().step(*told)))
            return kept[-1][1]

    kept: list = []
    gym.train(Kept(program("stream_q", True, seed=1, steps=60)), road(), 60, seed=1)
    from examples.highway.drivers import drive

    again = sc.compile(drive, driver="stream_q", seed=1, steps=60)
    assert all(same_bits(again.step(*told).action, said) for told, said in kept)


@pytest.mark.long
@pytest.mark.cc
def test_any_choice_behind_it_seldom_crashes():
    """Bare, nineteen in twenty random drives end in a crash."""
    from examples.highway.training import Pilot, trial

    road()
    came = trial(Pilot("random"), episodes=30)
    assert came.crashes <= 0.1 and came.returns > 20 and 0.1 < came.overrides < 0.6


@pytest.mark.long
@pytest.mark.cc
def test_a_course_is_trained_and_tried():
    from examples.highway.training import course, simulators_own

    road()
    came = course("stream_q", True, 0, 60, 1)
    assert came["cpu_s"] > came["driver_cpu_s"] > 0 and came["peak_mb"] > 20
    assert 0 < came["returns"] <= 30 and came["struct_bytes"] < 80_000
    assert 15 < simulators_own(2)["returns"] <= 30
