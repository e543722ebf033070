"""GRU(64), one step of gradient descent through T ticks: ours on XLA beside `lax.scan` and `jax.grad` written by hand."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from bench.measure import Entry, Job, contest, ratio

INPUTS, HIDDEN, RATE = 16, 64, 1e-3


def data(ticks: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(ticks, INPUTS)).astype("float32"), rng.normal(
        size=(ticks, HIDDEN)
    ).astype("float32")


def program(ticks: int, target: str) -> Any:
    """The node: parameters are a state, a tick is a whole sequence."""
    import seiche as sc
    from seiche import f32, learn, node, state

    gru = learn.GRU(INPUTS, HIDDEN)

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        h = sc.over_time(lambda x: gru(w, x))(xs)
        return ((h - ys) ** 2).mean()

    @node
    def learner(xs: f32[ticks, INPUTS], ys: f32[ticks, HIDDEN]) -> f32:
        w = state(gru.init(key=0))
        value, dw = sc.value_and_grad(loss)(w, xs, ys)
        w.next = {k: w[k] - RATE * dw[k] for k in dw}
        return value

    return sc.compile(learner, target=target)


def peer(ticks: int, hoist: bool = False) -> Any:
    """The same in JAX: the plain cell under scan; with `hoist`, the products of the inputs before the scan."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    from seiche import learn

    w = learn.GRU(INPUTS, HIDDEN).init(key=0)

    def cell(w: Any, h: Any, given: Any) -> Any:
        n = HIDDEN
        carried = h @ w["recurrent"] + w["recurrent_bias"]
        gates = jax.nn.sigmoid(given[: 2 * n] + carried[: 2 * n])
        candidate = jnp.tanh(given[2 * n :] + gates[:n] * carried[2 * n :])
        z = gates[n:]
        h = (1 - z) * candidate + z * h
        return h, h

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            return cell(w, h, x if hoist else x @ w["input"] + w["bias"])

        start = xs @ w["input"] + w["bias"] if hoist else xs
        _, hs = lax.scan(step, jnp.zeros(HIDDEN), start)
        return ((hs - ys) ** 2).mean()

    def update(w: Any, xs: Any, ys: Any) -> Any:
        value, dw = jax.value_and_grad(loss)(w, xs, ys)
        return {k: w[k] - RATE * dw[k] for k in w}, value

    return jax.jit(update, donate_argnums=0), {k: jnp.asarray(v) for k, v in w.items()}


def ours(ticks: int) -> Job:
    import time

    xs, ys = data(ticks)
    began = time.perf_counter()
    step = program(ticks, "xla")
    front = time.perf_counter() - began
    began = time.perf_counter()
    first = step.step(xs, ys)
    seconds = time.perf_counter() - began

    def run(n: int) -> None:
        for _ in range(n):
            step.step(xs, ys)

    fn, w = peer(ticks)
    error = abs(float(first) - float(fn(w, xs, ys)[1]))
    return Job(run, error, {"front_s": front, "jit_s": seconds})


def theirs(ticks: int, hoist: bool) -> Job:
    import time

    xs, ys = data(ticks)
    fn, w = peer(ticks, hoist)
    began = time.perf_counter()
    w, _ = fn(w, xs, ys)
    seconds = time.perf_counter() - began
    held = [w]

    def run(n: int) -> None:
        for _ in range(n):
            held[0], value = fn(held[0], xs, ys)
            np.asarray(value)

    return Job(run, 0.0, {"jit_s": seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, nargs="*", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    for ticks in options.ticks:
        entries = [
            Entry("seiche", ours, (ticks,)),
            Entry("jax", theirs, (ticks, False)),
            Entry("jax, inputs hoisted", theirs, (ticks, True)),
        ]
        times = contest(entries, options.rounds)
        for t in times.values():
            print(ticks, t.summary())
        for other in ("jax", "jax, inputs hoisted"):
            print(f"T={ticks}: seiche / {other} = {ratio(times['seiche'], times[other])}")


if __name__ == "__main__":
    main()
