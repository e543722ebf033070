"""Gymnasium on both sides: learners of this language in its environments, worlds of this language as its environments.

The one module that imports Gymnasium (the extra `rl`); it is not imported by `seiche.learn.rl`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from seiche.lang.node import NodeFunction, node
from seiche.lang.stream import Stream
from seiche.learn.layer import Array
from seiche.numbers.formats import bool_, f32
from seiche.numbers.random import Key


class Stepped(Protocol):
    """What `sc.compile` makes: only what is used of it here."""

    def step(self, *args: Any) -> Any:
        """One tick."""
        ...

    def reset(self) -> None:
        """Back to the state before the first tick."""
        ...


@dataclass
class Episodes:
    """What came of an agent in an environment: returns and lengths (actions) of the episodes that ended."""

    returns: list[float] = field(default_factory=list[float])
    lengths: list[int] = field(default_factory=list[int])


def sizes(env: gymnasium.Env[Any, Any]) -> tuple[int, int, bool]:
    """`(observations, actions, whether actions are continuous)`: what an agent for this environment is made with.

    >>> import gymnasium
    >>> sizes(gymnasium.make("CartPole-v1")), sizes(gymnasium.make("Pendulum-v1"))
    ((4, 2, False), (3, 1, True))
    """
    observation, action = env.observation_space, env.action_space
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 1:
        raise TypeError(f"observations must be a vector of reals, not {observation}")
    if isinstance(action, spaces.Discrete):
        return observation.shape[0], int(action.n), False
    if isinstance(action, spaces.Box) and len(action.shape) == 1:
        return observation.shape[0], action.shape[0], True
    raise TypeError(f"actions must be discrete or a vector of reals, not {action}")


def learner(agent: Callable[..., Any], observations: int) -> NodeFunction:
    """The node of an agent alone: experience in, its action out, for `sc.compile`.

    >>> import seiche as sc
    >>> agent = sc.learn.rl.StreamQ(observations=4, actions=2)
    >>> list(learner(agent, 4).annotations)
    ['observation', 'reward', 'terminated', 'truncated']
    """

    def act(observation: Any, reward: Any, terminated: Any, truncated: Any) -> Stream:
        return agent(observation, reward, terminated, truncated).action

    types = {"reward": f32, "terminated": bool_, "truncated": bool_}
    act.__annotations__ = {"observation": f32[(observations,)], **types}
    return node(act)


def train(
    program: Stepped, env: gymnasium.Env[Any, Any], steps: int, seed: int | None = None
) -> Episodes:
    """So many steps of an environment under a compiled `learner`, which learns as it goes; its state is kept.

    Continuous actions are clipped to the environment's bounds. An episode's last observation is told to the learner too,
    which answers; that answer is not used.
    """
    done = Episodes()
    space = env.action_space
    observation, _ = env.reset(seed=seed)
    told = (0.0, False, False)
    total, length = 0.0, 0
    for _ in range(steps):
        action = program.step(np.asarray(observation, np.float32), *_flags(*told))
        observation, reward, terminated, truncated, _ = env.step(_allowed(action, space))
        told = (float(reward), bool(terminated), bool(truncated))
        total, length = total + told[0], length + 1
        if terminated or truncated:
            program.step(np.asarray(observation, np.float32), *_flags(*told))
            done.returns.append(total)
            done.lengths.append(length)
            observation, _ = env.reset()
            told, total, length = (0.0, False, False), 0.0, 0
    return done


def _flags(reward: float, terminated: bool, truncated: bool) -> tuple[Array, Array, Array]:
    return np.array(reward, np.float32), np.array(terminated), np.array(truncated)


def _allowed(action: Any, space: Any) -> Any:
    """An action as the environment takes it."""
    if isinstance(space, spaces.Discrete):
        return int(action) + int(space.start)
    return np.clip(action, space.low, space.high)


class World(gymnasium.Env[Any, Any]):
    """A compiled world (`action, key -> Experience`, see `examples/worlds`) as an environment for other libraries' agents.

    `reset(seed=)` chooses the key; later resets without a seed derive new ones, so that a seed fixes all episodes.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self, program: Stepped, observation_space: spaces.Box, action_space: spaces.Space[Any]
    ) -> None:
        self.program = program
        self.observation_space = observation_space
        self.action_space = action_space
        self._root, self._episode = Key.of(0), 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The first observation of a new episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._root, self._episode = Key.of(seed), 0
        key = self._root.fold_in(self._episode)
        self._episode += 1
        self._key = np.array([key.key0, key.key1], np.uint32)
        self.program.reset()
        return self._tick(self._idle())[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Carries an action out: `(observation, reward, terminated, truncated, {})`."""
        discrete = isinstance(self.action_space, spaces.Discrete)
        given = np.asarray(action, np.int32 if discrete else np.float32)
        observation, reward, terminated, truncated = self._tick(given)
        return observation, float(reward), bool(terminated), bool(truncated), {}

    def _tick(self, action: Array) -> Any:
        return self.program.step(action, self._key)

    def _idle(self) -> Array:
        """What the first tick of an episode ignores."""
        discrete = isinstance(self.action_space, spaces.Discrete)
        return np.zeros(self.action_space.shape or (), np.int32 if discrete else np.float32)
