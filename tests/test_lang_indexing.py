"""Indexing against numpy: random keys of integers, slices of any step, None, `...` and index streams; changed copies."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from tests.lang import only
from tests.test_lang_functions import check, evaluate, real, whole

SHAPE = (4, 3, 5)


def random_slice(rng, n):
    while True:
        parts = [None if rng.random() < 0.3 else int(rng.integers(-n - 2, n + 3)) for _ in range(2)]
        step = rng.choice([None, 1, 2, -1, -2, 3, -3])
        key = slice(*parts, None if step is None else int(step))
        if len(range(*key.indices(n))):
            return key


def random_key(rng, shape, array=False):
    """A key of numpy, with at most one index array."""
    items = [
        random_slice(rng, n) if rng.random() < 0.6 else int(rng.integers(-n, n)) for n in shape
    ]
    if array:
        k = rng.integers(len(shape))
        items[k] = rng.integers(
            -shape[k], shape[k], rng.choice([1, 3], size=rng.integers(1, 3)).tolist()
        )
    items = items[: rng.integers(0 if not array else k + 1, len(shape) + 1)]
    if rng.random() < 0.4:
        cut = int(rng.integers(0, len(items) + 1))
        dropped = len(shape) - len(items)
        # After `...` come the items of the last axes: they must fit these.
        if dropped == 0 or cut == len(items):
            items = [*items[:cut], Ellipsis, *items[cut:]]
    for _ in range(rng.integers(0, 3)):
        items.insert(int(rng.integers(0, len(items) + 1)), None)
    return tuple(items)


@pytest.mark.parametrize("array", [False, True])
def test_random_keys(array):
    rng = np.random.default_rng(3 + array)
    keys = [random_key(rng, SHAPE, array) for _ in range(150)]
    x = real(*SHAPE)
    got = evaluate(lambda x: [x[key] for key in keys], x)
    for key, value in zip(keys, got, strict=True):
        np.testing.assert_array_equal(value, x[key], err_msg=str(key))


def test_ellipsis_before_the_last_axes():
    x = real(*SHAPE)
    check(lambda x: (x[..., 0], x[..., 1, ::-1], x[0, ..., -1], x[..., None], x[...], x[()]),
          lambda x: (x[..., 0], x[..., 1, ::-1], x[0, ..., -1], x[..., None], x, x), x)  # fmt: skip


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_index_streams(shape):
    x, i = real(*SHAPE), whole(*shape, low=0, high=3)
    check(
        lambda x, i: (x[i], x[:, i], x[..., i], x[1, i], x[:, i, 2], x[None, i], x[i, ::-1, 1:3], x[0, :, i], x[i, None], x[i, :, 0]),
        lambda x, i: (x[i], x[:, i], x[..., i], x[1, i], x[:, i, 2], x[None, i], x[i, ::-1, 1:3], x[0, :, i], x[i, None], x[i, :, 0]),
        x, i,
    )  # fmt: skip


def test_several_scalar_index_streams():
    x, i = real(*SHAPE), whole(3, low=0, high=3)
    check(lambda x, i: (x[i[0], i[1]], x[i[0], i[1], i[2]], x[i[0], :, i[1]], x[i[0], 1:, None, i[2]]),
          lambda x, i: (x[i[0], i[1]], x[i[0], i[1], i[2]], x[i[0], :, i[1]], x[i[0], 1:, i[2]][:, None]), x, i)  # fmt: skip


def test_an_index_stream_is_clamped():
    x, i = real(4), np.array([-3, 9], np.int32)
    np.testing.assert_array_equal(
        evaluate(lambda x, i: (x[i], x[i[0]], x[i[1]]), x, i)[0], x[[0, 3]]
    )


def test_numpys_integers_are_static():
    x = real(4)
    check(
        lambda x: (x[np.int64(2)], x[np.array(-1)], x[[0, -1]], x[np.uint8(1) :]),
        lambda x: (x[2], x[-1], x[[0, -1]], x[1:]),
        x,
    )


def test_rows_are_iterated():
    x = real(3, 2)
    check(
        lambda x: [row * i for i, row in enumerate(x)],
        lambda x: [row * np.float32(i) for i, row in enumerate(x)],
        x,
    )
    assert evaluate(lambda x: sc.constant(len(x)), x) == 3
    check(lambda x: [*reversed(list(x))], lambda x: [*x[::-1]], x)


def at_set(x, key, value):
    out = x.copy()
    out[key] = value
    return out


def at_add(x, key, value):
    out = x.copy()
    np.add.at(out, key, value)
    return out


def test_changed_copies_at_static_places():
    rng = np.random.default_rng(8)
    x = real(*SHAPE)
    keys = [random_key(rng, SHAPE, array=k % 3 == 0) for k in range(60)]
    values = [real(*x[key].shape) if k % 2 else np.float32(7) for k, key in enumerate(keys)]

    def ours(x):
        return [x.at[k].set(v) for k, v in zip(keys, values)], [
            x.at[k].add(v) for k, v in zip(keys, values)
        ]

    one, two = evaluate(ours, x)
    for key, value, a, b in zip(keys, values, one, two):
        np.testing.assert_allclose(b, at_add(x, key, value), rtol=1e-5, atol=1e-6, err_msg=str(key))
        want = at_set(x, key, value)
        written = [np.asarray(k) for k in key if isinstance(k, np.ndarray)]
        if all(len(np.unique(k % SHAPE[0])) == k.size for k in written):
            np.testing.assert_array_equal(a, want, err_msg=str(key))


def test_changed_copies_at_index_streams():
    x, i = real(*SHAPE), whole(3, low=0, high=3)
    row, cell = real(3, 5), np.float32(4)
    check(
        lambda x, i: (
            x.at[i[0]].set(row), x.at[i[0]].add(row), x.at[i[0], i[1]].set(cell), x.at[i[0], i[1], i[2]].add(cell),
            x.at[:, i[1]].set(row[0]), x.at[1, i[0], ::2].set(cell), x.at[i[0], 1:, i[2]].add(cell), x.at[i].add(row),
            x.at[..., i[2]].set(cell), sc.update(x, row, i[0]), sc.update(x, row[0], i[1], axis=1),
        ),
        lambda x, i: (
            at_set(x, i[0], row), at_add(x, i[0], row), at_set(x, (i[0], i[1]), cell), at_add(x, (i[0], i[1], i[2]), cell),
            at_set(x, (slice(None), i[1]), row[0]), at_set(x, (1, i[0], slice(None, None, 2)), cell),
            at_add(x, (i[0], slice(1, None), i[2]), cell), at_add(x, i, row), at_set(x, (..., i[2]), cell),
            at_set(x, i[0], row), at_set(x, (slice(None), i[1]), row[0]),
        ),
        x, i,
    )  # fmt: skip


@pytest.mark.parametrize("i", [-1, 4, 100])
def test_changes_out_of_range_change_nothing(i):
    x, at = real(4, 3), np.array([i, 1], np.int32)
    same = evaluate(
        lambda x, a: (
            x.at[a[0]].set(0),
            x.at[a[0]].add(1),
            x.at[a[0], a[1]].set(0),
            x.at[a[1], a[0]].add(1),
        ),
        x,
        at,
    )
    for out in same:
        np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize(
    ("wrong", "code", "what"),
    [
        (lambda x, i: x[4], "SE202", "index 4 of an axis of length 4"),
        (lambda x, i: x[0, -4], "SE202", "index -4 of an axis of length 3"),
        (lambda x, i: x[[0, 7]], "SE202", "index 7 of an axis of length 4"),
        (lambda x, i: x[0, 0, 0, 0], "SE202", "4 indices for a tensor with 3 axes"),
        (lambda x, i: x[2:2], "SE202", "an empty slice"),
        (lambda x, i: x[..., ...], "SE202", "more than one `...`"),
        (lambda x, i: x[x > 0], "SE202", "an index of bool is not supported"),
        (lambda x, i: x[x[0, 0, 0]], "SE202", "an index of f32 is not supported"),
        (lambda x, i: x[np.array([True, False, True, True])], "SE202", "an index of a mask"),
        (lambda x, i: x[0.5], "SE202", "an index of float64"),
        (lambda x, i: x["a"], "SE202", "an index of"),
        (lambda x, i: x[i, i], "SE202", "more than one index array"),
        (lambda x, i: x[: i[0]], "SE110", "a slice bound is a stream"),
        (
            lambda x, i: x.at[0].set(np.zeros((2, 5))),
            "SE201",
            "a value of shape [2, 5] for a part of shape [3, 5]",
        ),
        (lambda x, i: x.at[0].set(i[0]), "SE203", "f32 and i32"),
        (lambda x, i: x.at[i].set(0), "SE202", "setting the rows of an index stream"),
        (lambda x, i: x.at[:, i].add(0), "SE202", "adding at an index stream beside other indices"),
        (lambda x, i: x.at[9].add(0), "SE202", "index 9"),
        (lambda x, i: sc.update(x, x, i[0]), "SE201", "a value of shape [4, 3, 5]"),
    ],
)
def test_faults(wrong, code, what):
    error = only(wrong, code, x=sc.f32[SHAPE], i=sc.i32[3])
    assert what in error.what and error.where.file == __file__, error
