"""The bidirectional tagger in every form, its gradient against jax, and what looking ahead is worth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples import tagger as example
from seiche import i32
from tests.test_examples_forms import by_name, every_form, expect_same

WORDS, TRUTH = example.talk(5, seed=6)
ENDS = (np.flatnonzero(WORDS >= example.ACTIVE.start) + 1).tolist()
SENTENCES = [slice(a, b) for a, b in zip([0, *ENDS], ENDS)]


def lstm(w: dict, xs: jax.Array, reverse: bool) -> jax.Array:
    def step(memory: tuple, x: jax.Array) -> tuple:
        h, c = memory
        i, f, g, o = jnp.split(x @ w["input"] + h @ w["recurrent"] + w["bias"], 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros(example.HIDDEN)
    return jax.lax.scan(step, (zero, zero), xs, reverse=reverse)[1]


def logits(w: dict, words: np.ndarray) -> jax.Array:
    x = w["embed"]["table"][words]
    both = jnp.concatenate([lstm(w["forward"], x, False), lstm(w["backward"], x, True)], -1)
    return both @ w["head"]["weight"] + w["head"]["bias"]


def loss(w: dict, words: np.ndarray, truth: np.ndarray) -> jax.Array:
    said = jax.nn.log_softmax(logits(w, words))
    return -said[jnp.arange(len(words)), truth].sum()


@pytest.fixture(scope="module")
def streamed() -> object:
    return every_form(example.slopes, WORDS, TRUTH)


@pytest.mark.cc
def test_logits_and_gradient_are_those_of_jax(streamed: tuple) -> None:
    said, losses, dw = streamed
    w = jax.tree.map(jnp.asarray, example.parameters())
    for k, part in enumerate(SENTENCES[:2]):
        np.testing.assert_allclose(said[part], logits(w, WORDS[part]), atol=1e-5)
        wanted, theirs = jax.value_and_grad(loss)(w, WORDS[part], TRUTH[part])
        np.testing.assert_allclose(losses.values[k], wanted, rtol=1e-5)
        for mine, other in by_name(dw, theirs):
            np.testing.assert_allclose(mine.values[k], other, rtol=1e-3, atol=1e-5)


@pytest.mark.cc
def test_in_space_it_is_the_same(streamed: tuple) -> None:
    said, losses, dw = streamed
    for k, part in enumerate(SENTENCES[:2]):
        n = part.stop - part.start
        whole, one, slope = sc.compile(example.whole_slopes, i32[n], i32[n]).step(
            WORDS[part], TRUTH[part]
        )
        expect_same(said[part], whole)
        np.testing.assert_allclose(losses.values[k], one, rtol=1e-5)
        for mine, other in by_name(dw, slope):
            np.testing.assert_allclose(mine.values[k], other, rtol=1e-4, atol=1e-6)


def test_a_sentence_knows_nothing_of_the_others() -> None:
    program = sc.compile(example.slopes)
    said = program.run(WORDS, TRUTH)[0]
    last = SENTENCES[-1]
    program.reset()
    expect_same(said[last], program.run(WORDS[last], TRUTH[last])[0])


@pytest.mark.cc
def test_the_learner_in_every_form() -> None:
    every_form(example.tagger, WORDS[:40], TRUTH[:40])


@pytest.mark.cc
def test_it_learns_what_the_past_alone_does_not_tell() -> None:
    words, truth = example.talk(1500)
    decided = truth[-2000:] < 2
    right = {}
    for ahead in (False, True):
        said, _ = sc.compile(example.tagger, ahead=ahead, target="c").run(words, truth)
        right[ahead] = np.mean((said[-2000:] == truth[-2000:])[decided])
    assert right[True] > 0.97 and 0.4 < right[False] < 0.6


@pytest.mark.cc
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
