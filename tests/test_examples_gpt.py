"""The small GPT: prefill in space and decoding in time are one, gradients included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples import gpt as example
from examples import text
from examples.trained import weights
from seiche import bool_, i32, learn, node
from tests.test_examples_forms import by_name, every_form, expect_same

PROMPT = text.encoded("def mean(data):\n    return sum(data)")


@pytest.mark.cc
def test_decoding_tick_by_tick_whole_and_as_c() -> None:
    every_form(example.follower, PROMPT)


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
def test_prefill_is_decoding(target: str) -> None:
    logits, _ = sc.compile(example.reader, i32[PROMPT.shape], target=target).step(PROMPT)
    expect_same(logits, sc.compile(example.follower).run(PROMPT))


@pytest.mark.parametrize("length", [5, 20])
def test_decoding_goes_on_where_prefill_stopped(length: int) -> None:
    _, rings = sc.compile(example.reader, i32[length]).step(PROMPT[:length])
    rest = sc.compile(example.follower, rings=rings).run(PROMPT[length:])
    expect_same(rest, sc.compile(example.follower).run(PROMPT)[length:])


def test_decoding_goes_on_when_the_ring_is_full() -> None:
    long = text.library(example.WINDOW + 20)
    _, rings = sc.compile(example.reader, i32[long[:-10].shape]).step(long[:-10])
    rest = sc.compile(example.follower, rings=rings).run(long[-10:])
    wanted = sc.compile(example.follower, target="c").run(long)[-10:]
    np.testing.assert_allclose(rest, wanted, rtol=1e-5, atol=1e-6)


@node
def streamed(symbol: i32, coming: i32, ends: bool_) -> object:
    """The gradient in time: back through the ring."""

    def objective(w: object, symbol: sc.Stream, coming: sc.Stream) -> sc.Stream:
        return learn.cross_entropy(example.follow(w, symbol), coming)

    with sc.frame(max=8, until=ends) as piece:
        loss, dw = sc.value_and_grad(objective)(example.parameters(), symbol, coming)
    return piece.sum(loss), piece.sum(dw)


@node
def whole(piece: i32[9]) -> object:
    """The gradient in space."""
    return sc.value_and_grad(lambda w: 8.0 * example.objective(w, piece))(example.parameters())


@pytest.mark.cc
@pytest.mark.slow
def test_the_gradient_through_the_ring_is_that_of_the_masked_product() -> None:
    ends = np.arange(8) == 7
    loss, dw = every_form(streamed, PROMPT[:8], PROMPT[1:9], ends)
    at_once, slope = sc.compile(whole).step(PROMPT[:9])
    np.testing.assert_allclose(loss.values[0], at_once, rtol=1e-5)
    for mine, other in by_name(dw, slope):
        np.testing.assert_allclose(mine.values[0], other, rtol=1e-3, atol=1e-5)


def norm(p: dict, x: jax.Array) -> jax.Array:
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + example.NORM.epsilon) * p["scale"]


def turned(x: jax.Array) -> jax.Array:
    half = x.shape[-1] // 2
    angle = jnp.arange(len(x))[:, None, None] * 10000.0 ** (-jnp.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate(
        [a * jnp.cos(angle) - b * jnp.sin(angle), b * jnp.cos(angle) + a * jnp.sin(angle)], -1
    )


def attention(p: dict, x: jax.Array) -> jax.Array:
    query, key, value = (
        (x @ p[r]["weight"]).reshape(len(x), 2, -1) for r in ("query", "key", "value")
    )
    scores = jnp.einsum("ihd,jhd->hij", turned(query), turned(key)) / np.sqrt(query.shape[-1])
    seen = jnp.tril(jnp.ones(scores.shape[1:], bool))
    mixed = jnp.einsum("hij,jhd->ihd", jax.nn.softmax(jnp.where(seen, scores, -1e30)), value)
    return mixed.reshape(x.shape) @ p["out"]["weight"]


def loss(w: dict, piece: np.ndarray) -> jax.Array:
    x = w["embed"]["table"][piece[:-1]]
    for block in w["blocks"]:
        x = x + attention(block["attention"], norm(block["before"], x))
        first, second = block["mlp"]
        x = x + jax.nn.relu(norm(block["between"], x) @ first["weight"]) @ second["weight"]
    said = jax.nn.log_softmax(norm(w["last"], x) @ w["embed"]["table"].T)
    return -said[jnp.arange(len(piece) - 1), piece[1:]].sum()


def test_the_gradient_is_that_of_jax() -> None:
    value, dw = sc.compile(whole).step(PROMPT[:9])
    w = jax.tree.map(jnp.asarray, example.parameters())
    wanted, theirs = jax.jit(jax.value_and_grad(loss))(w, PROMPT[:9])
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    for mine, other in by_name(dw, theirs):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)


@pytest.mark.cc
@pytest.mark.long
def test_it_learns_and_writes() -> None:
    program = sc.compile(example.trainer, target="c")
    bits = program.run(example.pieces(text.library(350 * example.WINDOW + 1))) / np.log(2)
    assert bits[-50:].mean() < 4.3 < bits[:10].mean()
    w = weights(program, "w", example.parameters())
    said = sc.compile(example.writer, w=w, start=0).run(np.full(20, 0.5, np.float32))
    expect_same(
        said, sc.compile(example.writer, w=w, start=0, target="c").run(np.full(20, 0.5, np.float32))
    )
    assert not np.array_equal(
        said, sc.compile(example.writer, w=w, start=0, seed=1).run(np.full(20, 0.5, np.float32))
    )


@pytest.mark.cc
@pytest.mark.slow
@pytest.mark.long
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "DIFFERENT" not in said and "Look at:" in said
