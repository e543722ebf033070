"""The online language model: a frame and an axis learn alike, the gradient against jax, and what it learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples import language_model as example
from examples import text
from seiche import i32, node
from tests.test_examples_forms import by_name, every_form

SYMBOLS = text.library(4 * example.PIECE + 1)
GIVEN = SYMBOLS[:-1], SYMBOLS[1:]


@pytest.mark.cc
@pytest.mark.parametrize("form", [example.in_time, example.in_space])
def test_tick_by_tick_whole_and_as_c(form: object) -> None:
    out = every_form(form, *GIVEN)
    assert out.ticks.tolist() == [31, 63, 95, 127]


def test_a_frame_and_an_axis_learn_alike() -> None:
    first, second = (
        sc.compile(form).run(*GIVEN).values for form in (example.in_time, example.in_space)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert first[1] != first[2]


def test_the_hidden_value_goes_on() -> None:
    """The second piece is answered from where the first ended."""
    alone = sc.compile(example.in_time)
    alone.run(*GIVEN)
    again = sc.compile(example.in_time)
    again.run(*(x[: example.PIECE] for x in GIVEN))
    again.state["hidden"] = np.ones(example.HIDDEN, np.float32)
    second = again.run(*(x[example.PIECE :] for x in GIVEN)).values[0]
    alone.reset()
    assert abs(second - alone.run(*GIVEN).values[1]) > 0.01


def loss(w: dict, hidden: jax.Array, symbols: np.ndarray, coming: np.ndarray) -> jax.Array:
    n, p = example.HIDDEN, w["gru"]

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        given, carried = x @ p["input"] + p["bias"], h @ p["recurrent"] + p["recurrent_bias"]
        r, z = jnp.split(jax.nn.sigmoid(given[: 2 * n] + carried[: 2 * n]), 2)
        h = (1 - z) * jnp.tanh(given[2 * n :] + r * carried[2 * n :]) + z * h
        return h, h

    _, hs = jax.lax.scan(step, hidden, w["embed"]["table"][symbols])
    said = jax.nn.log_softmax(hs @ w["head"]["weight"] + w["head"]["bias"])
    return -said[jnp.arange(len(coming)), coming].sum()


@pytest.mark.cc
def test_the_gradient_in_both_forms_is_that_of_jax() -> None:
    hidden = np.random.default_rng(0).normal(size=example.HIDDEN).astype(np.float32)
    slope = sc.value_and_grad(example.objective, has_aux=True)

    @node
    def streamed(symbol: i32, coming: i32, ends: sc.bool_) -> object:
        with sc.frame(max=12, until=ends) as piece:
            (value, _), dw = slope(example.parameters(), hidden, symbol, coming)
        return piece.sum(value), piece.sum(dw)

    @node
    def whole(symbols: i32[12], comings: i32[12]) -> object:
        def piece(w: object) -> sc.Stream:
            return sc.over_time(lambda *row: example.objective(w, sc.constant(hidden), *row)[0])(
                symbols, comings
            ).sum()

        return sc.value_and_grad(piece)(example.parameters())

    part = GIVEN[0][:12], GIVEN[1][:12]
    value, dw = every_form(streamed, *part, np.arange(12) == 11)
    at_once = sc.compile(whole).step(*part)
    w = jax.tree.map(jnp.asarray, example.parameters())
    wanted, theirs = jax.jit(jax.value_and_grad(loss))(w, hidden, *part)
    np.testing.assert_allclose(value.values[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(at_once[0], wanted, rtol=1e-5)
    for mine, other, third in by_name(dw, at_once[1], theirs):
        np.testing.assert_allclose(mine.values[0], third, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(other, third, rtol=1e-3, atol=1e-5)


@pytest.mark.cc
def test_it_learns() -> None:
    symbols = text.library(32 * 1000 + 1)
    nats = sc.compile(example.in_time, target="c").run(symbols[:-1], symbols[1:]).values
    assert (
        nats[-100:].mean() / np.log(2)
        < 3.6
        < text.unigram_bits(symbols, symbols)
        < nats[:20].mean() / np.log(2)
    )


def test_text_is_there_and_back() -> None:
    assert text.decoded(text.encoded("for x in y:\n    é")) == "for x in y:\n    ¿"
    assert len(text.library(1000)) == 1000 and text.library(1000).max() < len(text.SYMBOLS)


@pytest.mark.cc
@pytest.mark.slow
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
