"""Windows of the past move on in their own memory; a matrix that is updated and multiplied takes one sweep. Bits stay."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from seiche import learn
from seiche.backends.c.printer import print_c
from seiche.ir.core import Node
from seiche.schedule.tidy import read
from seiche.timespace.blocks import to_space
from tests.machines import agree, machine_of, scratch, stores


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def traced(model, **types) -> Node:
    model.__annotations__ = types
    return sc.node(model).trace().node


def depthwise(window: int, channels: int = 8, dilation: int = 1) -> Node:
    layer = learn.depthwise(channels, window, dilation=dilation)

    def model(x, again):
        y = layer(layer.init(key=1), x, reset=again)
        return y, sc.relu(y)

    types = (sc.f32[channels], sc.f32[channels])
    return traced(model, x=sc.f32[channels], again=sc.bool_, **{"return": types})


@pytest.mark.cc
@pytest.mark.parametrize(
    ("window", "dilation"), [(2, 1), (9, 1), (3, 2), (3, 5), (16, 1), (17, 1), (20, 3)]
)
def test_a_convolution_in_time_has_the_interpreters_bits(window: int, dilation: int) -> None:
    agree(depthwise(window, dilation=dilation), ticks=3 * window * dilation)


@pytest.mark.parametrize("window", [2, 9, 16])
def test_a_window_whose_rows_are_known_is_not_copied(window: int) -> None:
    assert max(scratch(depthwise(window)).values(), default=0) <= 8


def separable(channels: int = 8) -> Node:
    """A depthwise convolution and a pointwise one, a rectifier after each."""
    depth, point = learn.depthwise(channels, 9), learn.pointwise(channels, channels)

    def model(x):
        y = sc.relu(depth(depth.init(key=1), x))
        return sc.relu(point(point.init(key=2), y))

    types = {"x": sc.f32[channels], "return": sc.f32[channels]}
    return traced(model, **types)


@pytest.mark.cc
def test_readers_of_the_sum_of_a_depthwise_convolution_change_no_bit() -> None:
    agree(separable(), ticks=30)
    agree(to_space(separable(), 16), ticks=3)


def test_readers_of_the_sum_of_a_depthwise_convolution_are_computed_where_it_is_stored() -> None:
    """What is left is the rectified row that the next product reads."""
    assert list(scratch(separable()).values()) == [8]


@pytest.mark.cc
def test_patches_of_a_block_are_read_where_they_lie() -> None:
    """Term k of the patch at row r is k elements after the start of that row: no division, no copy."""
    layer = learn.Conv1D(24, 32, window=5)
    node = traced(lambda x: layer(layer.init(key=2), x), x=sc.f32[24], **{"return": sc.f32[32]})
    block = to_space(node, 16)
    text = print_c(machine_of(block).machine).source
    assert " / 24" not in text and " % 24" not in text
    assert max(scratch(block).values()) == (16 + 4) * 24
    agree(block, ticks=3)


def test_a_block_keeps_one_bias_for_all_rows() -> None:
    layer = learn.Conv1D(8, 8, window=3)
    node = traced(lambda x: sc.relu(layer(layer.init(key=2), x)) * np.ones(8, np.float32), x=sc.f32[8], **{"return": sc.f32[8]})  # fmt: skip
    tick, block = (machine_of(n).plan.weights_bytes for n in (node, to_space(node, 16)))
    assert tick == block


def test_a_window_that_a_product_runs_through_is_kept_beside_its_memory() -> None:
    layer = learn.Conv1D(5, 4, window=3)
    node = traced(lambda x: layer(layer.init(key=2), x), x=sc.f32[5], **{"return": sc.f32[4]})
    assert max(scratch(node).values()) == 3 * 5


@pytest.mark.cc
def test_many_channels_share_a_product() -> None:
    layer = learn.Conv1D(5, 4, window=3, dilation=2)
    node = traced(lambda x: layer(layer.init(key=2), x), x=sc.f32[5], **{"return": sc.f32[4]})
    agree(node, ticks=15)


@pytest.mark.cc
@pytest.mark.parametrize("new", [1, 2, 3])
def test_scalars_and_several_new_rows_at_once(new: int) -> None:
    def model(x):
        past = sc.state(sc.zeros(7))
        rows = sc.concatenate([past, x, 2.0 * x, past[:2] * x[0]][: new + 1])
        past.next = rows[2 * new :]
        return rows[3] + rows[0] * rows[-1], past.next.sum()

    agree(traced(model, x=sc.f32[2], **{"return": (sc.f32, sc.f32)}), ticks=20)


@pytest.mark.cc
def test_new_rows_that_read_the_window_are_made_before_it_moves() -> None:
    def model(x):
        past = sc.state(sc.zeros((4, 3)))
        made = sc.tanh(past[0] * x + past[3])
        past.next = sc.concatenate([past, sc.expand_dims(made, 0)])[1:]
        return made

    agree(traced(model, x=sc.f32[3], **{"return": sc.f32[3]}), ticks=12)


@pytest.mark.cc
def test_windows_side_by_side_along_the_last_axis() -> None:
    def model(x):
        past = sc.state(sc.zeros((3, 4)))
        rows = sc.concatenate([past, sc.expand_dims(x, 1)], 1)
        past.next = rows[:, 1:]
        return rows[:, 0] + rows[:, 2] * x

    node = traced(model, x=sc.f32[3], **{"return": sc.f32[3]})
    agree(node, ticks=12)


@pytest.mark.cc
def test_a_window_inside_a_scan() -> None:
    layer = learn.depthwise(6, 4)
    node = traced(
        lambda xs: sc.over_time(lambda x: layer(layer.init(key=3), x))(xs),
        xs=sc.f32[9, 6], **{"return": sc.f32[9, 6]},
    )  # fmt: skip
    agree(node, ticks=3)


# One sweep.


def retimed(inputs: int, outputs: int) -> Node:
    """Online descent whose update waits as two factors for the next tick."""

    def model(x, target):
        w, seen, slope = (
            sc.state(v) for v in (random(inputs, outputs), sc.zeros(inputs), sc.zeros(outputs))
        )
        w.next = w - sc.expand_dims(seen, 1) * slope
        y = x @ w.next
        seen.next, slope.next = x, 0.1 * (y - target)
        return y

    types = {"x": sc.f32[inputs], "target": sc.f32[outputs], "return": sc.f32[outputs]}
    return traced(model, **types)


@pytest.mark.cc
@pytest.mark.parametrize("sizes", [(16, 8), (19, 5), (3, 2), (8, 1), (40, 128)])
def test_a_retimed_update_has_the_interpreters_bits(sizes: tuple[int, int]) -> None:
    agree(retimed(*sizes), ticks=6)


def test_a_retimed_update_sweeps_once_over_its_weights() -> None:
    machine = machine_of(retimed(40, 128)).machine
    large = next(b for b in machine.state if b.type.shape == (40, 128))
    sweeps = [s for s in machine.step if large in read([s])]
    assert sweeps and all(large in stores([s]) for s in sweeps)


@pytest.mark.cc
def test_what_else_reads_the_matrix_comes_after_it() -> None:
    def model(x):
        w, a = sc.state(random(9, 4)), sc.state(random(9, seed=1))
        w.next = 0.5 * w + sc.expand_dims(a, 1)
        a.next = (w.next @ sc.ones(4)) * x
        return x @ w.next, w.next.max(), w.sum()

    agree(traced(model, x=sc.f32[9], **{"return": (sc.f32[4], sc.f32, sc.f32)}), ticks=6)


@pytest.mark.cc
def test_a_row_that_replaces_a_factor_waits_for_the_matrix() -> None:
    def model(x):
        w, slope = sc.state(random(6, 6)), sc.state(random(6, seed=1))
        w.next = w - sc.expand_dims(x, 1) * slope
        slope.next = x @ w.next
        return slope.next

    agree(traced(model, x=sc.f32[6], **{"return": sc.f32[6]}), ticks=6)


@pytest.mark.cc
def test_what_follows_the_product_may_read_the_matrix_too() -> None:
    def model(x):
        w, a = sc.state(random(6, 6)), sc.state(random(6, seed=1))
        w.next = w - sc.expand_dims(x, 1) * a
        y = sc.tanh(x @ w.next + w.next[5] + a)
        a.next = 0.5 * y
        return y

    agree(traced(model, x=sc.f32[6], **{"return": sc.f32[6]}), ticks=6)
