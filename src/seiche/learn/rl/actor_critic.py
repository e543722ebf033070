"""Networks that say what to do and what it is worth, with or without memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from seiche.lang import functions as f
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.dense import Dense
from seiche.learn.gru import GRU
from seiche.learn.layer import Params, Seed
from seiche.learn.mlp import MLP
from seiche.learn.ranges import COUNT, check
from seiche.numbers.random import Key


class Judgement(NamedTuple):
    """The numbers of a policy `[n, parameters]`, the value `[n]`, and what is remembered at the next tick."""

    said: Stream
    value: Stream
    memory: Any


class ActorCritic(Protocol):
    """A network over n instances side by side; its memory is a tree, passed and given back."""

    def init(self, key: Seed = 0) -> Params:
        """Fresh weights."""
        ...

    def memory(self, n: int) -> Any:
        """What n instances remember at first: a tree of arrays `[n, ...]`, zero."""
        ...

    def step(self, params: Params, memory: Any, x: Stream, opens: Stream) -> Judgement:
        """One tick; `opens [n]` says where an episode begins, so that nothing is remembered."""
        ...


@dataclass(frozen=True)
class Feedforward:
    """Two perceptrons of two hidden layers, one for the policy and one for the value; it remembers nothing.

    >>> import seiche as sc
    >>> sorted(sc.learn.rl.Feedforward(4, 2).init(key=0))
    ['policy', 'value']
    """

    inputs: int
    parameters: int
    hidden: int = 64

    def __post_init__(self) -> None:
        check(
            "Feedforward", vars(self), inputs=COUNT, parameters=COUNT, hidden=COUNT,
        )  # fmt: skip

    @cached_property
    def nets(self) -> dict[str, MLP]:
        """The policy's and the value's."""
        sizes = (self.inputs, self.hidden, self.hidden)
        made = {"policy": self.parameters, "value": 1}
        return {name: MLP((*sizes, outputs), activation=f.tanh) for name, outputs in made.items()}

    def init(self, key: Seed = 0) -> Params:
        """Fresh weights; the policy's last ones are small, so that at first all actions are about equally likely."""
        keys = Key.of(key).split(2)
        fresh = {name: net.init(k) for (name, net), k in zip(self.nets.items(), keys)}
        *below, last = fresh["policy"]
        calm = {**last, "weight": last["weight"] * np.float32(0.01)}
        return {**fresh, "policy": (*below, calm)}

    def memory(self, n: int) -> Any:
        """Nothing."""
        return ()

    def step(self, params: Params, memory: Any, x: Stream, opens: Stream) -> Judgement:
        """The perceptrons at x `[*, n, inputs]`."""
        said, value = (net(params[name], x) for name, net in self.nets.items())
        return Judgement(said, value[..., 0], memory)


@dataclass(frozen=True)
class Recurrent:
    """A gated recurrent unit, and an affine layer each for policy and value.

    What the unit holds fades at first over spans of 2 to `longest` ticks, by the biases of its update gates: log(T - 1), T
    uniform (the chrono initialisation of Tallec & Ollivier 2018). By default that is 2 for all: biases of 0.

    >>> import seiche as sc
    >>> sc.learn.rl.Recurrent(3, 2, hidden=5).memory(4).shape
    (4, 5)
    """

    inputs: int
    parameters: int
    hidden: int = 32
    longest: float = 2.0

    def __post_init__(self) -> None:
        check(
            "Recurrent", vars(self), inputs=COUNT, parameters=COUNT, hidden=COUNT, longest="[2, inf)",
        )  # fmt: skip

    @cached_property
    def layers(self) -> dict[str, Any]:
        """What it is made of."""
        small = initialise.lecun_uniform
        return {
            "gru": GRU(self.inputs, self.hidden),
            "policy": Dense(self.hidden, self.parameters, weight=small),
            "value": Dense(self.hidden, 1, weight=small),
        }

    def init(self, key: Seed = 0) -> Params:
        """Fresh weights."""
        keys = Key.of(key).split(4)
        fresh = {name: layer.init(k) for (name, layer), k in zip(self.layers.items(), keys)}
        spans = initialise.uniform(keys[3], (self.hidden,), low=1.0, high=self.longest - 1.0)
        bias = fresh["gru"]["bias"].copy()
        bias[self.hidden : 2 * self.hidden] = np.log(spans)
        return {**fresh, "gru": {**fresh["gru"], "bias": bias}}

    def memory(self, n: int) -> Any:
        """Zeros."""
        return np.zeros((n, self.hidden), np.float32)

    def step(self, params: Params, memory: Any, x: Stream, opens: Stream) -> Judgement:
        """The unit at x `[n, inputs]`."""
        known = f.where(f.expand_dims(opens, -1), 0.0, memory)
        hidden = self.layers["gru"].step(params["gru"], known, x)
        said = self.layers["policy"](params["policy"], hidden)
        return Judgement(said, self.layers["value"](params["value"], hidden)[..., 0], hidden)
