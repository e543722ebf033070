"""The twin in every form; its Jacobians beside jax, its filter and its gradient beside numpy in f64; and what it says of a motor."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples import twin as example
from examples.jacobian import jacobian
from seiche import f32, node
from seiche.ir.tree import flatten
from tests.agreement import same_bits
from tests.test_examples_forms import every_form

TODAY = example.day(7, ticks=600)
GIVEN = TODAY["volt"], TODAY["seen"]


def moved(now: Any, volt: Any, drag: Any, np: Any = np) -> Any:
    """`motor` written out again, for numpy or jax."""
    current, speed, warm = now[0], now[1], now[2]
    ohms = example.OHMS * (1 + example.PER_KELVIN * (warm - example.ROOM))
    by_time = [
        (volt - ohms * current - example.TORQUE * speed) / example.HENRIES,
        (example.TORQUE * current - example.FAN * speed * abs(speed) - drag) / example.INERTIA,
        (ohms * current**2 - (warm - example.ROOM) / example.COOLING) / example.HEAT,
    ]
    return now + example.TICK * np.stack(by_time)


@node
def slopes(now: f32[3], volt: f32, drag: f32) -> object:
    return jacobian(example.motor, now, volt, drag)


@pytest.mark.cc
def test_the_twin_and_the_plant_in_every_form() -> None:
    every_form(example.twin, *(x[:16] for x in GIVEN), commissioning=10)
    key, fault = np.tile(np.uint32([0, 7]), (8, 1)), np.linspace(0, 1, 8).astype(np.float32)
    for kind in example.FAULTS:
        every_form(example.plant, GIVEN[0][:8], key, fault, kind=kind)


@pytest.mark.parametrize("now", [[2.0, 30.0, 45.0], [-5.0, -70.0, 20.0]])
def test_jacobians_are_those_of_jax_and_of_differences(now: list[float]) -> None:
    value, found = sc.compile(slopes).step(np.float32(now), 3.0, 0.1)
    args = np.array(now), 3.0, 0.1
    np.testing.assert_allclose(value, moved(*args), rtol=1e-6)
    wanted = jax.jacobian(lambda *a: moved(*a, np=jnp), argnums=(0, 1, 2))(
        *(jnp.asarray(a, jnp.float32) for a in args)
    )
    for k in range(3):
        np.testing.assert_allclose(found[k], wanted[k], rtol=1e-5, atol=1e-7)
    h = 1e-6
    columns = [
        (moved(args[0] + h * row, *args[1:]) - moved(args[0] - h * row, *args[1:])) / (2 * h)
        for row in np.eye(3)
    ]
    np.testing.assert_allclose(found[0], np.stack(columns, axis=1), rtol=1e-4, atol=1e-6)


def test_the_filter_is_that_of_numpy() -> None:
    """With the true friction, by loops in f64, Jacobians by complex steps, gains by a solver of its own."""
    ticks = 40
    out = sc.compile(example.twin, missing="known").run(*(x[:ticks] for x in GIVEN))
    mean, cov = example.START.astype(float), example.DOUBT.astype(float)
    sees, noise = example.SEES.astype(float), np.diag(example.NOISE.astype(float))
    for t in range(ticks):
        error, scatter = GIVEN[1][t] - sees @ mean, sees @ cov @ sees.T + noise
        gain = np.linalg.solve(scatter, sees @ cov).T
        surprise = error @ np.linalg.solve(scatter, error)
        mean, cov = mean + gain @ error, (np.eye(3) - gain @ sees) @ cov
        assert out["surprise"][t] == pytest.approx(surprise, rel=2e-3, abs=1e-3)
        np.testing.assert_allclose(out["mean"][t], mean, rtol=1e-3, atol=2e-3)
        np.testing.assert_allclose(out["cov"][t], cov, rtol=1e-2, atol=1e-4)
        step = [after(mean + 1e-20j * row, GIVEN[0][t]).imag * 1e20 for row in np.eye(3)]
        by_now = np.stack(step, axis=1)
        mean = after(mean.astype(complex), GIVEN[0][t]).real
        cov = by_now @ cov @ by_now.T + np.diag(example.DISTURBED)


def after(now: np.ndarray, volt: float) -> np.ndarray:
    """A tick of the true motor; complex, so without `abs`."""
    speed = now[1]
    sticks = 0.06 + 0.1 * np.exp(-((speed / 12) ** 2))
    drag = sticks * np.tanh(speed / 4) + 0.0004 * speed
    return moved(now, volt, drag + fan(speed))


def fan(speed: complex) -> complex:
    """What makes |speed| in `moved` analytic."""
    return example.FAN * speed * (speed * np.sign(speed.real) - abs(speed))


def test_the_gradient_goes_through_all_ticks() -> None:
    """At each tick the derivative of that tick's surprise alone, with gains that are taken as given: by complex steps in f64."""
    ticks, weights = 12, example.NETWORK.init(key=0)

    @node
    def slope(volt: f32, seen: f32[2]) -> object:
        def surprise(w: Any) -> sc.Stream:
            return example.filtered(lambda v: example.network(w, v), volt, seen, 1.0)["surprise"]

        w = sc.map_tree(sc.constant, weights)
        return sc.value_and_grad(surprise, method="forward")(w)

    value, found = sc.compile(slope).run(*(x[:ticks] for x in GIVEN))
    flat, form = flatten(weights)
    gains: list[Any] = []
    np.testing.assert_allclose(value, surprises(weights, ticks, gains).real, rtol=1e-3)
    for k, leaf in enumerate(flat):
        for at in np.ndindex(leaf.shape):
            moved_leaf = leaf.astype(complex)
            moved_leaf[at] += 1e-20j
            there = form.unflatten([*flat[:k], moved_leaf, *flat[k + 1 :]])
            wanted = surprises(there, ticks, gains).imag * 1e20
            got = flatten(found)[0][k][(slice(None), *at)]
            np.testing.assert_allclose(got, wanted, rtol=3e-3, atol=1e-4)


def surprises(w: Any, ticks: int, gains: list[Any]) -> np.ndarray:
    """The filter's surprises with a network of those weights; the first call notes its gains, which later ones take as given."""
    mean, cov = example.START.astype(complex), example.DOUBT.astype(float)
    sees, noise = example.SEES.astype(float), np.diag(example.NOISE.astype(float))
    out: list[complex] = []
    noted = bool(gains)
    for t in range(ticks):
        if not noted:
            sharp = np.linalg.inv(sees @ cov @ sees.T + noise)
            gains.append((cov @ sees.T @ sharp, sharp))
        gain, sharp = gains[t]
        error = GIVEN[1][t] - sees @ mean
        out.append(error @ sharp @ error)
        mean = mean + gain @ error
        if not noted:
            moves = [networked(w, mean + 1e-20j * row, t).imag * 1e20 for row in np.eye(3)]
            by_now = np.stack(moves, axis=1)
            cov = by_now @ (cov - gain @ sees @ cov) @ by_now.T + np.diag(example.DISTURBED)
        mean = networked(w, mean, t)
    return np.array(out)


def networked(w: Any, now: np.ndarray, t: int) -> np.ndarray:
    """A tick of the motor with the network's torque; complex."""
    hidden = np.tanh(now[1] / example.SPEED * w[0]["weight"][0] + w[0]["bias"])
    drag = example.DRAG * (hidden @ w[1]["weight"][:, 0] + w[1]["bias"][0])
    return moved(now, GIVEN[0][t], drag + fan(now[1]))


@pytest.mark.parametrize(
    ("freedom", "deviations", "quantile"),
    [(30, 1.6449, 43.773), (100, 1.6449, 124.342), (100, 3.0902, 149.449)],
)
def test_bounds_are_those_of_the_tables(freedom: int, deviations: float, quantile: float) -> None:
    assert example.bound(freedom, deviations) == pytest.approx(quantile, rel=1e-3)


@pytest.mark.cc
def test_measurements_that_are_no_numbers_are_survived() -> None:
    seen, rng = GIVEN[1].copy(), np.random.default_rng(0)
    seen[rng.random(seen.shape) < 0.2] = np.nan
    program = sc.compile(example.twin, target="c", missing="known")
    said = [program.run(GIVEN[0], x)["mean"] for x in (GIVEN[1], seen) if not program.reset()]
    apart = [np.square(mean - TODAY["now"])[100:].mean(axis=0) for mean in said]
    assert (apart[1] < 2 * apart[0]).all()


@pytest.mark.cc
def test_what_is_learnt_stays_when_it_watches() -> None:
    program = sc.compile(example.twin, target="c", commissioning=300)
    said = program.run(*(x[:310] for x in GIVEN))
    learnt = {k: np.array(v) for k, v in program.state.items() if k.startswith("w_")}
    program.run(*(x[310:] for x in GIVEN))
    assert len(learnt) == 4 and np.ptp(said["torque"][:300], axis=0).min() > 0
    assert all(same_bits(v, program.state[k]) for k, v in learnt.items())


@pytest.mark.cc
def test_it_is_as_good_as_the_true_model_and_flags_faults() -> None:
    days = [example.day(seed) for seed in example.SEEDS[:2]]
    said = {k: example.beside(days, k) for k in ("nothing", "learnt", "known")}
    wrong, learnt, true = (example.errors(days, x) for x in said.values())
    assert (learnt < 0.5 * wrong).all() and (learnt[:2] < 1.2 * true[:2]).all()
    assert 0.93 < example.within(said["learnt"]) < 0.97
    assert (example.flagged(said["learnt"]) == -1).all() and (
        example.flagged(said["nothing"]) >= 0
    ).all()
    (found,) = example.flagged(example.beside([example.day(1000, "short", 1.0)]))
    assert example.FAULTY < found < example.FAULTY + 1000


@pytest.mark.cc
@pytest.mark.long
def test_it_flags_every_kind_of_fault_and_no_other_day() -> None:
    healthy = example.beside([example.day(seed) for seed in example.SEEDS])
    assert (example.flagged(healthy) == -1).all()
    for kind in example.FAULTS:
        found = example.flagged(
            example.beside([example.day(seed, kind, 1.0) for seed in example.SEEDS])
        )
        assert np.mean(found >= example.FAULTY) > 0.8, kind


@pytest.mark.cc
def test_its_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "SEEDS", range(1000, 1001))
    monkeypatch.setattr(example, "FAULTS", {})
    monkeypatch.setattr(example, "INTERPRETED", 20)
    monkeypatch.setattr(example, "TWINS", {"learnt where it runs": ("learnt",)})
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
