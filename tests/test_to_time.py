"""Law 2, folded: a tensor function one row per tick equals the function over its frames, in bits, gradients to tolerance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.program import Sparse
from seiche.check.run import verify
from seiche.errors import SeicheError
from seiche.ir.core import Fby, Merge
from seiche.ir.tree import map_tree
from seiche.lang.stream import apply
from seiche.timespace.fold import Folded, Late, fold
from tests import folds, oracle
from tests.agreement import agree, program_of, same_bits
from tests.lang import reals
from tests.learning import in_c

FRAMES = 3


def c_program(lowered: Any) -> Any:
    from seiche.backends.c.binding import CProgram

    return CProgram(lowered)


def rows_of(values: np.ndarray, late: Late, like: np.ndarray) -> list[np.ndarray]:
    """The frames of a result `[frames, *]` as they leave: one after the other, or row by row along any axis that fits."""
    if late.once:
        return [values]
    found: list[np.ndarray] = []
    for axis in range(1, values.ndim):
        if values.shape[axis] % late.count == 0:
            inner = values.shape[axis] // late.count
            apart = values.reshape(
                *values.shape[:axis], late.count, inner, *values.shape[axis + 1 :]
            )
            rows = np.moveaxis(apart, axis, 1)
            rows = rows.reshape(-1, *rows.shape[2:])
            if rows.size == like.size and (inner == 1 or rows.shape == like.shape):
                found.append(rows.reshape(like.shape))
    return found


def expect_equal(folded: Folded, function: Any, frames: np.ndarray, target: Any = None) -> None:
    """Asserts the law over several frames in a row; what follows the last one is NaN."""
    count, rows, *rest = frames.shape
    after = np.full((folded.latency, *rest), np.nan, frames.dtype)
    program = program_of(folded.node) if target is None else program_of(folded.node, target)
    results = program.run(np.concatenate([frames.reshape(count * rows, *rest), after]))
    wanted = oracle.evaluate(function, [frames])
    for k, (result, (_, values), late) in enumerate(
        zip(results, wanted, folded.results, strict=True)
    ):
        got = result.values if isinstance(result, Sparse) else result
        got = got[: count * late.count]
        if isinstance(result, Sparse):
            first = [
                f * rows + late.first + r * late.every
                for f in range(count)
                for r in range(late.count)
            ]
            assert result.ticks[: len(first)].tolist() == first, (k, late)
        assert any(same_bits(got, w) for w in rows_of(values, late, got)), (
            f"output {k}, {late}:\n{got}\n{values}"
        )


def folded_function(seed: int) -> tuple[Folded, Any, np.ndarray]:
    made, shape = folds.function(seed)
    node = made.trace(sc.f32[shape]).node
    folded = fold(node, (0,), shape[0])
    verify(folded.node)
    return folded, node, reals(seed, FRAMES, *shape)


@pytest.mark.parametrize("block", range(8))
def test_folded_is_whole(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        folded, node, frames = folded_function(seed)
        try:
            expect_equal(folded, node, frames)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None


@in_c
@pytest.mark.parametrize("seed", range(100, 120))
def test_folded_is_whole_in_c(seed: int) -> None:
    folded, node, frames = folded_function(seed)
    expect_equal(folded, node, frames, c_program)


@pytest.mark.parametrize("seed", range(200, 206))
def test_the_folded_node_is_a_program_like_any_other(seed: int) -> None:
    """Lowered, run in parts and tick by tick, it is what the oracle says of the folded node itself."""
    folded, _, frames = folded_function(seed)
    agree(folded.node, [frames.reshape(-1, *frames.shape[2:])])


@pytest.mark.parametrize("seed", range(300, 312))
def test_a_reset_in_mid_frame_begins_a_frame(seed: int) -> None:
    made, shape = folds.function(seed)
    rng = np.random.default_rng(seed)

    @sc.node
    def rows(x, again: sc.bool_):
        return sc.to_time(made, rows=shape[0])(x, reset=again)

    ticks = 4 * shape[0] + 5
    x = reals(seed, ticks, *shape[1:])
    at = int(rng.integers(1, 3 * shape[0] + 1))
    program = sc.compile(rows, sc.f32[shape[1:]])
    cut = program.run(x, np.arange(ticks) == at)
    program.reset()
    before = program.run(x[:at], np.zeros(at, bool))
    program.reset()
    after = program.run(x[at:], np.zeros(ticks - at, bool))
    for whole, first, second in zip(cut, before, after, strict=True):
        assert timed(whole) == timed(first) + timed(second, at)


def timed(result: Any, begin: int = 0) -> list[tuple[int, bytes]]:
    sparse = result if isinstance(result, Sparse) else Sparse(np.arange(len(result)), result)
    return [(int(t) + begin, v.tobytes()) for t, v in zip(sparse.ticks, sparse.values, strict=True)]


# Gradients.


def stack(x: Any, p: Any) -> Any:
    y = sc.relu(sc.conv(x, p["first"], padding="same", strides=(2, 1)) + p["bias"])
    y = y + sc.conv(y, p["second"], padding=[(1, 1), (0, 0)])
    return sc.tanh(y.reshape(-1) @ p["dense"]) + y.mean((0, 1)).sum() + sc.cumsum(y, 0).max(0).sum()


SHAPES = {
    "first": sc.f32[3, 3, 1, 2],
    "bias": sc.f32[2],
    "second": sc.f32[3, 1, 2, 2],
    "dense": sc.f32[4 * 5 * 2, 3],
}


@pytest.mark.parametrize("target", ["interp", pytest.param("c", marks=[pytest.mark.cc])])
def test_gradients_of_the_folded_are_those_of_the_whole(target: str) -> None:
    rows, columns = 8, 5
    late = fold(
        sc.node(stack).trace(sc.f32[rows, columns, 1], SHAPES).node,
        (0, *(None for _ in SHAPES)),
        rows,
    ).latency

    def loss(p: Any, y: Any, made: Callable[[Any], Any]) -> Any:
        return sc.sum(sc.square(made(p) - y))

    @sc.node
    def whole(x: sc.f32[rows, columns, 1], y: sc.f32[3], p: SHAPES):
        return sc.value_and_grad(lambda p: loss(p, y, lambda p: stack(x, p)))(p)

    @sc.node
    def folded(x: sc.f32[rows + late, columns, 1], y: sc.f32[3], p: SHAPES):
        def made(p: Any) -> Any:
            def tick(row: Any) -> Any:
                return sc.hold(sc.to_time(stack, rows=rows)(row, p), 0.0)

            return sc.over_time(tick)(x)[-1]

        return sc.value_and_grad(lambda p: loss(p, y, made))(p)

    assert late == 3
    x, y = reals(1, rows, columns, 1), reals(2, 3)
    p = map_tree(lambda t: reals(t.size, *t.shape) / 2, SHAPES)
    value, gradient = sc.compile(whole, target=target).step(x, y, p)
    longer = np.concatenate([x, np.full((late, columns, 1), 7.0, np.float32)])
    value_too, gradient_too = sc.compile(folded, target=target).step(longer, y, p)
    assert same_bits(value, value_too)
    for name, wanted in gradient.items():
        np.testing.assert_allclose(
            gradient_too[name], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(), err_msg=name
        )


# Memory.


def line_buffers(folded: Folded) -> list[tuple[int, ...]]:
    return sorted(
        eq.out.type.shape
        for eq in folded.node.eqs
        if isinstance(eq.rhs, Fby) and eq.out.name.endswith(".lines")
    )


def folded_of(function: Any, *shape: int) -> Folded:
    return fold(sc.node(function).trace(sc.f32[shape]).node, (0,), shape[0])


def test_a_window_of_three_keeps_two_rows() -> None:
    weight = reals(0, 3, 3, 1, 4)
    folded = folded_of(lambda x: sc.conv(x, weight, padding="same"), 16, 8, 1)
    assert line_buffers(folded) == [(2, 8, 1)] and folded.latency == 1
    dilated = folded_of(
        lambda x: sc.conv(x, weight, dilation=(3, 1), padding=[(6, 0), (1, 1)]), 16, 8, 1
    )
    assert line_buffers(dilated) == [(6, 8, 1)] and dilated.latency == 0


def test_readers_of_one_stream_share_its_line_buffer() -> None:
    three, five = reals(0, 3, 1, 2, 2), reals(1, 5, 1, 2, 2)

    def both(x):
        return sc.conv(x, three, padding="same") + sc.conv(x, five, padding="same") + x

    assert line_buffers(folded_of(both, 16, 8, 2)) == [(1, 8, 2), (4, 8, 2)]


def test_what_passes_row_by_row_keeps_nothing() -> None:
    folded = folded_of(lambda x: sc.softmax(sc.tanh(x) @ np.ones((4, 2), np.float32))[::2], 8, 4)
    assert line_buffers(folded) == [] and not any(
        isinstance(eq.rhs, Merge) for eq in folded.node.eqs
    )


@in_c
def test_plans_are_a_sixth() -> None:
    weights = [reals(i, 3, 3, 4 if i else 1, 4) for i in range(4)]

    @sc.node
    def stack(x: sc.f32[48, 48, 1]):
        for weight in weights:
            x = sc.relu(sc.conv(x, weight, padding="same"))
        return x.mean((0, 1))

    report = sc.fold_report(stack)
    assert (
        report.folded_bytes * 6 <= report.whole_bytes
        and report.saved == report.whole_bytes - report.folded_bytes
    )
    assert report.latency == 4 and [x.when.first for x in report.layers] == [1, 2, 3, 4, 51]
    assert sum(x.state for x in report.layers[:-1]) >= sum(
        2 * 48 * 4 * (4 if i else 1) for i in range(4)
    )
    text = str(report)
    assert "4 ticks after the last row of a frame" in text and "layer 5" in text
    assert report.as_dict()["saved_bytes"] == report.saved


# The surface.


def test_arguments_along_other_axes() -> None:
    @sc.node
    def scores(x: sc.f32[3], y: sc.f32[3], w: sc.f32[3]):
        return sc.to_time(lambda a, b, w: (a * b.T @ w).sum(), rows=4, axis=(0, 1, None))(x, y, w)

    x, y, w = reals(0, 8, 3), reals(1, 8, 3), reals(2, 3)
    got = sc.compile(scores).run(x, y, np.broadcast_to(w, (8, 3)))
    assert got.ticks.tolist() == [3, 7]
    np.testing.assert_allclose(got.values, (x * y @ w).reshape(2, 4).sum(1), rtol=1e-5)


def test_integers_and_small_formats() -> None:
    def counts(x):
        i = (x * 10).to(sc.i8)
        return (
            i.sum(1).sum(0),
            i.max((0, 1)),
            (x > 0).all(0),
            x.to(sc.bf16).sum((0, 1)),
            sc.cumsum(x.to(sc.bf16), 0),
        )

    node = sc.node(counts).trace(sc.f32[20, 7]).node
    expect_equal(fold(node, (0,), 20), node, reals(5, 2, 20, 7))


REFUSED = {
    "sort": lambda x: sc.sort(x, 0),
    "flip": lambda x: x[::-1],
    "cut": lambda x: sc.repeat(x, 2)[1:],
    "padded": lambda x: sc.pad(x, [(2, 2), (0, 0)]),
    "two passes": lambda x: x - x.mean(0),
    "reverse": lambda x: sc.cumsum(x, 0, reverse=True),
    "order of sums": lambda x: sc.swapaxes(x, 0, 1).sum((0, 1)),
    "every pair": lambda x: x @ x.T,
    "state": lambda x: sc.fby(0.0, x),
    "mixed": lambda x: sc.swapaxes(x, 0, 1).reshape(-1),
    "scan": lambda x: sc.over_time(lambda row: row * 2)(x),
    "picked": lambda x: sc.take(x, sc.argmax(x, 0)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_folded_says_which_op_stops_it(name: str) -> None:
    with pytest.raises(SeicheError) as raised:
        folded_of(REFUSED[name], 6, 4)
    (found,) = raised.value.diagnostics
    assert (
        found.code == "SE605"
        and found.why
        and found.where.line > 1
        and found.where.file == __file__
    )


@pytest.mark.parametrize(
    ("rows", "axis", "code"),
    [
        (0, 0, "SE605"),
        (4, 3, "SE202"),
        (4, (0, 1), "SE109"),
        (4, (1.0,), "SE109"),
        (4, "row", "SE109"),
    ],
)
def test_bad_arguments(rows: int, axis: Any, code: str) -> None:
    @sc.node
    def wrong(x: sc.f32[3]):
        return sc.to_time(sc.tanh, rows=rows, axis=axis)(x)

    with pytest.raises(SeicheError) as raised:
        sc.compile(wrong)
    assert raised.value.code == code


def test_max_over_a_padded_frame_sees_its_value() -> None:
    def pooled(x):
        wide = sc.pad(x, [(1, 1), (0, 0)], -np.inf)
        return apply(
            "patches", wide, window=(3,), strides=(1,), dilation=(1,), low=(0,), high=(0,)
        ).max(1)

    node = sc.node(pooled).trace(sc.f32[6, 2]).node
    expect_equal(fold(node, (0,), 6), node, -1 - np.abs(reals(3, 2, 6, 2)))
