"""Layers without memory, and initialisers, against naive numpy."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from seiche import learn
from seiche.errors import SeicheError
from seiche.learn import initialise
from seiche.learn.layer import lowest
from seiche.numbers.random import Key
from tests.learning import TARGETS, close, jittered, random, run, same, step

SHAPES = [(3,), (2, 3), (2, 4, 3)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_dense(shape, target):
    layer = learn.Dense(3, 5)
    params, x = jittered(layer.init(1)), random(2, *shape)
    want = np.zeros((*shape[:-1], 5))
    for place in np.ndindex(*shape[:-1]):
        for j in range(5):
            want[(*place, j)] = params["bias"][j] + sum(
                x[(*place, i)] * params["weight"][i, j] for i in range(3)
            )
    close(step(layer, params, x, target=target), want)


def test_dense_without_bias():
    layer = learn.Dense(3, 2, bias=False)
    params = layer.init(1)
    assert list(params) == ["weight"]
    close(step(layer, params, np.eye(3, dtype=np.float32)), params["weight"])


@pytest.mark.parametrize("target", TARGETS)
def test_mlp(target):
    layer = learn.MLP((4, 8, 3), activation=sc.tanh, last=sc.softmax)
    params, x = jittered(layer.init(3)), random(4, 2, 4)
    hidden = np.tanh(x @ params[0]["weight"] + params[0]["bias"])
    e = np.exp(hidden @ params[1]["weight"] + params[1]["bias"])
    close(step(layer, params, x, target=target), e / e.sum(-1, keepdims=True))


def test_mlp_is_relu_and_linear_at_the_end():
    layer = learn.MLP((4, 8, 3))
    params, x = jittered(layer.init(3)), random(4, 4)
    hidden = np.maximum(x @ params[0]["weight"] + params[0]["bias"], 0)
    close(step(layer, params, x), hidden @ params[1]["weight"] + params[1]["bias"])


@pytest.mark.parametrize(
    "index", [np.int32(2), np.array([0, 4, 2], np.int32), np.array([[1, 1]], np.int32)]
)
def test_embedding(index):
    layer = learn.Embedding(5, 3)
    params = layer.init(1)
    same(step(layer, params, index), params["table"][index])


def test_embedding_gradient_adds_where_an_index_repeats():
    layer = learn.Embedding(4, 2)
    params, index = layer.init(1), np.array([1, 3, 1], np.int32)
    grad = step(lambda p, i: sc.grad(lambda q: sc.sum(layer(q, i)))(p), params, index)
    close(grad, {"table": np.array([[0, 0], [2, 2], [0, 0], [1, 1]], np.float32)})


def test_embedding_logits_share_the_table():
    layer = learn.Embedding(5, 3)
    params, x = layer.init(1), random(1, 2, 3)
    close(step(layer.logits, params, x), x @ params["table"].T)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(7,), (3, 7)])
def test_layer_norm(shape, target):
    layer = learn.LayerNorm(7)
    params, x = jittered(layer.init()), random(5, *shape)
    centred = x - x.mean(-1, keepdims=True)
    want = (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * params["scale"]
        + params["bias"]
    )
    close(step(layer, params, x, target=target), want)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(7,), (3, 7)])
def test_rms_norm(shape, target):
    layer = learn.RMSNorm(7)
    params, x = jittered(layer.init()), random(5, *shape)
    close(
        step(layer, params, x, target=target),
        x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * params["scale"],
    )


def test_norms_have_jaxs_gradients():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def layer_norm(p, x):
        return (
            (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * p["scale"]
            + p["bias"]
        ) ** 2

    def rms_norm(p, x):
        return (x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p["scale"]) ** 2

    for layer, theirs in ((learn.LayerNorm(5), layer_norm), (learn.RMSNorm(5), rms_norm)):
        params, x = jittered(layer.init()), random(6, 3, 5)
        mine = step(
            lambda p, x: sc.grad(lambda q, y: sc.sum(layer(q, y) ** 2), (0, 1))(p, x), params, x
        )
        close(mine, jax.jit(jax.grad(lambda p, x: theirs(p, x).sum(), (0, 1)))(params, x))


# Dropout.


@pytest.mark.parametrize("target", TARGETS)
def test_dropout_keeps_its_share_and_the_mean(target):
    drop = learn.Dropout(0.25)
    y = step(drop, Key.of(3).words, np.ones(20000, np.float32), target=target)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_dropout_depends_on_its_key_only():
    drop, x = learn.Dropout(0.5), np.ones(64, np.float32)
    first, again, other = (step(drop, Key.of(seed).words, x) for seed in (1, 1, 2))
    same(first, again)
    assert (first != other).any()


def test_dropout_passes_gradients_where_it_keeps():
    drop, key = learn.Dropout(0.5), Key.of(1).words
    x = random(1, 32)
    y, grad = step(lambda k, x: sc.value_and_grad(lambda z: sc.sum(drop(k, z)))(x), key, x)
    kept = step(drop, key, x)
    same(grad, np.where(kept != 0, np.float32(2), np.float32(0)))
    close(y, kept.sum())


def test_no_dropout_at_rate_0_and_none_at_1():
    x = random(1, 8)
    same(run(lambda x: learn.Dropout(0.0)(Key.of(0).words, x), x[None])[0], x)
    with pytest.raises(SeicheError, match=r"SE112.*rate is 1\.0"):
        learn.Dropout(1.0)


# Initialisers.

VARIANCES = {
    "glorot_uniform": 2 / 300, "glorot_normal": 2 / 300, "he_uniform": 2 / 200, "he_normal": 2 / 200,
    "lecun_uniform": 1 / 200, "lecun_normal": 1 / 200, "normal": 0.05**2, "uniform": 0.1**2 / 12,
    "zeros": 0.0, "ones": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANCES)
def test_initialisers_have_their_variance(name):
    make = getattr(learn, name)
    weight = make(7, (200, 100), sc.f32)
    assert weight.dtype == np.float32 and weight.shape == (200, 100)
    assert abs(weight.var() - VARIANCES[name]) <= 0.05 * VARIANCES[name]
    assert abs(weight.mean() - (name == "ones")) <= 0.03 * VARIANCES[name] ** 0.5
    same(weight, make(Key.of(7), (200, 100), sc.f32))


@pytest.mark.parametrize("name", VARIANCES)
def test_initialisers_give_values_of_the_format(name):
    bf16 = getattr(learn, name)(7, (20, 10), sc.bf16)
    assert bf16.dtype == np.float32 and not (bf16.view(np.uint32) & 0xFFFF).any()
    assert getattr(learn, name)(7, (3,), sc.f64).dtype == np.float64


def test_window_counts_for_the_fans():
    assert initialise.fans((3, 3, 8, 16)) == (72, 144)
    assert initialise.fans(()) == (1, 1)


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (2, 4, 3)])
def test_orthogonal(shape):
    q = learn.orthogonal(5, shape, sc.f64).reshape(-1, shape[-1])
    small = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
    close(small, np.eye(len(small)), 1e-14)
    close(learn.orthogonal(5, shape, sc.f64, gain=2.0).reshape(q.shape), 2 * q, 1e-14)


def test_orthogonal_blocks_differ():
    blocks = learn.orthogonal_blocks(5, (4, 12), sc.f64)
    for i in range(3):
        block = blocks[:, 4 * i : 4 * i + 4]
        close(block @ block.T, np.eye(4), 1e-14)
    assert abs(blocks[:, :4] - blocks[:, 4:8]).max() > 0.1


LAYERS = [
    learn.Dense(3, 4), learn.MLP((3, 4, 2)), learn.GRU(3, 4), learn.LSTM(3, 4), learn.Conv1D(3, 4, 2),
    learn.Embedding(3, 4), learn.Attention(4, 2),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_init_repeats_and_depends_on_the_key(layer):
    same(layer.init(1), layer.init(Key.of(1)))
    first, other = (np.concatenate([x.ravel() for x in _leaves(layer.init(k))]) for k in (1, 2))
    assert (first != other).any()


@pytest.mark.parametrize("format", [sc.f64, sc.bf16, sc.f16], ids=str)
def test_layers_run_in_other_formats(format):
    layer = learn.MLP((3, 4, 2), format=format)

    def model(x):
        w = sc.state(layer.init(1), format=format)
        w.next = w
        return layer(w, x)

    x = random(1, 3).astype(format.dtype)
    x = x if format is sc.f64 else np.round(x * 8) / 8
    y = sc.compile(sc.node(model), format[(3,)]).step(x)
    close(y, step(learn.MLP((3, 4, 2)), layer_params(layer), x.astype(np.float32)), 0.02)


def layer_params(layer):
    from seiche.ir.tree import map_tree

    return map_tree(lambda a: a.astype(np.float32), layer.init(1))


def _leaves(params):
    from seiche.ir.tree import flatten

    return flatten(params)[0]


def test_lowest_is_a_value_of_the_format():
    assert lowest(sc.e4m3) == -128 and lowest(sc.fixed(8, 8)) == -128
    assert np.isfinite(np.float32(lowest(sc.f32))) and np.isfinite(np.float16(lowest(sc.f16)))
