"""A recognizer's acoustic model on a stream of mel frames: a stack of causal convolutions before a GRU, one frame per step.

conv k5 40→64, two of k3 64→64, each scaled and shifted by channel as a batch norm is when it no longer learns, then rectified; a
GRU 64→64. 62,656 weights, 61,952 products per frame. With more channels the same stack leaves the caches that are near.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cells import gru
from bench.portable import Graph, Node, Portable
from bench.workloads import Array, ByHand, Parameters, Rows, relative

MELS = 40
TICKS = 64
"""Inputs that take turns: one block."""


@dataclass(frozen=True)
class Frontend:
    """The model as a workload: convolutions with these windows and `channels`, a GRU of `hidden`."""

    windows: tuple[int, ...]
    channels: int
    hidden: int
    ticks: int = TICKS

    @property
    def title(self) -> str:
        return f"{len(self.windows)} convolutions of {self.channels}, GRU({self.hidden})"

    @property
    def inputs(self) -> tuple[int, ...]:
        """Channels that come into each convolution."""
        return (MELS, *(self.channels for _ in self.windows[1:]))

    @property
    def products(self) -> int:
        """Multiplications of a tick that belong to matrix products."""
        n, h = self.channels, self.hidden
        stack = sum(w * m * n for w, m in zip(self.windows, self.inputs))
        return stack + (n + h) * 3 * h

    def parameters(self) -> Parameters:
        """Weights `[window, in, out]`, and of the GRU as its layer has them; nothing is zero."""
        rng, n = np.random.default_rng(7), self.channels
        p: Parameters = {}
        for k, (window, inputs) in enumerate(zip(self.windows, self.inputs)):
            reach = np.sqrt(6 / (window * inputs))
            p[f"weight{k}"] = reach * rng.uniform(-1, 1, (window, inputs, n))
            p[f"bias{k}"] = 0.1 * rng.normal(size=n)
            p[f"scale{k}"] = rng.uniform(0.5, 1.5, n)
            p[f"shift{k}"] = 0.1 * rng.normal(size=n)
        for name, m in (("input", n), ("recurrent", self.hidden)):
            p[name] = rng.normal(size=(m, 3 * self.hidden)) / np.sqrt(m)
        for name in ("bias", "recurrent_bias"):
            p[name] = 0.1 * rng.normal(size=3 * self.hidden)
        return {name: x.astype(np.float32) for name, x in p.items()}

    def rows(self) -> Rows:
        rng = np.random.default_rng(8)
        return [(x,) for x in rng.normal(size=(self.ticks, MELS)).astype(np.float32)]

    def reference(self) -> Array:
        """[ticks, hidden] in float64, from zero."""
        p = {name: x.astype(np.float64) for name, x in self.parameters().items()}
        state, hidden = [np.zeros(shape) for shape in self.memories()], []
        for (x,) in self.rows():
            state, h = listen(np, p, state, x.astype(np.float64))
            hidden.append(h)
        return np.stack(hidden)

    def error(self, outputs: Any) -> float:
        return relative(np.reshape(outputs, (-1, self.hidden)), self.reference())

    def memories(self) -> list[tuple[int, ...]]:
        """Shapes of what is carried: past rows of every window, and the hidden value."""
        return [*((w - 1, m) for w, m in zip(self.windows, self.inputs)), (self.hidden,)]

    def node(self) -> Any:
        """Of layers of `seiche.learn`."""
        import seiche as sc
        from seiche import learn

        p, n = self.parameters(), self.channels
        layers = [learn.Conv1D(m, n, w) for w, m in zip(self.windows, self.inputs)]
        cell = learn.GRU(n, self.hidden)

        def model(x: Any) -> Any:
            for k, layer in enumerate(layers):
                y = layer({"weight": p[f"weight{k}"], "bias": p[f"bias{k}"]}, x)
                x = sc.relu(y * p[f"scale{k}"] + p[f"shift{k}"])
            names = ("input", "recurrent", "bias", "recurrent_bias")
            return cell({name: p[name] for name in names}, x)

        model.__annotations__ = {"x": sc.f32[MELS], "return": sc.f32[self.hidden]}
        return sc.node(model)

    def jax(self) -> tuple[Any, Any]:
        """(one step on (state, *inputs), the state to begin with)."""
        import jax
        import jax.numpy as jnp

        p = {name: jnp.asarray(x) for name, x in self.parameters().items()}
        start = [jnp.zeros(shape) for shape in self.memories()]
        return lambda state, x: listen(jnp, p, state, x, jax.nn.sigmoid), start

    def portable(self, g: Graph) -> Portable:
        """With scales and shifts in the weights, where a converter puts them, and a window of one frame as a product."""
        p, n = self.parameters(), self.channels
        x = g.input("x", (1, 1, MELS))
        olds = [g.input(f"old{k}", (1, *shape)) for k, shape in enumerate(self.memories()[:-1])]
        h = g.input("h", (1, self.hidden))
        news: dict[str, Node] = {}
        a = x
        for k, (window, inputs) in enumerate(zip(self.windows, self.inputs)):
            rows = g.concat([olds[k], g.reshape(a, (1, 1, inputs))], 1)
            news[f"old{k}"] = g.slice(rows, 1, 1, window)
            weight = p[f"weight{k}"].reshape(-1, n) * p[f"scale{k}"]
            bias = p[f"bias{k}"] * p[f"scale{k}"] + p[f"shift{k}"]
            a = g.relu(g.dense(g.reshape(rows, (1, window * inputs)), weight, bias))
        h_next = self._cell(g, a, h)
        return Portable(("x",), {**news, "h": h_next}, h_next)

    def _cell(self, g: Graph, x: Node, h: Node) -> Node:
        p, n = self.parameters(), self.hidden
        given = g.dense(x, p["input"], p["bias"])
        carried = g.dense(h, p["recurrent"], p["recurrent_bias"])

        def part(v: Node, start: int, stop: int) -> Node:
            return g.slice(v, 1, start * n, stop * n)

        gates = g.sigmoid(g.add(part(given, 0, 2), part(carried, 0, 2)))
        new = g.tanh(g.add(part(given, 2, 3), g.mul(part(gates, 0, 1), part(carried, 2, 3))))
        return g.add(new, g.mul(part(gates, 1, 2), g.sub(h, new)))

    def given(self, row: tuple[Array, ...]) -> tuple[Array, ...]:
        return (row[0].reshape(1, 1, MELS),)

    def by_hand(self) -> dict[str, ByHand]:
        return {}

    def trained(self) -> Parameters:
        return {}

    def weights_bytes(self) -> int:
        return sum(x.nbytes for x in self.parameters().values())


def listen(xp: Any, p: Any, state: list[Any], x: Any, sigmoid: Any = None) -> tuple[list[Any], Any]:
    """(the next state, the hidden value); `xp` is numpy or jax.numpy."""
    after: list[Any] = []
    for k, old in enumerate(state[:-1]):
        rows = xp.concatenate([old, x[None]])
        after.append(rows[1:])
        y = xp.einsum("ki,kio->o", rows, p[f"weight{k}"]) + p[f"bias{k}"]
        x = xp.maximum(y * p[f"scale{k}"] + p[f"shift{k}"], 0)
    h = gru(xp, p, state[-1], x, sigmoid)
    return [*after, h], h
