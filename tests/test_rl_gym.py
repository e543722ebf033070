"""Gymnasium on both sides: our learners in its environments, our worlds as its environments."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import seiche as sc
from examples.worlds import cart_pole, memory_chain, pendulum
from seiche.learn import rl

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete  # noqa: E402
from gymnasium.utils.env_checker import check_env  # noqa: E402

from seiche.learn.rl import gym  # noqa: E402

KEY = sc.random.key(4)
ANY = Box(-np.inf, np.inf, (4,), np.float32)


def actions(world, ticks):
    rng = np.random.default_rng(0)
    if world is pendulum.pendulum:
        return rng.normal(scale=2.0, size=(ticks, 1)).astype(np.float32)
    return rng.integers(0, 2, ticks).astype(np.int32)


@pytest.mark.parametrize(
    ("world", "name"), [(cart_pole.cart_pole, "CartPole-v1"), (pendulum.pendulum, "Pendulum-v1")]
)
def test_worlds_are_those_of_gymnasium(world, name):
    """The same starts and actions give the same course, up to f32."""
    given = actions(world, 450)
    keys = np.tile(KEY, (450, 1))
    # The action of a tick is told to the world at the next.
    told = np.concatenate([np.zeros_like(given[:1]), given[:-1]])
    now = sc.compile(world, target="c").run(told, keys)
    env = gymnasium.make(name).unwrapped
    env.reset(seed=0)
    opens = np.concatenate([[True], (now.terminated | now.truncated)[:-1]])
    assert opens.sum() > 2
    late = 200 if world is pendulum.pendulum else 500
    age = 0
    for t in range(450):
        if opens[t]:
            env.state = start(name, now.observation[t])
            env.steps_beyond_terminated = None
            age = 0
            continue
        age += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action = given[t - 1] if name.startswith("Pend") else int(given[t - 1])
            observation, reward, terminated, _, _ = env.step(action)
        # The starts are f32, and the pendulum's angle is known by its sine and cosine: errors grow with time.
        tolerance = 1e-4 if name.startswith("Cart") else 2e-2
        np.testing.assert_allclose(now.observation[t], observation, atol=tolerance)
        np.testing.assert_allclose(now.reward[t], reward, atol=10 * tolerance)
        assert now.terminated[t] == terminated and now.truncated[t] == (age == late)


def start(name, observation):
    if name.startswith("Cart"):
        return np.float64(observation)
    cos, sin, turn = np.float64(observation)
    return np.array([np.arctan2(sin, cos), turn])


@pytest.mark.parametrize(
    ("world", "observations", "space"),
    [
        (cart_pole.cart_pole, 4, Discrete(2)),
        (memory_chain.memory_chain, 3, Discrete(2)),
        (pendulum.pendulum, 3, Box(-2.0, 2.0, (1,), np.float32)),
    ],
)
def test_worlds_are_environments(world, observations, space):
    box = Box(-np.inf, np.inf, (observations,), np.float32)
    env = gym.World(sc.compile(world), box, space)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(infinity|spec|render|normalized).*")
        check_env(env, skip_render_check=True)


def course(env, ticks=60):
    """What an environment shows from seed 5 on, under alternating pushes."""
    shown = [env.reset(seed=5)[0]]
    for t in range(ticks):
        observation, _, terminated, truncated, _ = env.step(t // 3 % 2)
        shown.append(observation)
        if terminated or truncated:
            shown.append(env.reset()[0])
    return np.array(shown)


def test_a_seed_fixes_all_episodes_and_none_is_like_another():
    env = gym.World(sc.compile(cart_pole.cart_pole, target="c"), ANY, Discrete(2))
    np.testing.assert_array_equal(course(env), course(env))
    starts = {tuple(env.reset()[0]) for _ in range(5)}
    assert len(starts) == 5


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_a_learner_learns_in_gymnasium_as_it_goes(name):
    env = gymnasium.make(name)
    observations, count, continuous = gym.sizes(env)
    agent = (
        rl.StreamAC(observations, count, continuous=True, hidden=8)
        if continuous
        else rl.StreamQ(observations, count, hidden=8)
    )
    program, again = (sc.compile(gym.learner(agent, observations), target="c") for _ in range(2))
    fresh = dict(program.state)
    first = gym.train(program, env, 450, seed=1)
    assert first == gym.train(again, gymnasium.make(name), 450, seed=1), "seeded runs repeat"
    assert len(first.returns) >= 2 and sum(first.lengths) <= 450
    assert any((fresh[n] != v).any() for n, v in program.state.items() if "/weights/" in n)
    # Every episode ends with a tick of its own, on which nothing more is done; the last one is cut.
    assert program.ticks == 450 + len(first.returns) + (sum(first.lengths) < 450)


def test_episodes_are_told_apart():
    """In a world of the same length each time, the learner hears of every end, and of every start."""
    heard = []

    class Listener:
        def step(self, observation, reward, terminated, truncated):
            heard.append((float(reward), bool(terminated), bool(truncated)))
            return np.int32(1)

    env = gym.World(
        sc.compile(memory_chain.memory_chain), Box(-1, 1, (3,), np.float32), Discrete(2)
    )
    done = gym.train(Listener(), env, 27, seed=2)
    assert done.lengths == [9, 9, 9]
    assert [h[1] for h in heard] == ([False] * 9 + [True]) * 3
    assert [h[0] for h in heard if h[1]] == done.returns
    assert {abs(r) for r in done.returns} == {1.0}


class Listener:
    """An agent that always says the same, and keeps what it is told."""

    def __init__(self, action):
        self.action, self.heard = action, []

    def step(self, *told):
        self.heard.append(told)
        return self.action

    def heard_of(self, k):
        return np.array([told[k] for told in self.heard])


class Toy(gymnasium.Env):
    """Observes a matrix; ends after three actions, by the clock if `late`."""

    def __init__(self, action_space, late=True, reward=1.0):
        self.observation_space = Box(-np.inf, np.inf, (2, 3), np.float64)
        self.action_space, self.late, self.reward, self.given = action_space, late, reward, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age, self.first = 0, self.np_random.uniform()
        return np.full((2, 3), self.first), {}

    def step(self, action):
        self.given.append(action)
        self.age += 1
        ended = self.age == 3
        said = np.arange(6.0).reshape(2, 3) + self.age
        return said, self.reward, ended and not self.late, ended and self.late, {"crashed": ended}


@pytest.mark.parametrize("late", [False, True])
def test_ends_and_truncations_are_told_and_the_last_episode_is_cut(late):
    agent, env = Listener(np.int32(1)), Toy(Discrete(2, start=5), late)
    done = gym.train(agent, env, 7, seed=0)
    ends = [False] * 3 + [True]
    assert agent.heard_of(3 if late else 2).tolist() == [*ends, *ends, False, late]
    assert agent.heard_of(2 if late else 3).tolist() == [False] * 9 + [not late]
    assert agent.heard_of(1).tolist() == [0, 1, 1, 1, 0, 1, 1, 1, 0, 1]
    np.testing.assert_array_equal(agent.heard[1][0], np.float32([1, 2, 3, 4, 5, 6]))
    assert env.given == [6] * 7 and done.lengths == [3, 3] and done.share("crashed") == 1.0
    assert done.share("crashed", last=1) == 1.0 and done.share("won") is None


def test_several_environments_go_side_by_side():
    agent, envs = Listener(np.int32([0, 1])), [Toy(Discrete(2)), Toy(Discrete(2))]
    envs[1].step = lambda action: (np.zeros((2, 3)), 2.0, True, False, {})
    done = gym.train(agent, envs, 8, seed=0)
    assert agent.heard_of(0).shape[1:] == (2, 6) and agent.heard_of(1).shape[1:] == (2,)
    assert agent.heard_of(2)[:, 1].tolist() == [False, True] * 3 + [False]
    assert agent.heard_of(3)[:, 0].tolist() == [False, False, False, True, False, False, True]
    assert done.returns == [2.0, 3.0, 2.0, 2.0] and set(envs[0].given) == {0}
    firsts = agent.heard[0][0][:, 0]
    alone = [np.float32(Toy(Discrete(2)).reset(seed=k)[0][0, 0]) for k in (0, 1)]
    np.testing.assert_array_equal(firsts, alone)


def test_the_episodes_of_a_trial_are_seeded_one_by_one():
    agents = [Listener(np.int32(0)) for _ in range(2)]
    assert gym.trial(agents[0], Toy(Discrete(2)), 3, seed=4).returns == [3.0] * 3
    gym.trial(agents[1], Toy(Discrete(2)), 1, seed=6)
    assert [len(a.heard) for a in agents] == [12, 4]
    np.testing.assert_array_equal(agents[0].heard_of(0)[8:], agents[1].heard_of(0))
    assert not np.array_equal(agents[0].heard[0][0], agents[0].heard[4][0])


def test_actions_are_scaled_to_the_bounds():
    bounds = Box(np.float32([-0.1, 0, -np.inf, -np.inf]), np.float32([0.3, 9, 3, np.inf]))
    for given, carried in [(-7, [-0.1, 0, -7, -7]), (0, [0.1, 4.5, 0, 0]), (7, [0.3, 9, 3, 7])]:
        said = gym.scaled(np.full(4, given, np.float32), bounds)
        np.testing.assert_allclose(said, carried, rtol=1e-6)
        assert bounds.contains(said)
    env = Toy(Box(-2, 2, (1,), np.float32))
    gym.train(Listener(np.float32([0.5])), env, 2)
    assert np.array(env.given).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stops_the_training(bad):
    with pytest.raises(ValueError, match=r"(?s)not finite: .* reward (nan|inf)"):
        gym.train(Listener(np.int32(0)), Toy(Discrete(2), reward=bad), 5)
    with pytest.raises(ValueError, match="action is not finite"):
        gym.train(Listener(np.float32([bad])), Toy(Box(-1, 1, (1,), np.float32)), 5)


REALS = Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("said", "space", "error", "why"),
    [
        (np.int32(0), REALS, TypeError, "chooses one of several"),
        (np.float32([0.5]), Discrete(2), TypeError, "says reals"),
        (np.int32(2), Discrete(2), ValueError, "chose 2, counted from 0"),
        (np.int32(-1), Discrete(2, start=5), ValueError, "chose -1"),
        (np.float32([0.5]), REALS, ValueError, r"\(1,\) was said"),
        (np.int32([0, 1]), Discrete(2), ValueError, r"\(2,\) was said"),
    ],
)
def test_an_agent_of_another_environment_is_refused(said, space, error, why):
    with pytest.raises(error, match=f"{why}.*{type(space).__name__}"):
        gym.train(Listener(said), Toy(space), 5)


def test_a_world_refuses_what_is_no_action():
    env = gym.World(sc.compile(cart_pole.cart_pole), ANY, Discrete(2))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(1)
    env.reset(seed=0)
    for bad in (2, -1, 0.5, np.nan, np.int64([0, 1])):
        with pytest.raises(ValueError, match="no action of Discrete"):
            env.step(bad)
    assert env.step(1)[1] == env.step(np.int64(0))[1] == 1.0
    env = gym.World(sc.compile(pendulum.pendulum), ANY, Box(-1, 1, (1,), np.float32))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no action of Box"):
        env.step(np.float32([np.nan]))


@pytest.mark.parametrize(
    "space",
    [
        {"observation": Discrete(3)},
        {"observation": Dict(observation=ANY, achieved_goal=ANY, desired_goal=ANY)},
        {"action": Box(-1, 1, (2, 2), np.float32)},
        {"action": Box(0, 5, (2,), np.int32)},
        {"action": MultiDiscrete([2, 3])},
        {"action": MultiBinary(3)},
    ],
)
def test_what_does_not_fit_is_said(space):
    env = gymnasium.make("CartPole-v1")
    for side, found in space.items():
        setattr(env, f"{side}_space", found)
    with pytest.raises(TypeError, match=rf"(?s){next(iter(space))}s must be .*, not .*; .*make"):
        gym.sizes(env)


def test_parts_can_be_flattened_as_the_message_says():
    env = Toy(Discrete(2))
    env.observation_space = Dict(a=Box(-1, 1, (2,), np.float32), b=Discrete(3))
    assert gym.sizes(gymnasium.wrappers.FlattenObservation(env)) == (5, 2, False)
