"""Distributions of actions: what the numbers that a policy's network says mean."""

from __future__ import annotations

from dataclasses import dataclass
from math import e, log, pi
from typing import Any, Protocol

import numpy as np

from seiche.lang import functions as f
from seiche.lang import random
from seiche.lang.stream import Stream, Tensor


class Policy(Protocol):
    """A family of distributions, by the numbers that a network says: `[*, parameters]`."""

    @property
    def parameters(self) -> int:
        """How many numbers the network says."""
        ...

    @property
    def nothing(self) -> Any:
        """An action that was never taken: where a state of an action starts."""
        ...

    def sample(self, key: Tensor, said: Stream) -> Stream:
        """An action."""
        ...

    def likeliest(self, said: Stream) -> Stream:
        """The action of the highest probability (density)."""
        ...

    def log_probability(self, said: Stream, action: Stream) -> Stream:
        """The logarithm of the probability (density) of that action: `[*]`."""
        ...

    def entropy(self, said: Stream) -> Stream:
        """How undecided: `[*]`, in nats."""
        ...


@dataclass(frozen=True)
class Categorical:
    """One of `actions` choices (i32), by their logits `[*, actions]`.

    >>> import seiche as sc
    >>> @sc.node
    ... def doubt(said: sc.f32[2]) -> sc.f32:
    ...     return sc.learn.rl.Categorical(2).entropy(said)
    >>> round(float(sc.compile(doubt).step([0.0, 0.0])), 3)
    0.693
    """

    actions: int

    @property
    def parameters(self) -> int:
        """A logit per action."""
        return self.actions

    @property
    def nothing(self) -> Any:
        """The first one."""
        return np.int32(0)

    def sample(self, key: Tensor, said: Stream) -> Stream:
        """An action by chance."""
        return random.categorical(key, said)

    def likeliest(self, said: Stream) -> Stream:
        """The action of the highest logit."""
        return f.argmax(said)

    def log_probability(self, said: Stream, action: Stream) -> Stream:
        """The logarithm of the probability of that action."""
        chosen = f.one_hot(action, self.actions)
        return f.sum(f.log_softmax(said) * chosen, -1)

    def entropy(self, said: Stream) -> Stream:
        """-Σ p log p."""
        logs = f.log_softmax(said)
        return -f.sum(f.exp(logs) * logs, -1)


@dataclass(frozen=True)
class Gaussian:
    """`actions` independent reals, by means and softplus⁻¹ of standard deviations: `[*, 2 actions]`.

    >>> import seiche as sc
    >>> @sc.node
    ... def density(said: sc.f32[2], action: sc.f32[1]) -> sc.f32:
    ...     return sc.learn.rl.Gaussian(1).log_probability(said, action)
    >>> round(float(sc.compile(density).step([0.0, 0.5413], [0.0])), 3)
    -0.919
    """

    actions: int

    @property
    def parameters(self) -> int:
        """A mean and a spread per action."""
        return 2 * self.actions

    @property
    def nothing(self) -> Any:
        """Zeros."""
        return np.zeros(self.actions, np.float32)

    def likeliest(self, said: Stream) -> Stream:
        """The mean."""
        return said[..., : self.actions]

    def spread(self, said: Stream) -> Stream:
        """The standard deviations."""
        return f.softplus(said[..., self.actions :])

    def sample(self, key: Tensor, said: Stream) -> Stream:
        """An action by chance."""
        mean = self.likeliest(said)
        return mean + self.spread(said) * random.normal(key, mean.shape)

    def log_probability(self, said: Stream, action: Stream) -> Stream:
        """The logarithm of the density at that action."""
        spread = self.spread(said)
        off = (action - self.likeliest(said)) / spread
        return f.sum(-0.5 * f.square(off) - f.log(spread) - 0.5 * log(2 * pi), -1)

    def entropy(self, said: Stream) -> Stream:
        """Σ log (σ sqrt(2 π e))."""
        return f.sum(f.log(self.spread(said)) + 0.5 * log(2 * pi * e), -1)
