"""The latency-controlled bidirectional layer: an independent loop over segments and chunks; gradients; where the input ends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche import f32, learn
from tests.agreement import same_bits
from tests.learning import TARGETS, close, jittered
from tests.test_learn_sequences import gru_cell, lstm_cell

INPUTS, HIDDEN = 2, 3
SHAPES = [(4, 3), (3, 5), (1, 2), (5, 0)]
each_shape = pytest.mark.parametrize(("chunk", "context"), SHAPES)


def layer_of(chunk: int, context: int) -> learn.Bidirectional:
    return learn.Bidirectional(
        learn.GRU(INPUTS, HIDDEN), learn.LSTM(INPUTS, HIDDEN), chunk=chunk, context=context
    )


def loops(n: Any, w: Any, xs: Any, until: Any, chunk: int, context: int) -> Any:
    """Segments one after the other: all of it forward, and each chunk backward from its context."""
    made: list[Any] = []
    zero = n.zeros(HIDDEN, xs.dtype)
    opens = [0, *(t + 1 for t in range(len(xs)) if until[t]), len(xs)]
    for start, stop in pairwise(opens):
        h, past = zero, []
        for t in range(start, stop):
            h = gru_cell(n, w["forward"], h, xs[t])
            past.append(h)
        future = {}
        for first in range(start, stop, chunk):
            memory = (zero, zero)
            for t in reversed(range(first, min(first + chunk + context, stop))):
                memory = lstm_cell(n, w["backward"], memory, xs[t])
                if t < first + chunk:
                    future[t] = memory[0]
        made += [n.concatenate([past[t - start], future[t]]) for t in range(start, stop)]
    return n.stack(made)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("target", TARGETS)
@each_shape
def test_a_stream_with_segments(target: Any, chunk: int, context: int) -> None:
    layer = layer_of(chunk, context)
    w = jittered(layer.init(3))

    @sc.node
    def model(x: f32[INPUTS], until: sc.bool_) -> f32[2 * HIDDEN]:
        return layer(w, x, until=until)

    xs, until = normal(23, INPUTS), np.random.default_rng(1).random(23) < 0.15
    program = sc.compile(model, target=target)
    assert program.latency == chunk + max(context, 1) - 1
    close(program.run(xs, until), loops(np, w, xs, until, chunk, context), 1e-5)
    assert until.any() and not until[-1]


@each_shape
@pytest.mark.parametrize("ticks", [1, 6, 15])
def test_in_space_is_in_time(chunk: int, context: int, ticks: int) -> None:
    layer = layer_of(chunk, context)
    w = jittered(layer.init(5))

    @sc.node
    def in_time(x: f32[INPUTS]) -> f32[2 * HIDDEN]:
        return layer(w, x)

    @sc.node
    def in_space(xs: f32[ticks, INPUTS]) -> f32[ticks, 2 * HIDDEN]:
        return layer.in_space(w, xs)

    xs = normal(ticks, INPUTS)
    assert same_bits(sc.compile(in_time).run(xs), sc.compile(in_space).step(xs))


def test_gradients_are_those_of_the_loops() -> None:
    import jax
    import jax.numpy as jnp

    layer, ticks = layer_of(4, 3), 11
    w, xs = jittered(layer.init(7)), normal(ticks, INPUTS)
    weight = normal(ticks, 2 * HIDDEN)

    @sc.node
    def slopes(xs: f32[ticks, INPUTS]):
        return sc.grad(lambda w, xs: (layer.in_space(w, xs) * weight).sum(), argnums=(0, 1))(
            sc.map_tree(sc.constant, w), xs
        )

    none = np.zeros(ticks, bool)
    wanted = jax.grad(lambda w, xs: (loops(jnp, w, xs, none, 4, 3) * weight).sum(), (0, 1))(w, xs)
    for a, b in zip(
        jax.tree.leaves(sc.compile(slopes).step(xs)), jax.tree.leaves(wanted), strict=True
    ):
        close(a, b, 1e-4)


def test_what_lies_beyond_the_context_is_not_seen() -> None:
    layer = layer_of(4, 3)

    @sc.node
    def model(x: f32[INPUTS]) -> f32[2 * HIDDEN]:
        return layer(layer.init(0), x)

    xs = normal(16, INPUTS)
    later = xs.copy()
    later[7] += 1
    first, second = (sc.compile(model).run(x) for x in (xs, later))
    assert same_bits(first[:4], second[:4]), "tick 7 is beyond the context of the chunk 0 to 3"
    later = xs.copy()
    later[6] += 1
    assert not same_bits(first[:4], sc.compile(model).run(later)[:4]), "tick 6 is within"


@pytest.mark.parametrize(("chunk", "context"), [(0, 2), (4, -1), (2.5, 1), (4, True)])
def test_a_look_ahead_that_is_none(chunk: Any, context: Any) -> None:
    with pytest.raises(sc.SeicheError) as raised:
        layer_of(chunk, context)
    (found,) = raised.value.diagnostics
    assert found.code == "SE601" and found.where.file == __file__
