"""Batch normalisation in every form, its gradient against jax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples import batch_norm as example
from seiche import f32, i32
from tests.test_examples_forms import by_name, every_form

STREAM = example.digits(70, seed=4)
ENDS = [int(t) + 1 for t in np.flatnonzero(STREAM[2])]
BATCHES = [slice(a, b) for a, b in zip([0, *ENDS], ENDS)]


def normalised(w: dict, x: jax.Array) -> jax.Array:
    return (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5) * w["scale"] + w["bias"]


def loss(w: dict, pixels: jax.Array, label: jax.Array) -> jax.Array:
    hidden = normalised(w["pixels"], pixels) @ w["dense"]["weight"] + w["dense"]["bias"]
    hidden = jax.nn.relu(normalised(w["hidden"], hidden))
    said = jax.nn.log_softmax(hidden @ w["head"]["weight"] + w["head"]["bias"])
    return -said[jnp.arange(len(label)), label].sum()


@pytest.fixture(scope="module")
def streamed() -> object:
    return every_form(example.slopes, *STREAM)


@pytest.mark.cc
def test_the_gradient_is_that_of_jax(streamed: tuple) -> None:
    losses, dw = streamed
    assert losses.ticks.tolist() == [end - 1 for end in ENDS]
    for k, batch in enumerate(BATCHES[:2]):
        wanted, theirs = jax.jit(jax.value_and_grad(loss))(
            example.parameters(), STREAM[0][batch], STREAM[1][batch]
        )
        np.testing.assert_allclose(losses.values[k], wanted, rtol=1e-5)
        for mine, other in by_name(dw, theirs):
            np.testing.assert_allclose(mine.values[k], other, rtol=1e-3, atol=1e-3)


@pytest.mark.cc
def test_in_space_it_is_the_same(streamed: tuple) -> None:
    losses, dw = streamed
    batch = BATCHES[0]
    pixels, label = STREAM[0][batch], STREAM[1][batch]
    whole, slope = sc.compile(example.whole_slopes, f32[pixels.shape], i32[label.shape]).step(
        pixels, label
    )
    np.testing.assert_allclose(losses.values[0], whole, rtol=1e-5)
    for mine, other in by_name(dw, slope):
        np.testing.assert_allclose(mine.values[0], other, rtol=1e-3, atol=1e-3)


@pytest.mark.cc
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_close_one_tick_off_is_noticed(streamed: tuple, shift: int) -> None:
    moved = sc.compile(example.slopes).run(*STREAM[:2], np.roll(STREAM[2], shift))[1]
    assert (
        np.abs(moved["head"]["bias"].values[0] - streamed[1]["head"]["bias"].values[0]).max() > 0.01
    )


@pytest.mark.cc
def test_what_the_batch_takes_away_has_no_gradient(streamed: tuple) -> None:
    assert (
        np.abs(streamed[1]["dense"]["bias"].values).max()
        < 1e-5
        < np.abs(streamed[1]["dense"]["weight"].values).max()
    )


@pytest.mark.cc
def test_the_learner_in_every_form() -> None:
    every_form(example.learner, *STREAM)


@pytest.mark.cc
def test_normalised_it_learns_what_it_does_not_learn_otherwise() -> None:
    given = example.digits(3000)
    right, _ = sc.compile(example.learner, target="c").run(*given)
    worse, _ = sc.compile(example.learner, normal=False, target="c").run(*given)
    assert right[-500:].mean() > 0.85 > worse[-500:].mean() + 0.05


@pytest.mark.cc
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
