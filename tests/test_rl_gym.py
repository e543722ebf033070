"""Gymnasium on both sides: our learners in its environments, our worlds as its environments."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import seiche as sc
from examples.worlds import cart_pole, memory_chain, pendulum
from seiche.learn import rl

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.spaces import Box, Discrete  # noqa: E402
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
    # Every episode ends with a tick of its own, on which nothing more is done.
    assert program.ticks == 450 + len(first.returns)


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


@pytest.mark.parametrize(
    "space",
    [{"observation": Discrete(3)}, {"action": Box(-1, 1, (2, 2), np.float32)}],
)
def test_what_does_not_fit_is_said(space):
    env = gymnasium.make("CartPole-v1")
    for side, found in space.items():
        setattr(env, f"{side}_space", found)
    with pytest.raises(TypeError, match=f"{next(iter(space))}s must be"):
        gym.sizes(env)
