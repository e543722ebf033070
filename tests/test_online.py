"""Forward mode through time: gradients per tick, their sum that of back-propagation, resets and clocks, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.errors import SeicheError
from seiche.ir.tree import flatten, map_tree

Array = np.ndarray
T = 8


def f64(tree: Any) -> Any:
    return map_tree(lambda x: np.asarray(x, np.float64), tree)


def traced(function: Any, **types: Any) -> Any:
    function.__annotations__ = types
    return sc.node(function)


def online(loss: Any, w: Any, **types: Any) -> Any:
    """(value, gradient) at every tick, by forward mode."""

    def node(*args: Any) -> Any:
        return sc.value_and_grad(loss, method="forward")(
            map_tree(lambda x: sc.constant(x, sc.f64), w), *args
        )

    return _named(node, types)


def through_time(loss: Any, w: Any, **types: Any) -> Any:
    """The same over T rows at once, summed, by reverse mode."""

    def node(*args: Any) -> Any:
        def whole(w: Any, *args: Any) -> Any:
            return sc.over_time(lambda *row: loss(w, *row))(*args).sum()

        return sc.value_and_grad(whole)(map_tree(lambda x: sc.constant(x, sc.f64), w), *args)

    return _named(node, {k: t.format[(T, *t.shape)] for k, t in types.items()})


def _named(function: Any, types: Any) -> Any:
    """A node with arguments of these names."""
    names = ", ".join(types)
    scope: dict[str, Any] = {"inner": function}
    exec(f"def node({names}):\n    return inner({names})", scope)
    scope["node"].__annotations__ = types
    return sc.node(scope["node"])


def inputs(seed: int, **types: Any) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [
        rng.random((T, *t.shape)) < 0.3 if t.format is sc.bool_ else rng.normal(size=(T, *t.shape))
        for t in types.values()
    ]


def agree(loss: Any, w: Any, target: str = "interp", seed: int = 0, **types: Any) -> None:
    """The sums of forward gradients are the reverse ones; so are those up to each tick."""
    w, given = f64(w), inputs(seed, **types)
    values, gradients = sc.compile(online(loss, w, **types), target=target).run(*given)
    for stop in (T, T // 2):
        rows = [
            np.concatenate([x[:stop], np.zeros((T - stop, *x.shape[1:]), x.dtype)]) for x in given
        ]
        short = sc.compile(
            through_time(_until(loss, stop), w, **types, at=sc.i32[()]), target=target
        )
        total, whole = short.step(*rows, np.arange(T, dtype=np.int32))
        np.testing.assert_allclose(values[:stop].sum(), total, rtol=1e-12)
        for mine, theirs in zip(flatten(gradients)[0], flatten(whole)[0], strict=True):
            np.testing.assert_allclose(mine[:stop].sum(0), theirs, rtol=1e-9, atol=1e-12)


def _until(loss: Any, stop: int) -> Any:
    """The loss of the first ticks; later ones count for nothing."""
    return lambda w, *args: sc.where(args[-1] < stop, loss(w, *args[:-1]), 0.0)


# Programs.


def leaky(w: Any, x: Any) -> Any:
    s = sc.state(0.25, format=sc.f64)
    s.next = sc.tanh(w["a"] * s + w["b"] * x)
    return sc.square(s.next - x) + w["b"] * s


def vector(w: Any, x: Any) -> Any:
    h = sc.state(np.zeros(3), format=sc.f64)
    h.next = sc.tanh(h @ w["u"] + x @ w["v"])
    return sc.sin(h.next * w["o"]).sum()


def layered(w: Any, x: Any) -> Any:
    """Two layers: the first knows nothing of the second's parameters."""
    low, high = sc.state(np.zeros(2), format=sc.f64), sc.state(np.zeros(3), format=sc.f64)
    low.next = sc.tanh(low @ w["a"] + x)
    high.next = sc.tanh(high * w["c"] + low.next @ w["b"])
    return sc.square(high.next).sum()


def swapped(w: Any, x: Any) -> Any:
    """States that read each other's old and new values; one that carries nothing."""
    p, q, count = sc.state(0.5, format=sc.f64), sc.state(-0.5, format=sc.f64), sc.state(0)
    count.next = count + 1
    p.next = q * w["a"] + x
    q.next = sc.sin(p * w["b"]) - p.next
    return p * q + sc.convert(count, sc.f64) * w["a"]


def computed_start(w: Any, x: Any) -> Any:
    """The initial value depends on the parameter."""
    s = sc.state(sc.exp(w["a"]) * x)
    s.next = s * w["b"] + x
    return sc.square(s.next)


def reset_state(w: Any, x: Any, r: Any) -> Any:
    s = sc.state(w["a"] * x, reset=r)
    s.next = sc.sin(s * w["b"] + x)
    t = sc.state(0.5, format=sc.f64, reset=r)
    t.next = t * w["a"] + s
    return t.next * s


def sampled(w: Any, x: Any, c: Any) -> Any:
    """A state on a clock of its own, that moves at some of the ticks only."""
    s = sc.state(0.25, format=sc.f64)
    s.next = s * sc.when(w["a"], c) + sc.when(x, c)
    return sc.square(sc.merge(c, s.next, sc.when(x, c, False))) * w["b"]


def inner_rows(w: Any, x: Any) -> Any:
    """A loop within the tick."""

    def cell(v: Any) -> Any:
        h = sc.state(0.0, format=sc.f64)
        h.next = sc.tanh(w["a"] * h + v)
        return h.next

    s = sc.state(np.zeros(3), format=sc.f64)
    s.next = sc.over_time(cell)(s * w["b"] + x)
    return s.next.sum()


AB = {"a": 0.7, "b": -0.4}
RNG = np.random.default_rng(1)
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "leaky": (leaky, AB, {"x": sc.f64[()]}),
    "vector": (vector, {"u": RNG.normal(size=(3, 3)), "v": RNG.normal(size=(2, 3)), "o": RNG.normal(size=3)}, {"x": sc.f64[2]}),
    "layered": (layered, {"a": RNG.normal(size=(2, 2)), "b": RNG.normal(size=(2, 3)), "c": RNG.normal(size=3)}, {"x": sc.f64[2]}),
    "swapped": (swapped, AB, {"x": sc.f64[()]}),
    "computed start": (computed_start, AB, {"x": sc.f64[()]}),
    "resets": (reset_state, AB, {"x": sc.f64[()], "r": sc.bool_[()]}),
    "held": (sampled, AB, {"x": sc.f64[()], "c": sc.bool_[()]}),
    "rows in the tick": (inner_rows, AB, {"x": sc.f64[3]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_back_propagation(name: str) -> None:
    loss, w, types = CASES[name]
    agree(loss, w, **types)


@pytest.mark.cc
@pytest.mark.parametrize("name", ["vector", "resets", "rows in the tick"])
def test_compiled_too(name: str) -> None:
    loss, w, types = CASES[name]
    node, given = online(loss, f64(w), **types), inputs(3, **types)
    one, two = (flatten(sc.compile(node, target=t).run(*given))[0] for t in ("interp", "c"))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gru_with_resets() -> None:
    gru = sc.learn.GRU(2, 3, format=sc.f64)
    w = {"cell": gru.init(key=1), "out": np.array([0.3, -0.2, 0.5])}

    def loss(w: Any, x: Any, r: Any) -> Any:
        return sc.square((gru(w["cell"], x, reset=r) * w["out"]).sum())

    agree(loss, w, x=sc.f64[2], r=sc.bool_[()])


@pytest.mark.parametrize("at", range(4))
def test_finite_differences_at_every_tick(at: int) -> None:
    """The gradient of one tick's value, with a reset at each position."""
    reset = np.zeros(4, bool)
    reset[at] = True
    x = np.array([0.5, -1.0, 0.25, 2.0])

    def run(a: float, b: float) -> tuple[Array, Any]:
        node = online(
            reset_state, {"a": np.float64(a), "b": np.float64(b)}, x=sc.f64[()], r=sc.bool_[()]
        )
        return sc.compile(node).run(x, reset)

    _, gradient = run(0.7, -0.4)
    eps = 1e-6
    for name, high, low in (
        ("a", (0.7 + eps, -0.4), (0.7 - eps, -0.4)),
        ("b", (0.7, -0.4 + eps), (0.7, -0.4 - eps)),
    ):
        wanted = (run(*high)[0] - run(*low)[0]) / (2 * eps)
        np.testing.assert_allclose(gradient[name], wanted, rtol=1e-6, atol=1e-8)


def test_an_instance_around_opens_the_segment() -> None:
    """A reset of what contains the gradient forgets the derivative with the state."""

    def loss(w: Any, x: Any) -> Any:
        s = sc.state(0.0, format=sc.f64)
        s.next = s * w + x
        return s.next

    @sc.node
    def cell(x: sc.f64) -> sc.f64:
        return sc.grad(loss, method="forward")(sc.constant(0.5, sc.f64), x)

    @sc.node
    def outer(x: sc.f64, r: sc.bool_) -> sc.f64:
        return cell(x, reset=r)

    x, r = np.ones(6), np.array([0, 0, 0, 1, 0, 0], bool)
    assert sc.compile(outer).run(x, r).tolist() == [0, 1, 2, 0, 1, 2]


def test_memory_does_not_grow_with_time_and_is_what_it_must_be() -> None:
    loss, w, types = CASES["vector"]
    program = sc.compile(online(loss, f64(w), **types))
    jacobians = {n: s.shape for n, s in program.state.items() if ".by." in n}
    assert sorted(jacobians.values()) == [(3, 6), (3, 9)]  # `o` is remembered by nobody


def test_what_knows_nothing_of_a_parameter_remembers_nothing_of_it() -> None:
    loss, w, types = CASES["layered"]
    state = sc.compile(online(loss, f64(w), **types)).state
    by = sorted((n.partition(".")[0], state[n].shape) for n in state if ".by." in n)
    assert by == [("high", (3, 3)), ("high", (3, 4)), ("high", (3, 6)), ("low", (2, 4))]


def test_without_memory_it_is_the_gradient() -> None:
    @sc.node
    def both(x: sc.f64) -> tuple[sc.f64, sc.f64]:
        f = lambda w, x: sc.sin(w * x)
        w = sc.constant(0.3, sc.f64)
        return sc.grad(f)(w, x), sc.grad(f, method="forward")(w, x)

    one, two = sc.compile(both).run(np.linspace(-1, 1, 5))
    np.testing.assert_array_equal(one, two)


@pytest.mark.cc
def test_a_learner_that_changes_at_every_tick() -> None:
    """Online: an echo of two ticks ago is learnt without a frame."""

    def loss(w: Any, x: Any, y: Any) -> Any:
        h = sc.state(np.zeros(4), format=sc.f64)
        h.next = sc.tanh(h @ w["u"] + x * w["v"])
        return sc.square((h.next * w["o"]).sum() - y)

    rng = np.random.default_rng(0)
    start = {
        "u": rng.normal(size=(4, 4)) * 0.4,
        "v": rng.normal(size=4),
        "o": rng.normal(size=4) * 0.1,
    }

    @sc.node
    def learner(x: sc.f64, y: sc.f64) -> sc.f64:
        w = sc.state(map_tree(lambda a: sc.constant(a, sc.f64), start))
        value, dw = sc.value_and_grad(loss, method="forward")(w, x, y)
        w.next = map_tree(lambda a, b: a - 0.05 * b, w, dw)
        return value

    x = rng.choice([-1.0, 1.0], size=3000)
    losses = sc.compile(learner, target="c").run(x, np.roll(x, 2))
    assert losses[-300:].mean() < 0.1 * losses[:300].mean()


# What is refused.


def test_look_ahead_and_frames_are_refused() -> None:
    def ahead(w: Any, x: Any) -> Any:
        return w * sc.post(x * w, 0.0)

    def framed(w: Any, x: Any) -> Any:
        with sc.frame(max=4):
            c = sc.costate(0.0)
            c.prev = w * c + x
            return c.prev

    for loss in (ahead, framed):
        with pytest.raises(SeicheError, match="SE701"):
            traced(
                lambda x, loss=loss: sc.grad(loss, method="forward")(sc.constant(0.5, sc.f32), x),
                x=sc.f32,
            ).trace()


def test_only_scalars_of_the_base_clock() -> None:
    with pytest.raises(SeicheError, match="SE702"):
        traced(lambda x: sc.grad(lambda w, x: w * x, method="forward")(0.5, x), x=sc.f32[3]).trace()


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(SeicheError, match="SE109"):
        traced(lambda x: sc.grad(lambda w: w, method="sideways")(x), x=sc.f32).trace()
