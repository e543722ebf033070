"""The smoother in every form, against one dense least-squares problem."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from examples import smoother as example
from seiche import bool_, f32
from tests.test_examples_forms import every_form, expect_same

DATA = example.flights(3, seed=5)
GIVEN = DATA["position"], DATA["seen"], DATA["landed"]
FLIGHTS = example.parts(DATA["landed"])


def at_once(node: object, flight: slice, *names: str) -> object:
    args = [DATA[name][flight] for name in names]
    types = [(bool_ if x.dtype == bool else f32)[x.shape] for x in args]
    return sc.compile(node, *types).step(*args)


@pytest.mark.cc
def test_tick_by_tick_whole_and_as_c() -> None:
    every_form(example.smoother, *GIVEN)


def test_in_space_it_is_the_same() -> None:
    out = sc.compile(example.smoother).run(*GIVEN)
    for flight in FLIGHTS:
        expect_same(
            {k: v[flight] for k, v in out.items()},
            at_once(example.whole, flight, "position", "seen"),
        )


def test_it_is_the_least_squares_solution() -> None:
    out = sc.compile(example.smoother).run(*GIVEN)
    for flight in FLIGHTS:
        mean, cov = example.least_squares(DATA["position"][flight], DATA["seen"][flight])
        np.testing.assert_allclose(out["smoothed"][flight], mean, atol=1e-4)
        np.testing.assert_allclose(out["cov"][flight], cov, atol=1e-4)


def test_what_is_not_seen_changes_nothing() -> None:
    hidden = np.where(DATA["seen"][:, None], DATA["position"], np.float32(np.nan))
    expect_same(
        sc.compile(example.smoother).run(*GIVEN),
        sc.compile(example.smoother).run(hidden, *GIVEN[1:]),
    )


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_landing_one_tick_off_is_noticed(shift: int) -> None:
    first = FLIGHTS[0]
    moved = np.roll(DATA["landed"], shift)
    out = sc.compile(example.smoother).run(*GIVEN[:2], moved)["smoothed"][first]
    assert (
        np.abs(out - example.least_squares(DATA["position"][first], DATA["seen"][first])[0]).max()
        > 0.01
    )


@pytest.mark.cc
def test_the_gradient_in_every_form() -> None:
    error, d = every_form(example.slope, *GIVEN, DATA["truth"][:, :2])
    assert error.ticks.tolist() == np.flatnonzero(DATA["landed"]).tolist()
    for k, flight in enumerate(FLIGHTS):
        args = [DATA["position"][flight], DATA["seen"][flight], DATA["truth"][flight, :2]]
        types = [f32[args[0].shape], bool_[args[1].shape], f32[args[2].shape]]
        whole_error, whole = sc.compile(example.whole_slope, *types).step(*args)
        np.testing.assert_allclose(error.values[k], whole_error, rtol=1e-5)
        for name in d:
            np.testing.assert_allclose(d[name].values[k], whole[name], rtol=1e-4)
            np.testing.assert_allclose(
                d[name].values[k], finite_difference(flight, name), rtol=2e-3, atol=1e-3
            )


def finite_difference(flight: slice, name: str, h: float = 1e-4) -> float:
    """The derivative of the dense solution's error, in f64."""

    def error(by: float) -> float:
        variances = {"drift": example.DRIFT, "noise": example.NOISE}
        variances[name] *= np.exp(by)
        best, _ = example.least_squares(DATA["position"][flight], DATA["seen"][flight], **variances)
        return float(np.square(best[:, :2] - DATA["truth"][flight, :2]).sum())

    return (error(h) - error(-h)) / (2 * h)


@pytest.mark.cc
def test_it_learns_the_variances() -> None:
    short = {k: v[:120] for k, v in DATA.items()}
    every_form(example.calibrate, short["position"], short["seen"], short["landed"])
    data = example.flights(200, seed=2)
    logs, surprise = sc.compile(example.calibrate, target="c").run(
        data["position"], data["seen"], data["landed"]
    )
    assert np.median(logs["drift"].values[-40:]) == pytest.approx(example.DRIFT, rel=0.25)
    assert np.median(logs["noise"].values[-40:]) == pytest.approx(example.NOISE, rel=0.15)
    assert surprise.values[-40:].mean() < surprise.values[:10].mean()


@pytest.mark.cc
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
