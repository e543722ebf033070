"""Losses and metrics against naive numpy, their gradients against jax."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from seiche import learn
from tests.learning import TARGETS, close, random, step

LOGITS, LABELS = random(1, 4, 5), np.array([0, 4, 2, 2], np.int32)
Y, T = random(2, 3, 4), random(3, 3, 4)
CHANCES = (1 / (1 + np.exp(-T))).astype(np.float32)


def naive_cross_entropy(n, z, labels, smoothing=0.0):
    rows = z.reshape(-1, z.shape[-1])
    chances = n.exp(rows) / n.exp(rows).sum(-1, keepdims=True)
    wanted = np.full(rows.shape, smoothing / rows.shape[-1])
    wanted[np.arange(len(rows)), np.ravel(labels)] += 1 - smoothing
    return -(wanted * n.log(chances)).sum() / len(rows)


def naive_binary(n, z, t):
    p = 1 / (1 + n.exp(-z))
    return -(t * n.log(p) + (1 - t) * n.log(1 - p)).mean()


def naive_huber(n, y, t, delta):
    e = n.abs(y - t)
    return n.where(e <= delta, 0.5 * e**2, delta * (e - 0.5 * delta)).mean()


LOSSES = {
    "cross_entropy": (learn.cross_entropy, naive_cross_entropy, LOGITS, LABELS),
    "cross_entropy_row": (learn.cross_entropy, naive_cross_entropy, LOGITS[0], LABELS[1]),
    "cross_entropy_smooth": (
        lambda z, i: learn.cross_entropy(z, i, smoothing=0.2),
        lambda n, z, i: naive_cross_entropy(n, z, i, 0.2), LOGITS, LABELS,
    ),
    "binary_cross_entropy": (learn.binary_cross_entropy, naive_binary, Y, CHANCES),
    "mse": (learn.mse, lambda n, y, t: ((y - t) ** 2).mean(), Y, T),
    "mae": (learn.mae, lambda n, y, t: n.abs(y - t).mean(), Y, T),
    "huber": (learn.huber, lambda n, y, t: naive_huber(n, y, t, 1.0), Y, T),
    "huber_narrow": (
        lambda y, t: learn.huber(y, t, delta=0.3), lambda n, y, t: naive_huber(n, y, t, 0.3), Y, T
    ),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", LOSSES)
def test_values(name, target):
    mine, theirs, y, t = LOSSES[name]
    close(step(lambda a, b: mine(a, b), y, t, target=target), theirs(np, y.astype(np.float64), t))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    jax = pytest.importorskip("jax")
    mine, theirs, y, t = LOSSES[name]
    close(
        step(lambda a, b: sc.grad(mine)(a, b), y, t),
        jax.jit(jax.grad(lambda a: theirs(jax.numpy, a, t)))(y),
    )


@pytest.mark.parametrize("z", [200.0, -200.0])
@pytest.mark.parametrize("label", [0, 1])
def test_extremes_are_finite_and_right(z, label):
    logits = np.array([0, z], np.float32)
    got, slope = step(
        lambda a, i: sc.value_and_grad(learn.cross_entropy)(a, i), logits, np.int32(label)
    )
    wrong = (z > 0) != label
    assert got == (200 if wrong else 0)
    assert slope.tolist() == ([(1 if i == (z > 0) else -1) for i in range(2)] if wrong else [0, 0])
    binary, slope = step(
        lambda a, t: sc.value_and_grad(learn.binary_cross_entropy)(a, t),
        np.float32(z),
        np.bool_(label),
    )
    assert binary == (200 if wrong else 0) and abs(slope) == wrong


def test_targets_may_be_booleans_or_integers():
    flags = Y > T
    real = step(lambda y, t: learn.binary_cross_entropy(y, t), Y, flags.astype(np.float32))
    for target in (flags, flags.astype(np.int32)):
        assert step(lambda y, t: learn.binary_cross_entropy(y, t), Y, target) == real


@pytest.mark.parametrize("target", TARGETS)
def test_accuracies(target):
    z = np.array([[0.1, 0.9, 0.5], [2, 1, 0], [0, 1, 1], [1, 2, 3]], np.float32)
    labels = np.array([1, 1, 2, 0], np.int32)
    got = step(
        lambda z, i: (learn.accuracy(z, i), learn.top_k_accuracy(z, i, 2), learn.top_k_accuracy(z, i, 3)),
        z, labels, target=target,
    )  # fmt: skip
    assert [float(v) for v in got] == [0.25, 0.75, 1.0]


def test_binary_accuracy():
    z = np.array([-1, 1, 2, -3], np.float32)
    assert (
        step(lambda z, t: learn.binary_accuracy(z, t), z, np.array([False, False, True, False]))
        == 0.75
    )
