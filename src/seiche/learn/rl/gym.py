"""Gymnasium on both sides: learners of this language in its environments, worlds of this language as its environments.

The one module that imports Gymnasium (the extra `rl`); it is not imported by `seiche.learn.rl`. Environments of other packages
are Gymnasium's too: `gymnasium.make("highway_env:highway-fast-v0")` imports the package that has them (the extra `worlds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, repeat
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


Environment = gymnasium.Env[Any, Any]


@dataclass
class Episodes:
    """What came of an agent in an environment: of the episodes that ended, in the order of their ends.

    Their returns and lengths (actions), and what the environment said besides at their last step (`info`).
    """

    returns: list[float] = field(default_factory=list[float])
    lengths: list[int] = field(default_factory=list[int])
    infos: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], compare=False)

    def share(self, fact: str, last: int = 0) -> float | None:
        """In which part of the (last so many) episodes the last step said that so it is; None where it says no such thing.

        >>> Episodes(infos=[{"crashed": True}, {"crashed": False}]).share("crashed")
        0.5
        """
        said = [bool(info[fact]) for info in self.infos[-last:] if fact in info]
        return float(np.mean(said)) if said else None


def sizes(env: Environment) -> tuple[int, int, bool]:
    """`(observations, actions, whether actions are continuous)`: what an agent for this environment is made with.

    Observations of any shape are told as one vector. TypeError for spaces that are not supported, which says why.

    >>> import gymnasium
    >>> sizes(gymnasium.make("CartPole-v1")), sizes(gymnasium.make("Pendulum-v1"))
    ((4, 2, False), (3, 1, True))
    """
    observation, action = env.observation_space, env.action_space
    if not isinstance(observation, spaces.Box):
        hint = "gymnasium.wrappers.FlattenObservation makes one of parts, goals and choices"
        raise TypeError(f"observations must be an array of reals (Box), not {observation}; {hint}")
    observations = int(np.prod(observation.shape))
    if isinstance(action, spaces.Discrete):
        return observations, int(action.n), False
    reals = isinstance(action, spaces.Box) and np.issubdtype(action.dtype, np.floating)
    shape = action.shape or ()
    if not reals or len(shape) != 1:
        why = "one choice (Discrete) or a vector of reals (Box of one dimension)"
        hint = "a wrapper must make one of them, such as a Discrete of all combinations"
        raise TypeError(f"actions must be {why}, not {action}; {hint}")
    return observations, shape[0], True


def learner(
    agent: Callable[..., Any], observations: int, instances: int | None = None
) -> NodeFunction:
    """The node of an agent alone: experience in, its action out, for `sc.compile`.

    With `instances`, the agent acts for that many environments side by side (`PPO`): all have a first length of `instances`.

    >>> import seiche as sc
    >>> agent = sc.learn.rl.StreamQ(observations=4, actions=2)
    >>> list(learner(agent, 4).annotations)
    ['observation', 'reward', 'terminated', 'truncated']
    """

    def act(observation: Any, reward: Any, terminated: Any, truncated: Any) -> Stream:
        return agent(observation, reward, terminated, truncated).action

    side = () if instances is None else (instances,)
    shapes = {"observation": (*side, observations), "reward": side}
    act.__annotations__ = {n: f32[shape] if shape else f32 for n, shape in shapes.items()}
    for name in ("terminated", "truncated"):
        act.__annotations__[name] = bool_[side] if side else bool_
    return node(act)


def scaled(action: Any, space: spaces.Space[Any]) -> Any:
    """An agent's action as an environment takes it.

    TypeError where an agent that chooses says it to an environment that takes reals, or the reverse; ValueError where it is not
    finite, is no choice of the environment's, or has another shape. A choice counts from the first of the environment's. A real of -1 to 1 (clipped to that) becomes one of its bounds; where
    a bound is missing, it is taken as it is, but for the other bound.

    >>> scaled(np.int32(2), spaces.Discrete(3, start=5))
    7
    >>> scaled(np.float32([0.5, -9.0]), spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 1.0]))).tolist()
    [1.0, 0.0]
    """
    reals = np.asarray(action).dtype.kind == "f"
    if isinstance(space, spaces.Discrete) == reals:
        agent = "says reals" if reals else "chooses one of several"
        raise TypeError(
            f"an agent that {agent} was made for another environment: this takes {space}"
        )
    if np.shape(action) != space.shape:
        raise ValueError(f"an action {np.shape(action)} was said, where {space} is taken")
    if isinstance(space, spaces.Discrete):
        if not 0 <= int(action) < space.n:
            raise ValueError(
                f"the agent chose {int(action)}, counted from 0: there is only {space}"
            )
        return int(action) + int(space.start)
    assert isinstance(space, spaces.Box)
    if not np.isfinite(action).all():
        raise ValueError(f"the agent's action is not finite: {action}")
    low, high = space.low, space.high
    bounded = np.isfinite(low) & np.isfinite(high)
    base, wide = np.where(bounded, low, -1.0), np.where(bounded, high - low, 2.0)
    inside = base + (np.clip(action, -1.0, 1.0) + 1.0) / 2.0 * wide
    action = np.where(bounded, inside, action)
    return np.clip(action, low, high).astype(space.dtype)


def train(
    program: Stepped,
    env: Environment | Sequence[Environment],
    steps: int,
    seed: int | None = None,
    watch: Callable[[int, Episodes], None] | None = None,
) -> Episodes:
    """So many decisions in an environment by a compiled `learner`, which learns as it goes; its state is kept.

    With a sequence of environments, they go side by side, seeded one after the other. Continuous actions are scaled
    (`scaled`). An episode's last observation is told to the learner too, which answers; that answer is not used. After the last
    decision the episode is cut (truncated), so that a further call goes on rightly. `watch` is called after each tick, with
    the decisions so far. ValueError where an observation, a reward or an action is not finite.
    """
    done = Episodes()
    envs = [env] if isinstance(env, gymnasium.Env) else list(env)
    seeds = [None if seed is None else seed + k for k in range(len(envs))]
    seats = [_Seat(e, chain([s], repeat(None)), done) for e, s in zip(envs, seeds)]
    alone, taken = isinstance(env, gymnasium.Env), 0
    while taken < steps:
        actions = program.step(*_told(seats, alone))
        taken += sum(seat.carry(a) for seat, a in zip(seats, [actions] if alone else actions))
        if watch is not None:
            watch(taken, done)
    for seat in seats:
        seat.truncated = not seat.terminated
    program.step(*_told(seats, alone))
    return done


def trial(program: Stepped, env: Environment, episodes: int, seed: int = 0) -> Episodes:
    """So many episodes of an environment under a compiled `learner`, whose seeds are `seed`, `seed + 1` and so on.

    Whether it learns meanwhile is the agent's own matter: `learns=False` of `StreamQ`.
    """
    seat = _Seat(env, count(seed), Episodes())
    while len(seat.done.returns) < episodes:
        seat.carry(program.step(*_told([seat], alone=True)))
    program.step(*_told([seat], alone=True))
    return seat.done


@dataclass
class _Seat:
    """An environment, and what it says now, in the order of `Experience`."""

    env: Environment
    seeds: Iterator[int | None]
    done: Episodes

    def __post_init__(self) -> None:
        self._open()

    def _open(self) -> None:
        observation, _ = self.env.reset(seed=next(self.seeds))
        self._sees(observation, 0.0)
        self.terminated = self.truncated = False
        self.total, self.length = 0.0, 0

    def _sees(self, observation: Any, reward: Any) -> None:
        """Keeps what is told to the learner."""
        self.observation = np.asarray(observation, np.float32).reshape(-1)
        self.reward = float(reward)
        if not (np.isfinite(self.observation).all() and np.isfinite(self.reward)):
            raise ValueError(f"{self.env} says what is not finite: {observation}, reward {reward}")

    def carry(self, action: Any) -> int:
        """Carries an action out, or opens the next episode after an end; how many decisions that was."""
        if self.terminated or self.truncated:
            self._open()
            return 0
        action = scaled(action, self.env.action_space)
        observation, reward, self.terminated, self.truncated, info = self.env.step(action)
        self._sees(observation, reward)
        self.total, self.length = self.total + self.reward, self.length + 1
        if self.terminated or self.truncated:
            self.done.returns.append(self.total)
            self.done.lengths.append(self.length)
            self.done.infos.append(info)
        return 1

    def said(self) -> tuple[Array, Array, Array, Array]:
        """As the learner takes it."""
        ends = np.array(self.terminated, bool), np.array(self.truncated, bool)
        return self.observation, np.array(self.reward, np.float32), *ends


def _told(seats: Sequence[_Seat], alone: bool) -> Iterable[Array]:
    """What one environment says, or several, beside each other."""
    said = [seat.said() for seat in seats]
    return said[0] if alone else [np.stack(each) for each in zip(*said)]


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
        """Carries an action out: `(observation, reward, terminated, truncated, {})`.

        ValueError where it is none: no choice of `action_space`, or not finite. ResetNeeded before the first `reset`.
        """
        discrete = isinstance(self.action_space, spaces.Discrete)
        if not (self.action_space.contains(action) if discrete else np.isfinite(action).all()):
            raise ValueError(f"{action} is no action of {self.action_space}")
        if not self._episode:
            raise gymnasium.error.ResetNeeded("reset() comes before the first step()")
        given = np.asarray(action, np.int32 if discrete else np.float32)
        observation, reward, terminated, truncated = self._tick(given)
        return observation, float(reward), bool(terminated), bool(truncated), {}

    def _tick(self, action: Array) -> Any:
        return self.program.step(action, self._key)

    def _idle(self) -> Array:
        """What the first tick of an episode ignores."""
        discrete = isinstance(self.action_space, spaces.Discrete)
        return np.zeros(self.action_space.shape or (), np.int32 if discrete else np.float32)
