"""The driving world: physics beside oracles in numpy, what never happens in it, and the same bits in every form."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import seiche as sc
from examples.driving import features, traffic
from examples.driving import world as worlds
from examples.driving.conditions import DRY, RAIN
from examples.driving.road import ARROW_SEEN, LIMITS, SIGN_SEEN
from examples.driving.sensing import REACH, SECTORS
from examples.driving.traffic import CARS, LANES, LENGTH, RING, Cars, Drivers
from examples.driving.world import LONGEST, world
from seiche.ir.tree import flatten
from tests.driving import actions, keys, opens, wild, world_in_c
from tests.learning import in_c

# ------------------------------------------------------------------------------- oracles, in numpy


def idm(v, gap, ahead, desired, headway, of):
    """Treiber, Hennecke & Helbing 2000, eqs. 3-4, one driver at a time."""
    wish = 2.0 + max(
        0.0, v * headway + v * (v - ahead) / (2 * np.sqrt(of.acceleration * of.comfortable))
    )
    pull = of.acceleration * (1 - (v / desired) ** 4 - (wish / max(gap, 0.1)) ** 2)
    return max(pull, -of.grip)


@pytest.mark.parametrize("of", [DRY, RAIN])
def test_drivers_accelerate_as_idm_says(of):
    rng = np.random.default_rng(0)
    n = 200
    v, ahead = rng.uniform(0, 30, (2, n))
    gap = rng.uniform(-1, 200, n)
    desired, headway = rng.uniform(10, 30, n), rng.uniform(1, 2.5, n)

    @sc.node
    def pull(v: sc.f32[n], gap: sc.f32[n], ahead: sc.f32[n], slow: sc.f32[n], t: sc.f32[n]):
        return traffic.idm(v, gap, ahead, Drivers(slow, t), of)

    given = (np.float32(x) for x in (v, gap, ahead, 1 / desired, headway))
    said = sc.compile(pull).step(*given)
    wanted = [idm(*x, of) for x in zip(v, gap, ahead, desired, headway)]
    np.testing.assert_allclose(said, wanted, rtol=1e-4, atol=1e-4)


def test_an_empty_road_is_driven_at_the_desired_speed_and_a_queue_stands_apart():
    @sc.node
    def settle(gap: sc.f32) -> sc.f32:
        v = sc.state(10.0)
        who = Drivers(sc.constant(1 / 20.0), sc.constant(1.5))
        v.next = v + 0.2 * traffic.idm(v, gap, v, who, DRY)
        return v.next

    program = sc.compile(settle)
    assert abs(program.run(np.full(400, 1e6, np.float32))[-1] - 20.0) < 0.05
    program.reset()
    # At rest behind a car: s0 + v T = gap, where v is far below the desired speed.
    assert abs(program.run(np.full(400, 8.0, np.float32))[-1] - (8.0 - 2.0) / 1.5) < 0.1


class Ring:
    """A ring road of cars in numpy: the slow and plain way to look around, and MOBIL (Kesting et al. 2007, eqs. 5-7)."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.lane = rng.integers(0, LANES, CARS + 1)
        self.place = np.append(rng.permutation(np.linspace(-240, 230, CARS)), 0.0)
        self.place += rng.uniform(0, 5, CARS + 1)
        self.speed = rng.uniform(5, 30, CARS + 1)
        self.desired, self.headway = rng.uniform(12, 30, CARS + 1), rng.uniform(1, 2, CARS + 1)

    def cars(self):
        who = Drivers(np.float32(1 / self.desired), np.float32(self.headway))
        return Cars(np.float32(self.place), np.float32(self.speed), np.int32(self.lane), who)

    def around(self, i, lane):
        """`(ahead, metres, behind, metres)`; None where there is nobody else."""
        far = {j: (self.place[j] - self.place[i]) % RING for j in np.flatnonzero(self.lane == lane)}
        others = {j: d for j, d in far.items() if j != i}
        if not others:
            return None, RING, None, RING
        ahead = min(others, key=others.get)
        behind = max(others, key=others.get)
        return ahead, others[ahead], behind, RING - others[behind]

    def pull(self, i, ahead, metres):
        v = self.speed[i] if ahead is None else self.speed[ahead]
        return idm(self.speed[i], metres - LENGTH, v, self.desired[i], self.headway[i], DRY)

    def changes(self, i, side):
        lane = self.lane[i] + side
        if not 0 <= lane < LANES:
            return False
        ahead, metres, behind, back = self.around(i, lane)
        own, own_metres, left, left_back = self.around(i, self.lane[i])
        if min(metres, back) <= LENGTH + 2:
            return False
        gain = self.pull(i, ahead, metres) - self.pull(i, own, own_metres)
        others = 0.0
        if behind is not None:
            forced = self.pull(behind, i, back)
            if forced <= -3.0:
                return False
            others += forced - self.pull(behind, ahead, back + metres)
        if left is not None:
            others += self.pull(left, own, left_back + own_metres) - self.pull(left, i, left_back)
        return gain + 0.2 * others > 0.2


@pytest.mark.parametrize("seed", range(6))
def test_drivers_look_around_and_change_lanes_as_mobil_says(seed):
    ring = Ring(seed)

    @sc.node
    def look(side: sc.i32):
        cars = Cars(*map(sc.constant, ring.cars()[:3]), Drivers(*map(sc.constant, ring.cars().who)))
        me = traffic.chosen(cars, sc.constant(np.arange(CARS, dtype=np.int32)))
        seen = traffic.neighbours(me.place, me.lane, cars)
        return seen, traffic.mobil(me, cars, side, DRY)

    program = sc.compile(look)
    for side in (-1, 1):
        seen, changes = program.step(side)
        for i in range(CARS):
            ahead, metres, behind, back = ring.around(i, ring.lane[i])
            np.testing.assert_allclose([seen.ahead_m[i], seen.behind_m[i]], [metres, back], 1e-4)
            assert ahead is None or (seen.ahead[i], seen.behind[i]) == (ahead, behind)
            # Who is alone in a lane would be his own follower, at once around the ring: that decides nothing but ties.
            if None not in (ahead, ring.around(i, ring.lane[i] + side)[0]):
                assert changes[i] == ring.changes(i, side), (i, side)


def test_the_reward_is_what_the_head_of_the_file_says():
    told = worlds.__doc__ or ""
    for weight in (worlds.PROGRESS, worlds.OVER, worlds.WRONG, worlds.JERK, worlds.CRASH):
        assert f" {weight} " in told
    now = wild()
    k = ~opens(now)
    moved, pull = now.sensors.moved[k], now.sensors.pull
    jerk = np.diff(pull, prepend=0.0)[k]
    wanted = np.minimum(moved / now.road.limit[k], 1.0) - 0.005 * jerk**2
    wanted -= 1.0 * now.over[k] + 15.0 * now.road.wrong[k] + 25.0 * now.terminated[k]
    np.testing.assert_allclose(now.reward[k], wanted, atol=1e-4)
    assert not now.reward[~k].any()


# ------------------------------------------------------------------------------ what never happens


@in_c
@pytest.mark.parametrize("of", [DRY, pytest.param(RAIN, marks=pytest.mark.long)])
def test_no_car_jumps_and_none_drives_through_another(of):
    now = wild(of)
    fresh = opens(now)[1:]
    place, speed, lane = (x[:, :CARS] for x in now.cars[:3])
    ego = now.sensors.moved[1:, None]
    # Where a car is a second later follows from the speeds; a car that leaves at one end of the ring comes in at the other.
    moved = place[1:] + ego - place[:-1]
    expected = 0.5 * (speed[1:] + speed[:-1])
    off = (moved - expected + RING / 2) % RING - RING / 2
    assert np.abs(off[~fresh]).max() < 1.3
    pulls = np.diff(speed, axis=0)[~fresh]
    assert pulls.min() > -of.grip - 1e-3 and pulls.max() < of.acceleration + 1e-3
    assert speed.min() >= 0 and np.abs(place).max() <= RING / 2
    assert np.abs(np.diff(lane, axis=0)[~fresh]).max() == 1 and {0, 1, 2} == set(lane.ravel())


@in_c
def test_whoever_touches_the_learning_car_is_a_crash():
    now = wild()
    same = now.cars.lane[:, :CARS] == now.lane[:, None]
    touching = (same & (np.abs(now.cars.place[:, :CARS]) < LENGTH)).any(1)
    assert not (touching & ~now.terminated).any()
    assert now.terminated.sum() > 20
    assert (now.clear.gap[:, 1][~now.terminated] >= 0).all()


@in_c
def test_episodes_end_in_a_crash_or_after_two_minutes():
    program = world_in_c()
    program.reset()
    braking = program.run(np.full(500, worlds.BRAKE, np.int32), keys(500))
    assert np.flatnonzero(braking.truncated).tolist()[:2] == [LONGEST, 2 * LONGEST + 1]
    assert not (wild().terminated & wild().truncated).any()


@in_c
def test_signs_and_arrows_are_read_within_their_ranges_only():
    now = wild()
    k = ~opens(now)
    said, road = now.sensors, now.road
    before = np.concatenate([[0], road.sign_ahead[:-1]])
    read = np.isfinite(said.sign)
    assert not read[~k].any()
    # The sign that stood ahead a second ago came within reach during the second, and was not behind all along.
    near = (before - said.moved <= SIGN_SEEN) & (before >= 0)
    assert (near | ~read).all()
    assert set(np.unique(said.sign[read])) <= set(np.float32([*LIMITS]))
    np.testing.assert_array_equal(said.sign[read], np.concatenate([[0], road.sign[:-1]])[read])
    # At 5 Hz and 5 % of drop-outs, hardly any sign is missed.
    passed = k & (np.concatenate([[0], road.sign[:-1]]) != 0) & (before - said.moved <= 0)
    runs = [read[max(0, t - 4) : t + 1].any() for t in np.flatnonzero(passed)]
    assert len(runs) > 100 and np.mean(runs) > 0.995
    arrow = np.isfinite(said.arrow)
    inside = (road.junction_ahead >= ARROW_SEEN[0]) & (road.junction_ahead <= ARROW_SEEN[1])
    assert not (arrow & ~inside).any()
    assert 0.92 < arrow[inside].mean() < 0.98
    np.testing.assert_array_equal(said.arrow[arrow] == 1, road.left_only[arrow])


@in_c
def test_the_road_is_drawn_as_it_was_fixed():
    now = wild()
    k = ~opens(now)
    at = now.place + now.road.sign_ahead
    spacing = np.diff(at)[k[1:]]
    spacing = spacing[spacing > 1.0]
    assert spacing.min() >= 299 and spacing.max() <= 901 and 550 < spacing.mean() < 650
    at = now.place + now.road.junction_ahead
    spacing = np.diff(at)[k[1:]]
    spacing = spacing[spacing > 1.0]
    assert spacing.min() >= 599 and spacing.max() <= 1201
    crossed = np.flatnonzero(np.diff(at) > 1.0)
    assert 0.35 < now.road.left_only[crossed].mean() < 0.65
    assert (now.road.limit >= now.road.posted).all(), "behind a sign the higher limit holds"
    # The speed of the others says nothing of the limit.
    others = now.cars.speed[:, :CARS].mean(1)
    assert abs(np.corrcoef(others, now.road.limit)[0, 1]) < 0.2


@in_c
def test_the_radar_is_noisy_and_sometimes_says_nothing():
    now = wild()
    lost = np.isnan(now.sensors.gap)
    assert 0.045 < lost.mean() < 0.055
    noise = (now.sensors.gap - now.clear.gap)[~lost]
    assert abs(noise.std() - DRY.noise_gap) < 0.02 and abs(noise.mean()) < 0.02
    assert now.clear.gap.max() == REACH and now.clear.gap.shape[1] == SECTORS


# ------------------------------------------------------------------------------------- every form


def same(a, b):
    for x, y in zip(flatten(a)[0], flatten(b)[0], strict=True):
        np.testing.assert_array_equal(x, y)


@in_c
def test_the_interpreter_and_c_agree_in_bits():
    """Over the end of an episode: who drives faster and faster crashes soon."""
    ticks = 45
    given = np.full(ticks, worlds.FASTER, np.int32)
    program = world_in_c()
    program.reset()
    now = sc.compile(world).run(given, keys(ticks))
    assert now.terminated[:-5].any()
    same(now, program.run(given, keys(ticks)))


@in_c
@pytest.mark.long
def test_worlds_side_by_side_are_worlds_apart():
    n, ticks = 3, 200
    told = np.stack([k.words for k in sc.Key.of(5).split(n)])
    given = np.stack([actions(ticks, seed) for seed in range(n)], 1)

    @sc.node
    def many(action: sc.i32[n], key: sc.u32[n, 2]):
        return sc.over_space(world, n)(action, key)

    together = sc.compile(many, target="c").run(given, np.tile(told, (ticks, 1, 1)))
    for i in range(n):
        program = world_in_c()
        program.reset()
        alone = program.run(given[:, i], np.tile(told[i], (ticks, 1)))
        same(alone, sc.map_tree(lambda x, i=i: x[:, i], together))


@in_c
@pytest.mark.long
def test_the_world_on_xla_goes_the_same_way():
    """Two episodes of many worlds, to a millimetre, until rounding decides a change of lanes otherwise: which it hardly ever does."""
    pytest.importorskip("jax")
    n, ticks = 16, 2 * (LONGEST + 1)
    told = np.tile(np.stack([k.words for k in sc.Key.of(9).split(n)]), (ticks, 1, 1))
    given = np.stack([actions(ticks, seed) for seed in range(n)], 1)

    @sc.node
    def many(action: sc.i32[n], key: sc.u32[n, 2]):
        now = sc.over_space(world, n)(action, key)
        decided = {"lanes": now.cars.lane, "hit": now.terminated, "sign": now.road.sign}
        metres = {"place": now.place, "gap": now.clear.gap, "speed": now.cars.speed}
        return decided, {**metres, "reward": now.reward}, now.cars.place

    c, xla = (sc.compile(many, target=t).run(given, told) for t in ("c", "xla"))
    other = [(c[0][k] != xla[0][k]).reshape(ticks, n, -1).any(-1) for k in c[0]]
    along = ~np.logical_or.accumulate(np.any(other, axis=0))
    assert along[:25].all() and along[-1].sum() >= 12, along.sum(0)
    off = np.abs(c[2] - xla[2])
    offs = {k: np.abs(c[1][k] - xla[1][k]) for k in c[1]} | {"cars": np.minimum(off, RING - off)}
    for name, apart in offs.items():
        assert apart[along].max() < 1e-3, name
    assert len(np.unique(c[0]["lanes"][:, 0], axis=0)) > 50, "lanes were changed"


@in_c
@pytest.mark.parametrize("latched", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_world_is_an_environment(latched):
    pytest.importorskip("gymnasium")
    from gymnasium.utils.env_checker import check_env

    from examples.driving.environment import environment

    env = environment(latched)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(spec|render).*")
        check_env(env, skip_render_check=True)
    seen, rewards = [env.reset(seed=1)[0]], 0.0
    for action in actions(300):
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        rewards += reward
        if terminated or truncated:
            seen.append(env.reset()[0])
    assert np.isfinite(seen).all() and env.observation_space.contains(seen[-1])
    assert np.abs(seen).max() < 5 and rewards != 0
    assert seen[0].shape == ((features.REMEMBERED if latched else features.SENSED),)
