"""The digits learner on XLA beside the same training written by hand in JAX: per row of an image, in microseconds.

By hand: `lax.scan` over whole images; test, then train both models by Adam, at a fixed rate and without the automaton.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from bench.measure import Entry, Job, contest, ratio
from examples.digits.data import ROWS, stream
from examples.digits.learner import digits, start

RATE, BETA1, BETA2, EPSILON = 0.003, 0.9, 0.999, 1e-8


def ours(images: int) -> Job:
    import seiche as sc

    data = stream(images, 0)
    began = time.perf_counter()
    program = sc.compile(digits, seed=0, target="xla")
    front = time.perf_counter() - began
    began = time.perf_counter()
    program.run(data.rows, data.labels)
    seconds = time.perf_counter() - began

    def run(n: int) -> None:
        for _ in range(n):
            program.run(data.rows, data.labels)

    return Job(run, 0.0, {"front_s": front, "jit_s": seconds})


def theirs(images: int) -> Job:
    import jax
    import jax.numpy as jnp
    from jax import lax

    def answers(w: Any, image: Any) -> tuple[Any, Any]:
        g, n = w["gru"], 32

        def cell(h: Any, x: Any) -> tuple[Any, None]:
            given, carried = x @ g["input"] + g["bias"], h @ g["recurrent"] + g["recurrent_bias"]
            gates = jax.nn.sigmoid(given[: 2 * n] + carried[: 2 * n])
            candidate = jnp.tanh(given[2 * n :] + gates[:n] * carried[2 * n :])
            return (1 - gates[n:]) * candidate + gates[n:] * h, None

        h, _ = lax.scan(cell, jnp.zeros(n), image)
        x = image.reshape(64)
        layers = jax.tree.leaves(w["mlp"], is_leaf=lambda v: isinstance(v, dict) and "weight" in v)
        for k, layer in enumerate(layers):
            x = x @ layer["weight"] + layer["bias"]
            x = jnp.tanh(x) if k + 1 < len(layers) else x
        return h @ w["readout"]["weight"] + w["readout"]["bias"], x

    def loss(w: Any, image: Any, label: Any) -> tuple[Any, Any]:
        said = answers(w, image)
        return -sum(jax.nn.log_softmax(s)[label] for s in said), said

    def one(carry: Any, here: Any) -> tuple[Any, Any]:
        w, m, v, t = carry
        image, label = here
        (_, said), dw = jax.value_and_grad(loss, has_aux=True)(w, image, label)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, dw)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, dw)
        scale = RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
        w = jax.tree.map(lambda w, m, v: w - scale * m / (jnp.sqrt(v) + EPSILON), w, m, v)
        return (w, m, v, t), [s.argmax() == label for s in said]

    data = stream(images, 0)
    fn = jax.jit(lambda carry, xs: lax.scan(one, carry, xs), donate_argnums=0)
    w = jax.tree.map(jnp.asarray, start(0))
    zeros = jax.tree.map(jnp.zeros_like, w)
    held = [(w, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0))]
    xs = (data.rows.reshape(-1, ROWS, 8), data.labels[::ROWS])
    right: list[Any] = []

    def run(n: int) -> None:
        for _ in range(n):
            held[0], right[:] = fn(held[0], xs)
            np.asarray(right[0])

    began = time.perf_counter()
    run(1)
    seconds = time.perf_counter() - began
    return Job(run, 0.0, {"jit_s": seconds, "right": float(np.mean(right[0]))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    entries = [Entry("seiche", ours, (options.images,)), Entry("jax", theirs, (options.images,))]
    times = contest(entries, options.rounds)
    for t in times.values():
        print(t.summary(), "us per row:", 1e6 * t.median / options.images / ROWS)
    print("seiche / jax =", ratio(times["seiche"], times["jax"]))


if __name__ == "__main__":
    main()
