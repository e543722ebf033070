"""Both controllers in every form; their plans beside optimality conditions, IPOPT's plans, and an emulated Cortex-M7."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import seiche as sc
from examples.ilqr import Bounds, moved_on
from examples.mpc import __main__ as example
from examples.mpc import controllers as c
from seiche import f32, node, state
from tests.deployed import needs_qemu
from tests.test_examples_forms import expect_same, expect_ticks

DRIVE = c.traffic()
ROAD = "ahead", "cut_in", "gap", "wish", "limit"
needs_ipopt = pytest.mark.skipif(
    find_spec("casadi") is None, reason="NOT COMPARED with IPOPT: casadi is not installed"
)


def part(ticks: slice) -> dict[str, np.ndarray]:
    return {name: x[ticks] for name, x in DRIVE.items()}


@node
def converged(now: f32[4], wish: f32, limit: f32) -> object:
    """A plan of the car, improved once per tick from the same place, and its prices."""
    problem = c.keeping(wish, limit)
    plan = state(problem.nothing())
    plan.next, _ = problem.improved(now, plan)
    return plan.next["push"], plan.next["price"], plan.next["place"]


@pytest.mark.cc
def test_both_loops_interpreted_and_as_c() -> None:
    swing = np.float32([1.0, 0.0]), np.array([False, True])
    for loop, args in ((c.swing, swing), (c.road, tuple(part(slice(200, 202))[k] for k in ROAD))):
        both = [sc.compile(loop, target=target, times=1) for target in ("interp", "c")]
        first, again = (program.run(*args) for program in both)
        expect_same(first, again)
        expect_ticks(both[1], again, *args)


def test_the_derivative_of_what_a_bound_costs_is_its_raised_price() -> None:
    bounds = Bounds(lambda now, push: now, 3, price_max=4.0, stiffness=2.0)

    @node
    def paid(price: f32[3], exceeds: f32[3]) -> object:
        value, slope = sc.value_and_grad(lambda x: bounds.cost(price, x))(exceeds)
        return value, slope, bounds.raised(price, exceeds)

    price, exceeds = np.float32([0.0, 1.0, 3.0]), np.float32([-0.7, 0.4, 2.5])
    program = sc.compile(paid)
    _, slope, raised = program.step(price, exceeds)
    np.testing.assert_allclose(slope, raised, atol=1e-6)
    assert raised.tolist() == pytest.approx([0.0, 1.8, 4.0])
    h = np.float32(1e-2)
    for k in range(3):
        row = h * np.eye(3, dtype=np.float32)[k]
        ends = [float(program.step(price, exceeds + s * row)[0]) for s in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope[k], abs=1e-3)


def swung(now: np.ndarray, push: float) -> np.ndarray:
    """The cart-pole's motion by numpy."""
    from examples.lqr import TICK, moved

    assert TICK == c.SWING_TICK
    return moved(now, push)


def slope_of(start: np.ndarray, pushes: np.ndarray) -> np.ndarray:
    """The derivative of what a plan of the cart-pole costs by its pushes, by complex steps in f64."""

    def cost(pushes: np.ndarray) -> complex:
        now, total = start.astype(complex), 0.0
        for push in pushes:
            total += 0.5 * (c.AWAY @ (now * now) + c.EFFORT * push * push)
            now = swung(now, push)
        return total + 0.5 * (c.AWAY_AT_END @ (now * now))

    rows = np.eye(len(pushes)) * 1e-30j
    return np.array([cost(pushes + row).imag * 1e30 for row in rows])


@pytest.mark.cc
def test_a_plan_ends_where_no_allowed_push_improves_it() -> None:
    """The conditions of Karush, Kuhn and Tucker, with pushes at both bounds and between."""
    start = np.float32([0.5, 0.0, 1.2, 0.0])
    out = sc.compile(c.balance, target="c").run(np.tile(start, (40, 1)), np.zeros(40, bool))
    pushes = out["plan"][-1].astype(float)
    slope = slope_of(start.astype(float), pushes)
    low, high = pushes <= -c.PUSH_MAX, pushes >= c.PUSH_MAX
    between = ~(low | high)
    assert high.any() and between.any()
    assert (slope[high] < 1e-3).all() and (slope[low] > -1e-3).all()
    assert np.abs(slope[between]).max() < 1e-3 and np.abs(pushes).max() <= c.PUSH_MAX
    assert np.diff(out["cost"]).max() < 1e-3, "an improvement never makes a plan worse"


@pytest.mark.cc
def test_what_a_plan_pays_for_is_what_it_would_exceed() -> None:
    """A car that comes up from behind: at the end no bound is exceeded, and prices stand only where one holds it back."""
    ticks = 60
    near = np.tile(np.float32([32, 24, 16, 0]), (ticks, 1))
    wish, limit = np.full(ticks, 28, np.float32), np.full(ticks, 25, np.float32)
    _, price, place = (x[-1] for x in sc.compile(converged, target="c").run(near, wish, limit))
    gap, speed = place[:, 0], place[:, 1]
    exceeds = np.stack([c.STANDING + c.HEADWAY * speed - gap, speed - limit[0], -speed], axis=1)
    assert exceeds[8:].max() < 1e-2
    assert price[8:, 0].max() > 0.1 and np.abs((price * exceeds)[8:]).max() < 1e-2
    assert price[:, 1:].max() == 0.0


@pytest.mark.cc
def test_a_plan_moves_on_by_a_step() -> None:
    @node
    def moves(x: f32[3, 2]) -> sc.Stream:
        return moved_on(x)

    assert sc.compile(moves).step(np.arange(6, dtype=np.float32).reshape(3, 2)).tolist() == [
        [2, 3],
        [4, 5],
        [4, 5],
    ]


@pytest.mark.cc
def test_a_plan_that_is_remembered_is_better_than_a_new_one() -> None:
    go = np.ones(60, bool)
    out = sc.compile(c.swing, target="c").run(np.zeros(60, np.float32), go)
    program = sc.compile(c.balance, target="c")
    for t in (20, 40):
        program.reset()
        assert out["cost"][t] < 0.9 * program.step(out["now"][t], True)["cost"]


@pytest.mark.cc
def test_pushes_are_allowed_ones_wherever_the_car_is() -> None:
    rng = np.random.default_rng(0)
    now = rng.uniform([-20, -10, 0, -20], [200, 80, 60, 20], (300, 4)).astype(np.float32)
    wish, limit = rng.uniform(0, 40, (2, 300)).astype(np.float32)
    out = sc.compile(c.cruise, target="c").run(now, wish, limit)
    assert np.isfinite(out["plan"]).all()
    assert out["plan"].min() >= c.BRAKE and out["plan"].max() <= c.THROTTLE


@pytest.mark.cc
def test_what_is_not_seen_is_answered_by_the_plan_that_is_remembered() -> None:
    seen, ticks = np.float32([40, 20, 18, 0]), 12
    now, blind = np.tile(seen, (ticks, 1)), slice(6, 9)
    now[blind] = np.nan
    wish, limit = np.full(ticks, 28, np.float32), np.full(ticks, 25, np.float32)
    out = sc.compile(c.cruise, target="c").run(now, wish, limit)
    assert np.isnan(out["cost"][blind]).all() and np.isfinite(out["plan"]).all()
    assert out["push"][blind].tolist() == out["plan"][5, 1:4].tolist()
    assert np.isfinite(out["cost"][9:]).all()


@pytest.mark.cc
def test_the_pole_swings_up_and_stays_up() -> None:
    out = sc.compile(c.swing, target="c").run(*example.gusts())
    angle = (out["now"][example.THINKS :, 2] + np.pi) % (2 * np.pi) - np.pi
    assert abs(angle[0]) > 3.1 and example.upright(angle[: example.GUST]) < 60
    assert np.abs(angle[example.GUST :]).max() > 0.03 and np.abs(angle[-10:]).max() < 0.05
    assert np.abs(out["push"]).max() == c.PUSH_MAX
    assert not out["push"][: example.THINKS].any()


@pytest.mark.cc
@pytest.mark.parametrize("seed", range(2))
def test_the_car_keeps_its_distance_and_the_limit(seed: int) -> None:
    drive = c.traffic(seed)
    now = sc.compile(c.road, target="c").run(**drive)["now"]
    least = c.STANDING + c.HEADWAY * now[:, 1]
    surprised = np.arange(len(now)) - np.flatnonzero(drive["cut_in"])[0]
    calm = (surprised < 0) | (surprised > 25)
    assert now[:, 0].min() > 3.0 and (now[:, 0] - least)[calm].min() > -1.5
    lowered = np.convolve(np.diff(drive["limit"], prepend=25) < 0, np.ones(20))[: len(now)] > 0
    assert (now[:, 1] - drive["limit"])[~lowered].max() < 0.1


@needs_ipopt
@pytest.mark.cc
def test_the_cart_pays_what_ipopt_pays() -> None:
    ticks = example.THINKS + 60
    go = np.arange(ticks) >= example.THINKS
    out = sc.compile(c.swing, target="c").run(np.zeros(ticks, np.float32), go)
    ratio, apart = example.beside_swing(*(out[k][example.THINKS :] for k in ("now", "push")))
    assert ratio == pytest.approx(1.0, abs=1e-3) and apart < 0.05


@needs_ipopt
@pytest.mark.cc
@pytest.mark.long
def test_the_car_pays_what_ipopt_pays() -> None:
    """Over a car ahead that brakes. What comes is not what either planned for, so that either may be luckier by a little."""
    drive = part(slice(60, 120))
    out = sc.compile(c.road, target="c").run(**drive)
    ratio, apart = example.beside_road(out["now"], out["push"], drive)
    assert 0.98 < ratio < 1.02 and np.median(apart) < 0.05


@needs_ipopt
def test_what_a_plan_costs_is_what_ipopt_says_it_costs() -> None:
    from examples.mpc import ipopt

    solver, given = ipopt.Solver(ipopt.ROAD), np.array([28.0, 25.0])
    start = np.array([20.0, 20.0, 15.0, 0.0])
    least, pushes = solver.solve(start, given)
    assert solver.cost(start, pushes, given) == pytest.approx(least, rel=1e-5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = np.clip(pushes + 0.3 * rng.normal(size=len(pushes)), c.BRAKE, c.THROTTLE)
        assert solver.cost(start, other, given) > least


@needs_qemu
@pytest.mark.cc
@pytest.mark.long
def test_a_cortex_m7_swings_a_pole_up_with_the_same_bits() -> None:
    ran = sc.emulate(sc.compile(c.swing), *example.gusts(), target="cortex-m7", against="c")
    assert ran.agrees and ran.ticks == example.THINKS + example.SWINGS, str(ran.difference)


@needs_qemu
@pytest.mark.cc
def test_a_cortex_m7_steers_with_the_same_bits() -> None:
    program = sc.compile(c.road)
    ran = sc.emulate(program, **part(slice(195, 205)), target="cortex-m7", against="c")
    assert ran.agrees and ran.ticks == 10, str(ran.difference)
    assert ran.instructions_max < 1.01 * ran.instructions, "the work does not depend on data"


@pytest.mark.cc
def test_its_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "find_spec", lambda name: None)
    monkeypatch.setattr(example, "INTERPRETED", 1)
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said and "NOT COMPARED" in said
