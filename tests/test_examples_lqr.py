"""Iterative LQR in every form, against loops of numpy in f64; and the pole that it swings up."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from examples import cart_pole
from examples import lqr as example
from seiche import f32, node
from seiche.ir.tree import flatten
from tests.test_examples_forms import every_form, expect_same

RNG = np.random.default_rng(0)
START = np.float32([0.2, -0.1, 0.4, 0.3])
PUSHES = RNG.normal(size=example.HORIZON).astype(np.float32)


def trajectory() -> np.ndarray:
    """Where those pushes lead."""
    now = [START.astype(float)]
    for push in PUSHES:
        now.append(example.moved(now[-1], push))
    return np.array(now[:-1], np.float32)


@node
def whole(start: f32[4], pushes: f32[example.HORIZON]) -> object:
    """An improvement of a plan without corrections, in space."""
    plan = {**{k: sc.constant(v) for k, v in example.SWING.nothing().items()}, "push": pushes}
    return sc.over_time(lambda row: example.SWING.improve(start, sc.constant(0.0), row))(plan)


@pytest.mark.cc
def test_the_planner_and_the_pilot_in_every_form() -> None:
    every_form(example.planner, np.tile(example.HANGING, (2, 1)))
    every_form(example.pilot, RNG.normal(size=6).astype(np.float32))


@pytest.mark.cc
def test_backward_over_ticks_is_backward_over_an_axis() -> None:
    now, ends = trajectory(), np.arange(example.HORIZON) == example.HORIZON - 1
    ticked = every_form(example.backward, now, PUSHES, ends)
    expect_same(ticked, sc.compile(whole).step(START, PUSHES))


@pytest.mark.cc
def test_two_plans_in_a_row_do_not_mix() -> None:
    now, ends = trajectory()[:20], np.arange(20) == 19
    twice = sc.compile(example.backward).run(
        *(np.concatenate([x, x]) for x in (now, PUSHES[:20], ends))
    )
    expect_same({k: v[:20] for k, v in twice.items()}, {k: v[20:] for k, v in twice.items()})


def test_jacobians_are_complex_steps() -> None:
    @node
    def both(now: f32[4], push: f32) -> object:
        return example.jacobians(now, push), [
            sc.jvp(example.motion, (now, push), (row, 0.0))[1] for row in np.eye(4)
        ]

    now, push = np.float32([0.3, -1.0, 2.5, 4.0]), np.float32(7.0)
    (a, b), columns = sc.compile(both).step(now, push)
    wanted_a, wanted_b = example.complex_steps(now.astype(float), 7.0)
    np.testing.assert_allclose(a, wanted_a, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(b, wanted_b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.stack(columns, axis=1), a, rtol=1e-5, atol=1e-6)


def test_improvements_are_those_of_numpy() -> None:
    out = sc.compile(example.planner).run(np.tile(example.HANGING, (8, 1)))
    plan = example.SWING.nothing()
    for k in range(8):
        plan, cost = example.by_numpy(example.HANGING, plan)
        assert out["cost"][k] == pytest.approx(cost, rel=2e-3)
        np.testing.assert_allclose(out["place"][k], plan["place"], rtol=0.02, atol=0.02)


def test_near_upright_it_is_the_linear_regulator() -> None:
    """The response at the first step is that of a Riccati recursion written out by itself."""
    zero = np.zeros(example.HORIZON, np.float32)
    response = sc.compile(whole).step(example.UPRIGHT, zero)["response"]
    a, b = example.complex_steps(example.UPRIGHT.astype(float), 0.0)
    bend = np.diag(example.END).astype(float)
    for t in reversed(range(example.HORIZON)):
        gain = (b @ bend @ a) / (example.EFFORT + b @ bend @ b)
        np.testing.assert_allclose(response[t], -gain, rtol=2e-3)
        bend = np.diag(example.NEAR) + a.T @ bend @ (a - np.outer(b, gain))


@pytest.mark.cc
def test_the_gradient_of_a_price_is_the_adjoint_of_its_sweep() -> None:
    """d cost / d push, by transposing the rollout; and by differences of numpy's, in f64."""

    @node
    def slope(start: f32[4], pushes: f32[example.HORIZON]) -> object:
        def cost(pushes: sc.Stream) -> sc.Stream:
            plan = {
                **{k: sc.constant(v) for k, v in example.SWING.nothing().items()},
                "push": pushes,
            }
            return example.SWING.price(start, sc.constant(0.0), plan)

        return sc.value_and_grad(cost)(pushes)

    value, d = every_form(slope, START[None], PUSHES[None])

    def cost(pushes: np.ndarray) -> float:
        now, total = START.astype(float), 0.0
        for push in pushes:
            total += 0.5 * (example.NEAR @ np.square(now) + example.EFFORT * push**2)
            now = example.moved(now, push)
        return float(total + 0.5 * example.END @ np.square(now))

    assert value[0] == pytest.approx(cost(PUSHES.astype(float)), rel=1e-4)
    h = 1e-5
    for t in (0, 7, 31, 49):
        step = h * (np.arange(example.HORIZON) == t)
        difference = (cost(PUSHES + step) - cost(PUSHES - step)) / (2 * h)
        assert d[0][t] == pytest.approx(difference, rel=2e-3)


def test_the_world_is_that_of_the_reference() -> None:
    @node
    def world(push: f32) -> sc.Stream:
        now = sc.state(START)
        now.next = cart_pole.step(now, push, example.TICK)
        return now

    np.testing.assert_allclose(sc.compile(world).run(PUSHES), trajectory(), rtol=1e-3, atol=1e-4)


@pytest.mark.cc
def test_it_swings_up_and_stays_up() -> None:
    gust = np.zeros(200, np.float32)
    gust[120] = 30.0
    out = sc.compile(example.pilot, target="c").run(gust)
    angle = (out["now"][:, 2] + np.pi) % (2 * np.pi) - np.pi
    assert abs(angle[0]) > 3 and example.upright(angle[:120]) < 100
    assert np.abs(angle[121:130]).max() > 0.05 and np.abs(angle[-20:]).max() < 0.05
    assert all(np.isfinite(x).all() for x in flatten(out)[0])


@pytest.mark.cc
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
