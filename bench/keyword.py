"""A keyword spotter on a stream of mel frames: causal depthwise-separable convolutions, one frame per step.

conv k3 40→64, four blocks of depthwise k9 and pointwise 64→64, an exponential average, dense 64→12; a rectifier after each
convolution (Zhang et al. 2018, "Hello Edge", streamed as by Rybakov et al. 2020). 27,724 weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.portable import Graph, Node, Portable
from bench.workloads import Array, ByHand, Parameters, Rows, relative

MELS, CHANNELS, CLASSES = 40, 64, 12
FIRST, WINDOW, BLOCKS = 3, 9, 4
RATE = 0.02
TICKS = 64


@dataclass(frozen=True)
class Keyword:
    """The spotter as a workload."""

    ticks: int = TICKS
    title: str = "DS-CNN(40→12)"

    @property
    def products(self) -> int:
        """Multiplications of a tick that belong to convolutions and products."""
        block = CHANNELS * (WINDOW + CHANNELS)
        return FIRST * MELS * CHANNELS + BLOCKS * block + CHANNELS * CLASSES

    def parameters(self) -> Parameters:
        """Weights `[window, in, out]` or `[window, channels]`, biases that are not zero."""
        rng = np.random.default_rng(5)

        def draw(*shape: int, fan: int) -> Array:
            return (rng.uniform(-1, 1, shape) * np.sqrt(3 / fan)).astype(np.float32)

        p = {"first": draw(FIRST, MELS, CHANNELS, fan=FIRST * MELS)}
        for k in range(BLOCKS):
            p[f"depth{k}"] = draw(WINDOW, CHANNELS, fan=WINDOW)
            p[f"point{k}"] = draw(CHANNELS, CHANNELS, fan=CHANNELS)
        p["dense"] = draw(CHANNELS, CLASSES, fan=CHANNELS)
        biases = {f"{name}_bias": 0.1 * rng.normal(size=w.shape[-1]) for name, w in p.items()}
        return {**p, **{name: b.astype(np.float32) for name, b in biases.items()}}

    def rows(self) -> Rows:
        rng = np.random.default_rng(6)
        return [(x,) for x in rng.normal(size=(self.ticks, MELS)).astype(np.float32)]

    def reference(self) -> Array:
        """[ticks, classes] in float64, from zero."""
        p = {name: value.astype(np.float64) for name, value in self.parameters().items()}
        state, scores = [np.zeros(shape) for shape in memories()], []
        for (x,) in self.rows():
            state, y = spot(np, p, state, x.astype(np.float64))
            scores.append(y)
        return np.stack(scores)

    def error(self, outputs: Any) -> float:
        return relative(outputs, self.reference())

    def node(self) -> Any:
        """Of layers of `seiche.learn`."""
        import seiche as sc
        from seiche import learn

        p = self.parameters()
        first = learn.Conv1D(MELS, CHANNELS, FIRST)
        depth, point = learn.depthwise(CHANNELS, WINDOW), learn.pointwise(CHANNELS, CHANNELS)

        def layer(name: str, window: int) -> dict[str, Array]:
            w = p[name]
            return {"weight": w.reshape(window, -1, w.shape[-1]), "bias": p[f"{name}_bias"]}

        def model(x: Any) -> Any:
            a = sc.relu(first(layer("first", FIRST), x))
            for k in range(BLOCKS):
                a = sc.relu(depth(layer(f"depth{k}", WINDOW), a))
                a = sc.relu(point(layer(f"point{k}", 1), a))
            mean = sc.state(sc.zeros(CHANNELS))
            mean.next = mean + RATE * (a - mean)
            return mean.next @ p["dense"] + p["dense_bias"]

        model.__annotations__ = {"x": sc.f32[MELS], "return": sc.f32[CLASSES]}
        return sc.node(model)

    def jax(self) -> tuple[Any, Any]:
        """(one step on (state, *inputs), the state to begin with)."""
        import jax.numpy as jnp

        p = {name: jnp.asarray(value) for name, value in self.parameters().items()}
        start = [jnp.zeros(shape) for shape in memories()]
        return lambda state, x: spot(jnp, p, state, x), start

    def portable(self, g: Graph) -> Portable:
        """With the convolutions that runtimes have, over windows of their length."""
        p = self.parameters()
        x = g.input("x", (1, 1, MELS))
        olds = [g.input(f"old{k}", (1, *shape)) for k, shape in enumerate(memories()[:-1])]
        mean = g.input("mean", (1, CHANNELS))
        news: list[Node] = []

        def window(k: int, row: Node) -> Node:
            rows = g.concat([olds[k], row], 1)
            news.append(g.slice(rows, 1, 1, rows.shape[1]))
            return rows

        flat = g.reshape(window(0, x), (1, FIRST * MELS))
        a = g.relu(g.dense(flat, p["first"].reshape(-1, CHANNELS), p["first_bias"]))
        for k in range(BLOCKS):
            rows = window(k + 1, g.reshape(a, (1, 1, CHANNELS)))
            d = g.relu(g.depthwise(rows, p[f"depth{k}"], p[f"depth{k}_bias"]))
            a = g.relu(g.dense(d, p[f"point{k}"], p[f"point{k}_bias"]))
        after = g.add(mean, g.mul(g.sub(a, mean), g.constant(np.float32([RATE]))))
        y = g.dense(after, p["dense"], p["dense_bias"])
        return Portable(("x",), {"mean": after, **{f"old{k}": n for k, n in enumerate(news)}}, y)

    def given(self, row: tuple[Array, ...]) -> tuple[Array, ...]:
        return (row[0].reshape(1, 1, MELS),)

    def by_hand(self) -> dict[str, ByHand]:
        p = self.parameters()
        return {"": ByHand("dscnn", ("dscnn.c",), list(p.values()), CLASSES)}

    def trained(self) -> Parameters:
        return {}

    def weights_bytes(self) -> int:
        return sum(x.nbytes for x in self.parameters().values())


def memories() -> list[tuple[int, ...]]:
    """Shapes of what is carried: past rows of every window, and the average."""
    return [(FIRST - 1, MELS), *[(WINDOW - 1, CHANNELS)] * BLOCKS, (CHANNELS,)]


def spot(xp: Any, p: Any, state: list[Any], x: Any) -> tuple[list[Any], Any]:
    """(the next state, the scores); `xp` is numpy or jax.numpy."""
    after: list[Any] = []

    def rows(old: Any, row: Any) -> Any:
        every = xp.concatenate([old, row[None]])
        after.append(every[1:])
        return every

    def relu(v: Any) -> Any:
        return xp.maximum(v, 0)

    flat = rows(state[0], x).reshape(-1)
    a = relu(flat @ p["first"].reshape(-1, CHANNELS) + p["first_bias"])
    for k in range(BLOCKS):
        d = relu((rows(state[k + 1], a) * p[f"depth{k}"]).sum(0) + p[f"depth{k}_bias"])
        a = relu(d @ p[f"point{k}"] + p[f"point{k}_bias"])
    mean = state[-1] + RATE * (a - state[-1])
    return [*after, mean], mean @ p["dense"] + p["dense_bias"]
