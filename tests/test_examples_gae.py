"""Advantage estimation in every form, against a loop and jax; and the learner that uses it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples import gae as example
from seiche import bool_, f32, i32
from seiche.ir.tree import flatten
from tests.test_examples_forms import by_name, every_form, expect_same, leaves

NAMES = "now", "after", "action", "fell", "done"
RECORD = example.record(160, seed=3)
ENDS = [int(t) + 1 for t in np.flatnonzero(RECORD[4])]
EPISODES = [slice(a, b) for a, b in zip([0, *ENDS], ENDS)]
RESULT = sc.compile(example.recorded).run(*RECORD)


@pytest.mark.cc
def test_tick_by_tick_whole_and_as_c() -> None:
    every_form(example.recorded, *RECORD)


def test_in_space_it_is_the_same() -> None:
    gains, dw = RESULT
    for k, part in enumerate(EPISODES[:3]):
        now, after, action, fell, _ = (x[part] for x in RECORD)
        types = f32[now.shape], f32[after.shape], i32[action.shape], bool_[fell.shape]
        whole, slope = sc.compile(example.whole, *types).step(now, after, action, fell)
        expect_same(gains[part], whole)
        for mine, theirs in zip(leaves(dw), flatten(slope)[0]):
            np.testing.assert_allclose(mine.values[k], theirs, rtol=1e-3, atol=1e-4)


def test_advantages_are_those_of_a_loop() -> None:
    now, after, _, fell, done = RECORD
    gains, _ = RESULT
    wanted = example.by_loop(example.critic(now), np.where(fell, 0.0, example.critic(after)), done)
    np.testing.assert_allclose(gains[: ENDS[-1]], wanted[: ENDS[-1]], atol=1e-4)


@pytest.mark.parametrize("shift", [-1, 1])
def test_an_end_one_tick_off_is_noticed(shift: int) -> None:
    right, _ = RESULT
    wrong, _ = sc.compile(example.recorded).run(*RECORD[:4], np.roll(RECORD[4], shift))
    assert np.abs(right - wrong)[EPISODES[0]].max() > 0.1


def mlp(params: tuple, x: jax.Array) -> jax.Array:
    (first, second) = params
    return jnp.tanh(x @ first["weight"] + first["bias"]) @ second["weight"] + second["bias"]


def test_the_gradient_is_that_of_jax() -> None:
    part = EPISODES[0]
    now, after, action, fell, done = (x[part] for x in RECORD)
    gains = example.by_loop(example.critic(now), np.where(fell, 0.0, example.critic(after)), done)

    def loss(w: dict) -> jax.Array:
        value = mlp(w["critic"], now)[:, 0]
        said = jax.nn.log_softmax(mlp(w["policy"], now))
        chosen = said[np.arange(len(action)), action]
        doubt = -(jnp.exp(said) * said).sum(-1)
        wanted = gains + jax.lax.stop_gradient(value)
        return (-chosen * gains + 0.5 * (value - wanted) ** 2 - 0.01 * doubt).sum()

    _, dw = RESULT
    theirs = jax.jit(jax.grad(loss))(example.parameters(0))
    for mine, other in by_name(dw, theirs):
        np.testing.assert_allclose(mine.values[0], other, rtol=2e-3, atol=2e-3)


@pytest.mark.cc
def test_the_learner_in_every_form() -> None:
    every_form(example.player, np.zeros(90, np.float32))


@pytest.mark.cc
def test_it_learns_to_balance() -> None:
    length = (
        sc.compile(example.player, target="c").run(np.zeros(20_000, np.float32))["length"].values
    )
    assert length[:10].mean() < 60 and length[-20:].mean() > 150


@pytest.mark.cc
@pytest.mark.slow
@pytest.mark.long
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
