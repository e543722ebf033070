"""Training where it runs: one step of gradient descent of an MLP 784-128-10 on one labelled image, or on a batch of them.

Relu, softmax, cross entropy; the loss is that before the update. Peers that do not differentiate run gradients derived by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.portable import Graph, Portable
from bench.workloads import Array, ByHand, Parameters, Rows, relative

INPUTS, HIDDEN, CLASSES = 784, 128, 10
RATE = 0.05


@dataclass(frozen=True)
class Perceptron:
    """The training step as a workload. `retimed`: the step applies the update of the tick before while it reads the weights."""

    batch: int
    retimed: bool = False

    @property
    def title(self) -> str:
        return f"MLP 784-128-10 SGD, batch {self.batch}"

    @property
    def ticks(self) -> int:
        """Few enough inputs that they stay in the second-level cache."""
        return 64 if self.batch == 1 else 4

    def parameters(self) -> Parameters:
        rng = np.random.default_rng(7)

        def draw(*shape: int, fan: int) -> Array:
            return (rng.uniform(-1, 1, shape) / np.sqrt(fan)).astype(np.float32)

        return {
            "w1": draw(INPUTS, HIDDEN, fan=INPUTS), "b1": draw(HIDDEN, fan=INPUTS),
            "w2": draw(HIDDEN, CLASSES, fan=HIDDEN), "b2": draw(CLASSES, fan=HIDDEN),
        }  # fmt: skip

    def rows(self) -> Rows:
        """Images in [0, 1) and labels; without a batch axis where there is one image."""
        rng = np.random.default_rng(8)
        images = rng.uniform(size=(self.ticks, self.batch, INPUTS)).astype(np.float32)
        labels = rng.integers(0, CLASSES, (self.ticks, self.batch)).astype(np.int32)
        if self.batch == 1:
            return [(x[0], label[0]) for x, label in zip(images, labels)]
        return list(zip(images, labels))

    def reference(self) -> Array:
        """[ticks] losses in float64."""
        p = {name: value.astype(np.float64) for name, value in self.parameters().items()}
        losses = []
        for x, label in self.rows():
            p, loss = descend(p, np.atleast_2d(x).astype(np.float64), np.atleast_1d(label))
            losses.append(loss)
        return np.array(losses)

    def error(self, outputs: Any) -> float:
        return relative(np.reshape(outputs, -1), self.reference())

    def node(self) -> Any:
        return self._retimed() if self.retimed else self._plain()

    def _types(self) -> dict[str, Any]:
        import seiche as sc

        if self.batch == 1:
            return {"x": sc.f32[INPUTS], "label": sc.i32, "return": sc.f32}
        return {"x": sc.f32[self.batch, INPUTS], "label": sc.i32[self.batch], "return": sc.f32}

    def _plain(self) -> Any:
        import seiche as sc
        from seiche import learn

        mlp, sgd, p = learn.MLP((INPUTS, HIDDEN, CLASSES)), learn.SGD(RATE), self.parameters()
        start = tuple({"weight": p[f"w{k}"], "bias": p[f"b{k}"]} for k in (1, 2))

        def train(x: Any, label: Any) -> Any:
            def loss(w: Any, x: Any, label: Any) -> Any:
                return learn.cross_entropy(mlp(w, x), label)

            w = sc.state(start)
            value, dw = sc.value_and_grad(loss)(w, x, label)
            w.next, _ = sgd.update(dw, sgd.init(start), w)
            return value

        train.__annotations__ = self._types()
        return sc.node(train)

    def _retimed(self) -> Any:
        """The first layer's update waits as its two factors, until the next tick reads these weights anyway."""
        import seiche as sc
        from seiche import learn

        p = self.parameters()

        def train(x: Any, label: Any) -> Any:
            w, seen, slope = (sc.state(v) for v in (p["w1"], sc.zeros(INPUTS), sc.zeros(HIDDEN)))
            w.next = w - sc.expand_dims(seen, 1) * slope

            def loss(h: Any, rest: Any, label: Any) -> Any:
                b1, w2, b2 = rest
                return learn.cross_entropy(sc.relu(h + b1) @ w2 + b2, label)

            rest = sc.state(tuple(p[name] for name in ("b1", "w2", "b2")))
            value, (dh, d) = sc.value_and_grad(loss, (0, 1))(x @ w.next, rest, label)
            rest.next = tuple(a - RATE * b for a, b in zip(rest, d))
            seen.next, slope.next = x, RATE * dh
            return value

        train.__annotations__ = self._types()
        return sc.node(train)

    def jax(self) -> tuple[Any, Any]:
        """(one step on (state, *inputs), the state to begin with)."""
        import jax
        import jax.numpy as jnp

        def loss(p: Any, x: Any, label: Any) -> Any:
            h = jax.nn.relu(x @ p["w1"] + p["b1"])
            logits = jax.nn.log_softmax(h @ p["w2"] + p["b2"])
            return -jnp.take_along_axis(logits, label[..., None], -1).mean()

        def step(p: Any, x: Any, label: Any) -> Any:
            value, d = jax.value_and_grad(loss)(p, x, label)
            return jax.tree.map(lambda a, b: a - RATE * b, p, d), value

        return step, {name: jnp.asarray(value) for name, value in self.parameters().items()}

    def portable(self, g: Graph) -> Portable:
        """The gradient, derived by hand, in forward ops."""
        n, shapes = self.batch, {name: v.shape for name, v in self.parameters().items()}
        x, target = g.input("x", (n, INPUTS)), g.input("target", (n, CLASSES))
        w1, b1, w2, b2 = (g.input(name, shape) for name, shape in shapes.items())
        h = g.relu(g.affine(x, w1, b1))
        p = g.softmax(g.affine(h, w2, b2))
        d = g.mul(g.sub(p, target), g.constant(np.float32([RATE / n])))
        dh = g.mul(g.matmul(d, w2, trans_b=True), g.step(h))
        after = {
            "w1": g.descend(w1, x, dh), "b1": g.sub(b1, g.sum(dh, 0)),
            "w2": g.descend(w2, h, d), "b2": g.sub(b2, g.sum(d, 0)),
        }  # fmt: skip
        picked = g.sum(g.mul(g.log(p), target), 1)
        loss = g.mul(g.sum(picked, 0), g.constant(np.float32([-1 / n])))
        return Portable(("x", "target"), after, loss, self.parameters())

    def given(self, row: tuple[Array, ...]) -> tuple[Array, ...]:
        x, label = row
        target = np.eye(CLASSES, dtype=np.float32)[np.atleast_1d(label)]
        return np.atleast_2d(x), target

    def by_hand(self) -> dict[str, ByHand]:
        p = self.parameters()
        values = [p["w1"], p["b1"], p["w2"].T, np.pad(p["b2"], (0, 16 - CLASSES))]
        if self.batch > 1:
            return {"": ByHand("mlp_batch", ("mlp_batch.c",), values, 1)}
        return {
            "": ByHand("mlp", ("mlp.c",), values, 1),
            "retimed": ByHand("mlp_retimed", ("mlp.c",), values, 1),
        }

    def trained(self) -> Parameters:
        return self.parameters()

    def weights_bytes(self) -> int:
        return sum(x.nbytes for x in self.parameters().values())


def descend(p: dict[str, Array], x: Array, label: Array) -> tuple[dict[str, Array], float]:
    """(the next parameters, the loss before the update), in numpy."""
    n = len(x)
    h = np.maximum(x @ p["w1"] + p["b1"], 0)
    z = h @ p["w2"] + p["b2"]
    z = z - z.max(1, keepdims=True)
    q = np.exp(z)
    q /= q.sum(1, keepdims=True)
    loss = -np.log(q[np.arange(n), label]).mean()
    d = (q - np.eye(q.shape[1])[label]) / n
    dh = d @ p["w2"].T * (h > 0)
    slopes = {"w1": x.T @ dh, "b1": dh.sum(0), "w2": h.T @ d, "b2": d.sum(0)}
    return {name: value - RATE * slopes[name] for name, value in p.items()}, float(loss)
