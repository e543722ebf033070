"""The recurrent cells of the timing benches: parameters, a float64 reference, and the same step for every contestant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.portable import Graph, Node, Portable
from bench.workloads import Array, ByHand, Parameters, Rows, relative

TICKS = 64
"""Inputs that take turns."""


@dataclass(frozen=True)
class Cell:
    """A GRU or an LSTM of these sizes."""

    kind: str
    inputs: int
    hidden: int

    @property
    def gates(self) -> int:
        return 3 if self.kind == "gru" else 4

    @property
    def title(self) -> str:
        return f"{self.kind.upper()}({self.inputs}→{self.hidden})"

    def layer(self) -> Any:
        """The layer of `seiche.learn`."""
        from seiche import learn

        return (learn.GRU if self.kind == "gru" else learn.LSTM)(self.inputs, self.hidden)

    def parameters(self) -> Parameters:
        """Those that the layer starts from, with biases that are not zero."""
        rng = np.random.default_rng(3)
        start: Parameters = self.layer().init(key=0)
        return {
            name: value
            if value.ndim > 1
            else (value + 0.1 * rng.normal(size=value.shape)).astype(np.float32)
            for name, value in start.items()
        }

    def stream(self) -> Array:
        """[TICKS, inputs], f32."""
        rng = np.random.default_rng(4)
        return rng.normal(size=(TICKS, self.inputs)).astype(np.float32)

    def reference(self) -> Array:
        """[TICKS, hidden] in float64, from zero."""
        p = {name: value.astype(np.float64) for name, value in self.parameters().items()}
        h, c = np.zeros(self.hidden), np.zeros(self.hidden)
        rows: list[Array] = []
        for x in self.stream().astype(np.float64):
            h, c = (gru(np, p, h, x), c) if self.kind == "gru" else lstm(np, p, h, c, x)
            rows.append(h)
        return np.stack(rows)

    def error(self, outputs: Any) -> float:
        """Largest difference from the reference, relative to its largest value."""
        return relative(np.reshape(outputs, (TICKS, self.hidden)), self.reference())

    # As a workload.

    @property
    def ticks(self) -> int:
        return TICKS

    @property
    def memories(self) -> tuple[str, ...]:
        """Names of what is carried."""
        return ("h",) if self.kind == "gru" else ("h", "c")

    def rows(self) -> Rows:
        return [(x,) for x in self.stream()]

    def node(self) -> Any:
        """The layer with these parameters as constants."""
        import seiche as sc

        layer, params = self.layer(), self.parameters()

        def model(x: Any) -> Any:
            return layer(params, x)

        model.__annotations__ = {"x": sc.f32[self.inputs], "return": sc.f32[self.hidden]}
        return sc.node(model)

    def jax(self) -> tuple[Any, Any]:
        """(one step on (state, x), the state to begin with)."""
        import jax
        import jax.numpy as jnp

        p = {name: jnp.asarray(value) for name, value in self.parameters().items()}

        def step(state: Any, x: Any) -> Any:
            if self.kind == "gru":
                h = gru(jnp, p, state[0], x, jax.nn.sigmoid)
                return (h,), h
            h, c = lstm(jnp, p, *state, x, jax.nn.sigmoid)
            return (h, c), h

        return step, tuple(jnp.zeros(self.hidden) for _ in self.memories)

    def portable(self, g: Graph) -> Portable:
        """Of dense layers and pointwise ops: what a converter makes of a cell."""
        p, n = self.parameters(), self.hidden
        x = g.input("x", (1, self.inputs))
        states = [g.input(name, (1, n)) for name in self.memories]

        def part(v: Node, k: int) -> Node:
            return g.slice(v, 1, k * n, (k + 1) * n)

        given = g.dense(x, p["input"], p["bias"])
        bias = p.get("recurrent_bias", np.zeros_like(p["bias"]))
        carried = g.dense(states[0], p["recurrent"], bias)
        if self.kind == "gru":
            r, z = (g.sigmoid(g.add(part(given, k), part(carried, k))) for k in (0, 1))
            new = g.tanh(g.add(part(given, 2), g.mul(r, part(carried, 2))))
            h = g.add(new, g.mul(z, g.sub(states[0], new)))
            return Portable(("x",), {"h": h}, h)
        gates = g.add(given, carried)
        i, f, o = (g.sigmoid(part(gates, k)) for k in (0, 1, 3))
        c = g.add(g.mul(f, states[1]), g.mul(i, g.tanh(part(gates, 2))))
        h = g.mul(o, g.tanh(c))
        return Portable(("x",), {"h": h, "c": c}, h)

    def given(self, row: tuple[Array, ...]) -> tuple[Array, ...]:
        return (row[0].reshape(1, -1),)

    def by_hand(self) -> dict[str, ByHand]:
        p = self.parameters()
        names = [x for x in ("input", "recurrent", "bias", "recurrent_bias") if x in p]
        weights = [p[name] for name in names]
        return {"": ByHand(self.kind, (f"{self.kind}.c",), weights, self.hidden)}

    def trained(self) -> Parameters:
        return {}

    def weights_bytes(self) -> int:
        return sum(x.nbytes for x in self.parameters().values())


def _sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def gru(xp: Any, p: Any, h: Any, x: Any, sigmoid: Any = None) -> Any:
    """The next h; `xp` is numpy or jax.numpy."""
    sigmoid = sigmoid or (lambda v: _sigmoid(xp, v))
    n = h.shape[-1]
    given = x @ p["input"] + p["bias"]
    carried = h @ p["recurrent"] + p["recurrent_bias"]
    r = sigmoid(given[:n] + carried[:n])
    z = sigmoid(given[n : 2 * n] + carried[n : 2 * n])
    new = xp.tanh(given[2 * n :] + r * carried[2 * n :])
    return (1 - z) * new + z * h


def lstm(xp: Any, p: Any, h: Any, c: Any, x: Any, sigmoid: Any = None) -> Any:
    """The next (h, c)."""
    sigmoid = sigmoid or (lambda v: _sigmoid(xp, v))
    n = h.shape[-1]
    gates = x @ p["input"] + h @ p["recurrent"] + p["bias"]
    i, f, o = (sigmoid(gates[k * n : (k + 1) * n]) for k in (0, 1, 3))
    c = f * c + i * xp.tanh(gates[2 * n : 3 * n])
    return o * xp.tanh(c), c
