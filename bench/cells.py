"""The recurrent cells of the timing benches: parameters, a float64 reference, and the same step for every contestant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Parameters = dict[str, Array]
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

    def error(self, hidden: Any) -> float:
        """Largest difference from the reference, relative to its largest value."""
        wanted = self.reference()
        return float(np.abs(np.asarray(hidden, np.float64) - wanted).max() / np.abs(wanted).max())


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
