"""Derivatives: the dot-product test, finite differences and jax.grad, on bare nodes evaluated by the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from seiche.check.causality import check as causal
from seiche.diff import api
from seiche.diff.hoist import hoist
from seiche.diff.simplify import simplify
from seiche.errors import Loc, SeicheError
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import infer
from seiche.ir.core import Apply, Call, Equation, Fby, Frame, Lit, Node, Post, Scan, Var
from seiche.ir.op import OPS, NoGradient
from seiche.ir.parse import parse
from seiche.ir.text import show
from seiche.numbers.formats import Type, bool_, f32, f64, i32
from tests import agreement, oracle, programs

Arrays = list[np.ndarray]
REAL = f64[()]
HERE = Loc("test.py", 1)


# Programs by hand.


def given(name: str, type: Type) -> Var:
    return Var(name, type, HERE)


def let(b: Builder, var: Var, op: str, *args: Var, **params: object) -> Var:
    """Defines a Var that was read before."""
    b.eqs.append(Equation((var,), Apply(op, args, params)))
    return var


def times(b: Builder, w: Var, x: Var) -> Var:
    """w x of a matrix and a vector."""
    m, n = w.type.shape
    return b.reshape(b.matmul(w, b.reshape(x, shape=(n, 1))), shape=(m,))


def total(b: Builder, x: Var) -> Var:
    return b.sum(x, axes=tuple(range(len(x.type.shape))))


def over(
    b: Builder,
    body: Node,
    rows: Sequence[Var],
    fixed: Sequence[Var],
    kinds: str,
    length: Var | None = None,
) -> tuple[Var, ...]:
    """A scan of the mapped arguments `rows` and the constant ones; `kinds` such as "stack last"."""
    extent = rows[0].type.shape[0]
    outs = tuple(kinds.split())
    shapes = [
        (extent, *v.type.shape) if kind == "stack" else v.type.shape
        for v, kind in zip(body.outputs, outs)
    ]
    types = tuple(v.type.format[s] for v, s in zip(body.outputs, shapes))
    mapped = (True,) * len(rows) + (False,) * len(fixed)
    scan = Scan(body, (*rows, *fixed), mapped, outs, extent, length)
    return b.define_many(scan, types, tuple(f"y{i}" for i in range(len(outs))))


def rnn(clocked: bool = False) -> Node:
    """h = tanh(W hp + U x), hp = fby(h0, h) with a reset; held where `c` does not hold. The loss is |h|^2."""
    b = Builder(HERE)
    x, w, u, h0 = (
        given("x", f64[2]),
        given("w", f64[3, 3]),
        given("u", f64[3, 2]),
        given("h0", f64[3]),
    )
    r, c, h = given("r", bool_[()]), given("c", bool_[()]), given("h", f64[3])
    hp = b.fby(h0, h, r, "hp")
    new = b.tanh(b.add(times(b, w, hp), times(b, u, x)))
    if clocked:
        new = b.merge(c, b.when(new, c), b.when(hp, c, False))
    let(b, h, "sub", new, b.lit(0, new.type))
    return b.node("rnn", (x, w, u, h0, r, c), (total(b, b.square(h)),))


def gru() -> Node:
    """A cell of Cho et al. 2014 over rows: x; h0, w [3 gates], u, bias."""
    b = Builder(HERE)
    x, h0, h = given("x", f64[2]), given("h0", f64[3]), given("h", f64[3])
    ws = [given(f"w{i}", f64[3, 2]) for i in range(3)]
    us = [given(f"u{i}", f64[3, 3]) for i in range(3)]
    bias = given("bias", f64[3])
    hp = b.fby(h0, h, name="hp")
    z, r = (
        b.sigmoid(b.add(b.add(times(b, ws[i], x), times(b, us[i], hp)), bias)) for i in range(2)
    )
    n = b.tanh(b.add(times(b, ws[2], x), times(b, us[2], b.mul(r, hp))))
    let(b, h, "add", n, b.mul(z, b.sub(hp, n)))
    return b.node("gru", (x, h0, *ws, *us, bias), (h, total(b, b.sin(h))))


def gru_loss(n: int) -> Node:
    b, cell = Builder(HERE), gru()
    xs = given("xs", f64[n, 2])
    fixed = [given(v.name, v.type) for v in cell.inputs[1:]]
    hs, last = over(
        b, replace(cell, outputs=(cell.outputs[0], cell.outputs[1])), [xs], fixed, "stack last"
    )
    return b.node("loss", (xs, *fixed), (b.add(total(b, b.square(hs)), last),))


def everything(length: bool, inner_reset: bool) -> Node:
    """Scans in a scan, kinds of all sorts, samplings, a costate, closed-over weights used in several places."""
    b = Builder(HERE)
    x, w, h0, k, c = (
        given("x", REAL),
        given("w", f64[2]),
        given("h0", REAL),
        given("k", REAL),
        given("c", bool_[()]),
    )
    h, late = given("h", REAL), given("late", REAL)
    hp = b.fby(h0, h, c if inner_reset else None, "hp")
    on = b.mul(b.when(b.exp(hp), c), b.tanh(b.when(x, c)))
    new = b.merge(c, b.sub(on, b.fby(b.when(k, c), on)), b.when(b.mul(hp, k), c, False))
    let(b, h, "sin", b.add(new, b.index(w, b.lit(1, i32[()]), axis=0)))
    let(b, late, "mul", b.add(h, b.post(late, h0, c if inner_reset else None)), b.sigmoid(k))
    cell = b.node("inner", (x, w, h0, k, c), (h, late, h, hp))
    o = Builder(HERE)
    xs, y, w2, cs = given("xs", f64[4]), given("y", REAL), given("w", f64[2]), given("cs", bool_[4])
    k2, h1 = given("k", REAL), given("g0", REAL)
    gp = o.fby(y, h1, name="gp")
    hs, lates, h_last, first = _nested(o, cell, xs, cs, w2, gp, k2)
    let(
        o,
        h1,
        "tanh",
        o.add(o.mul(total(o, hs), k2), o.add(o.mul(h_last, first), total(o, o.square(lates)))),
    )
    body = o.node("outer", (xs, cs, y, w2, k2), (h1, gp))
    top = Builder(HERE)
    xss, css, y2, w3, k3 = (
        given("xss", f64[3, 4]),
        given("css", bool_[3, 4]),
        given("y", REAL),
        given("w", f64[2]),
        given("k", REAL),
    )
    n = given("n", i32[()])
    gs, g = over(top, body, [xss, css], [y2, w3, k3], "stack last", n if length else None)
    loss = top.add(top.add(total(top, top.square(gs)), g), top.mul(k3, total(top, w3)))
    return top.node("everything", (xss, y2, w3, k3, css, n), (loss,))


def _nested(o: Builder, cell: Node, xs: Var, cs: Var, w: Var, h0: Var, k: Var) -> tuple[Var, ...]:
    scan = Scan(
        cell,
        (xs, w, h0, k, cs),
        (True, False, False, False, True),
        ("stack", "stack", "last", "first"),
        4,
    )
    return o.define_many(scan, (f64[4], f64[4], REAL, REAL), ("hs", "lates", "last", "first"))


def framed() -> Node:
    """A frame with a parameter from the slow clock, carried from frame to frame, and results of every kind."""
    b = Builder(HERE)
    x, w = given("x", REAL), given("w", f64[2])
    h, ahead = given("h", REAL), given("ahead", REAL)
    w0, w1 = (b.index(w, b.lit(i, i32[()]), axis=0) for i in range(2))
    let(b, h, "tanh", b.add(b.mul(w0, b.fby(w1, h)), x))
    let(b, ahead, "mul", b.add(h, b.post(ahead, x)), w1)
    body = b.node("body", (x, w), (ahead, h, ahead, b.sin(h)))
    t = Builder(HERE)
    x, w, until = given("x", REAL), given("w", f64[2]), given("until", bool_[()])
    slow = given("slow", f64[2])
    was = t.fby(t.when(w, until), slow)
    frame = Frame(body, (x, was), (True, False), ("stream", "last", "first", "stack"), 5, until)
    types = (REAL, REAL, REAL, f64[5])
    stream, last, first, stack = t.define_many(frame, types, ("stream", "last", "first", "stack"))
    let(
        t,
        slow,
        "sub",
        was,
        t.broadcast(t.reshape(t.mul(last, total(t, t.square(stack))), shape=(1,)), shape=(2,)),
    )
    once = t.merge(until, t.add(first, last), t.when(t.square(x), until, False))
    return t.node("framed", (x, w, until), (t.add(t.square(stream), once),))


# Evaluation.


def draw(node: Node, ticks: int, seed: int = 0, rows: int = 4) -> Arrays:
    """Inputs: normal draws times a half; booleans at 0.4, the last tick's true; integers 1..rows."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = []
    for v in node.inputs:
        shape = (ticks, *v.type.shape)
        if v.type.format.is_float:
            arrays.append((rng.normal(size=shape) * 0.5).astype(v.type.format.dtype))
        elif v.type.format is bool_:
            arrays.append(rng.random(shape) < 0.4)
            arrays[-1][-1] = True
        else:
            arrays.append(rng.integers(1, rows, shape).astype(v.type.format.dtype))
    return arrays


def run(node: Node, arrays: Arrays) -> Arrays:
    return [values for _, values in oracle.evaluate(node, arrays)]


def dot(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(x.astype(float) * y) for x, y in zip(xs, ys, strict=True)))


def real_inputs(node: Node) -> tuple[int, ...]:
    return tuple(i for i, v in enumerate(node.inputs) if v.type.format.is_float)


def moved(arrays: Arrays, wrt: Sequence[int], along: Arrays, by: float) -> Arrays:
    shifted = list(arrays)
    for i, d in zip(wrt, along, strict=True):
        shifted[i] = arrays[i] + by * d
    return shifted


def slope(
    node: Node, arrays: Arrays, wrt: Sequence[int], along: Arrays, seeds: Arrays, eps: float = 1e-5
) -> float:
    """d <f(arrays + s along), seeds> / ds by central differences of the real outputs."""
    ends = [run(node, moved(arrays, wrt, along, s * eps)) for s in (1, -1)]
    real = [k for k, v in enumerate(node.outputs) if v.type.format.is_float]
    high, low = (dot([end[k] for k in real], seeds) for end in ends)
    return (high - low) / (2 * eps)


def full_seeds(node: Node, arrays: Arrays, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Cotangents at every tick, as inputs; and at the ticks where each real output is present."""
    ticks = len(arrays[0])
    given, present = [], []
    for out, (there, _) in zip(node.outputs, oracle.evaluate(node, arrays), strict=True):
        if out.type.format.is_float:
            given.append(rng.normal(size=(ticks, *out.type.shape)))
            present.append(given[-1][there])
    return given, present


def check_derivatives(
    node: Node, arrays: Arrays, wrt: Sequence[int] | None = None, tolerance: float = 1e-6
) -> None:
    """Both modes against finite differences and each other; the primal results keep their bits."""
    rng = np.random.default_rng(7)
    wrt = real_inputs(node) if wrt is None else tuple(wrt)
    along = [rng.normal(size=arrays[i].shape) for i in wrt]
    given, present = full_seeds(node, arrays, rng)
    wanted = slope(node, arrays, wrt, along, present)
    primal, count = run(node, arrays), len(node.outputs)
    pulled = run(api.value_and_vjp(node, wrt), [*arrays, *given])
    pushed = run(api.jvp(node, wrt), [*arrays, *along])
    for out in (pulled, pushed):
        for a, b in zip(out[:count], primal, strict=True):
            np.testing.assert_array_equal(a, b)
    scale = max(1.0, abs(wanted))
    assert abs(dot(pulled[count:], along) - wanted) <= tolerance * scale
    assert abs(dot(pushed[count:], present) - dot(pulled[count:], along)) <= 1e-9 * scale


def lowered_agrees(node: Node, seed: int = 0) -> None:
    """The gradient is a program: lowered and interpreted it has the oracle's bits."""
    agreement.agree(node, draw(node, 3, seed))


def posts(node: Node) -> int:
    return sum(isinstance(eq.rhs, Post) for each in core.walk(node) for eq in each.eqs)


# Gradients.


@pytest.mark.parametrize("opening", range(6))
@pytest.mark.parametrize("clocked", [False, True])
def test_a_reset_at_every_position(opening: int, clocked: bool) -> None:
    node = rnn(clocked)
    arrays = draw(node, 5, seed=opening)
    arrays[4][:] = False
    arrays[4][opening : opening + 1] = True
    check_derivatives(node, arrays)


def _jax_rnn(x, w, u, h0, reset, clock):
    import jax.numpy as jnp

    h, loss = h0[0], 0.0
    for t in range(len(x)):
        hp = h0[t] if reset[t] or t == 0 else h
        h = jnp.tanh(w[t] @ hp + u[t] @ x[t])
        h = h if clock is None or clock[t] else hp
        loss += (h**2).sum()
    return loss


@pytest.mark.parametrize("clocked", [False, True])
def test_backpropagation_through_time_is_that_of_jax(clocked: bool) -> None:
    jax = pytest.importorskip("jax")
    node = rnn(clocked)
    arrays = draw(node, 6, seed=3)
    grads = run(api.grad(node, (0, 1, 2, 3)), arrays)
    with jax.enable_x64(True):
        clock = arrays[5] if clocked else None
        wanted = jax.grad(_jax_rnn, (0, 1, 2, 3))(*arrays[:5], clock)
    for a, b in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_costate_is_transposed_to_a_state() -> None:
    """Generalised advantage estimation (Schulman et al. 2016): a backward recurrence, closed by `done`."""
    b = Builder(HERE)
    reward, value, opens, gamma = (
        given("r", REAL),
        given("v", REAL),
        given("opens", bool_[()]),
        given("gamma", REAL),
    )
    zero, ahead = b.lit(0, REAL), given("ahead", REAL)
    delta = b.sub(b.add(reward, b.mul(gamma, b.post(value, zero, opens))), value)
    let(b, ahead, "add", delta, b.mul(gamma, b.post(ahead, zero, opens)))
    node = b.node("gae", (reward, value, gamma, opens), (ahead,))
    for seed in range(4):
        check_derivatives(node, draw(node, 6, seed))
    both = api.value_and_vjp(node, (0, 1, 2))
    assert any(isinstance(eq.rhs, Fby) for eq in both.eqs)
    # Forward mode of a backward program sweeps backward only.
    assert not any(isinstance(eq.rhs, Fby) for eq in api.jvp(node, (0, 1, 2)).eqs)


def test_gradient_of_a_gru_over_rows_is_that_of_jax() -> None:
    jax = pytest.importorskip("jax")
    node = gru_loss(5)
    arrays = draw(node, 1, seed=5)

    def loss(xs, h, w0, w1, w2, u0, u1, u2, bias):
        jnp = jax.numpy

        def cell(h, x):
            z, r = (jax.nn.sigmoid(w @ x + u @ h + bias) for w, u in ((w0, u0), (w1, u1)))
            n = jnp.tanh(w2 @ x + u2 @ (r * h))
            h = n + z * (h - n)
            return h, h

        last, hs = jax.lax.scan(cell, h, xs)
        return (hs**2).sum() + jnp.sin(last).sum()

    grads = run(api.grad(node, range(9)), arrays)
    with jax.enable_x64(True):
        wanted = jax.grad(loss, range(9))(*(a[0] for a in arrays))
    for a, b in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_scans_in_scans(length: bool, reset: bool) -> None:
    node = everything(length, reset)
    for seed in range(3):
        check_derivatives(node, draw(node, 2, seed))


@pytest.mark.parametrize("seed", range(4))
def test_frames_with_parameters_on_the_slow_clock(seed: int) -> None:
    node = framed()
    arrays = draw(node, 9, seed)
    arrays[2][4] = True
    check_derivatives(node, arrays)


def test_rows_beyond_the_length_take_no_part() -> None:
    node = everything(length=True, inner_reset=False)
    arrays = draw(node, 1)
    arrays[5][:] = 2
    arrays[0][:, 2:] = np.nan
    (gradient, *_) = run(api.grad(node, (0,)), arrays)
    assert np.all(gradient[:, 2:] == 0) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    "make", [lambda: gru_loss(3), lambda: everything(True, True)], ids=["gru", "nested"]
)
def test_gradients_are_lowered_and_run(make: Callable[[], Node]) -> None:
    node = make()
    wrt = real_inputs(node)
    for each in (
        api.value_and_grad(node, wrt),
        api.jvp(node, wrt),
        api.grad(_second(node, wrt), wrt),
    ):
        lowered_agrees(each)


def _second(node: Node, wrt: Sequence[int]) -> Node:
    """The squares of a gradient, as a program."""
    b = Builder(HERE)
    gradients = b.inline(api.grad(node, wrt), node.inputs)
    parts = [total(b, b.square(g)) for g in gradients]
    loss = parts[0]
    for part in parts[1:]:
        loss = b.add(loss, part)
    return b.node("second", node.inputs, (loss,))


@pytest.mark.parametrize(
    "make",
    [rnn, lambda: rnn(True), lambda: gru_loss(3), lambda: everything(True, True), framed],
    ids=range(5),
)
def test_gradients_of_gradients(make: Callable[[], Node]) -> None:
    node = make()
    second = _second(node, real_inputs(node))
    arrays = draw(node, 5 if node.name in ("rnn", "framed") else 1, seed=2)
    check_derivatives(second, arrays, tolerance=1e-5)


def test_a_hessian_is_that_of_jax() -> None:
    jax = pytest.importorskip("jax")
    b = Builder(HERE)
    x = given("x", f64[4])
    node = b.node(
        "f", (x,), (total(b, b.mul(b.sin(x), b.exp(b.cumsum(x, axis=0, reverse=False)))),)
    )
    hessian = api.jvp(api.grad(node), (0,))
    at = np.array([0.3, -0.2, 0.5, 0.1])
    rows = run(hessian, [np.tile(at, (4, 1)), np.eye(4)])[1]
    with jax.enable_x64(True):
        wanted = jax.hessian(
            lambda x: (jax.numpy.sin(x) * jax.numpy.exp(jax.numpy.cumsum(x))).sum()
        )(at)
    np.testing.assert_allclose(rows, wanted, rtol=1e-12)


def _random(seed: int) -> Node:
    for attempt in range(20):
        rng = np.random.default_rng((seed, attempt))
        types = [REAL, f64[3], bool_[()], i32[()], bool_[()], REAL]
        node = programs.grow(rng, types, int(rng.integers(8, 50)), f64, 2, False)
        if not causal(node, "node", infer(node))[1] and any(
            v.type.format.is_float for v in node.outputs
        ):
            return node
    raise AssertionError(seed)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    """The dot-product test always; finite differences where two steps agree on what is finite (there are steps and kinks)."""
    node = _random(seed)
    rng = np.random.default_rng(seed)
    arrays = [a if a.dtype.kind != "f" else rng.normal(size=a.shape) for a in draw(node, 6, seed)]
    wrt = real_inputs(node)
    along = [rng.normal(size=arrays[i].shape) for i in wrt]
    try:
        given, present = full_seeds(node, arrays, rng)
        with np.errstate(all="ignore"):
            wanted, again = (slope(node, arrays, wrt, along, present, eps) for eps in (1e-6, 3e-7))
    except oracle.Failed:
        pytest.skip("a frame overflows")
    count = len(node.outputs)
    with np.errstate(all="ignore"):
        pulled = run(api.value_and_vjp(node, wrt), [*arrays, *given])
        pushed = run(api.jvp(node, wrt), [*arrays, *along])
        down, up = dot(pushed[count:], present), dot(pulled[count:], along)
    for a, b in zip(pulled[:count], run(node, arrays), strict=True):
        np.testing.assert_array_equal(a, b)
    if not np.isfinite([down, up]).all():
        pytest.skip("not finite")
    assert abs(down - up) <= 1e-8 * max(1.0, abs(up))
    if np.isfinite(wanted) and abs(wanted - again) <= 1e-4 * max(1.0, abs(wanted)):
        assert abs(up - wanted) <= 1e-3 * max(1.0, abs(wanted))


@pytest.mark.parametrize("name", sorted(OPS))
def test_both_modes_agree_on_every_op(name: str) -> None:
    """One rule per op: transposed twice it is the forward derivative, <J x, y> = <x, J' y>."""
    record = OPS[name]
    for k, sample in enumerate(record.samples):
        inputs = tuple(Var(f"x{i}", t) for i, t in enumerate(sample.types))
        b = Builder(HERE)
        out = b.apply(name, *inputs, **sample.params)
        node = b.node(name, inputs, (out,))
        wrt = real_inputs(node)
        if (
            not wrt
            or not out.type.format.is_float
            or not all(v.type.format.exact for v in (*inputs, out))
        ):
            continue
        rng = np.random.default_rng(k)
        arrays = [_moderate(a, v.type) for a, v in zip(draw(node, 1, k), inputs)]
        x = [rng.normal(size=arrays[i].shape).astype(arrays[i].dtype) for i in wrt]
        y = rng.normal(size=(1, *out.type.shape)).astype(out.type.format.dtype)
        down = dot(run(api.jvp(node, wrt), [*arrays, *x])[1:], [y])
        up = dot(run(api.vjp(node, wrt), [*arrays, y]), x)
        assert down == pytest.approx(up, rel=2e-3, abs=2e-3), (name, k)


def _moderate(array: np.ndarray, type: Type) -> np.ndarray:
    """Square matrices become positive definite, vectors and scalars lie in (0, 1)."""
    if not type.format.is_float:
        return array
    array = 0.25 + 0.5 * np.abs(np.tanh(array))
    if len(type.shape) >= 2 and type.shape[-1] == type.shape[-2]:
        array = array + np.swapaxes(array, -1, -2) + 4 * np.eye(type.shape[-1])
    return array.astype(type.format.dtype)


# What has no derivative.


def test_what_does_not_matter_gets_zeros() -> None:
    b = Builder(HERE)
    x, unused, steps = given("x", f64[2]), given("unused", f64[3]), given("steps", f64[2])
    stopped = b.stop_gradient(x)
    loss = total(b, b.add(b.mul(x, stopped), b.floor(steps)))
    node = b.node("f", (x, unused, steps), (loss,))
    arrays = draw(node, 2)
    gradients = run(api.grad(node, (0, 1, 2)), arrays)
    np.testing.assert_array_equal(gradients[0], arrays[0])
    assert not gradients[1].any() and not gradients[2].any()
    # Nothing is built for them: a zero, and what makes the loss is dead.
    assert len(api.grad(node, (1,)).eqs) <= 2


def test_a_missing_derivative_names_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(Loc("model.py", 7))
    x = given("x", REAL)
    node = b.node("f", (x,), (b.mul(b.erfc(x), x),))
    api.grad(node)
    monkeypatch.setitem(
        OPS, "erfc", replace(OPS["erfc"], vjp=NoGradient("nobody wrote it", zero=False))
    )
    with pytest.raises(SeicheError, match="`erfc` has no derivative") as caught:
        api.grad(node)
    assert caught.value.code == "SE701" and caught.value.diagnostics[0].where.line == 7
    b = Builder(HERE)
    fine = b.node("f", (x,), (b.mul(b.stop_gradient(b.erfc(x)), x),))
    assert run(api.grad(fine), [np.ones(1)])[0] == pytest.approx(0.15729920705028513)


def test_only_real_scalars_have_gradients() -> None:
    b = Builder(HERE)
    x, k = given("x", f64[2]), given("k", i32[()])
    node = b.node("f", (x, k), (b.square(x), k, total(b, x)))
    for output in (0, 1):
        with pytest.raises(SeicheError) as caught:
            api.value_and_grad(node, (0,), output)
        assert caught.value.code == "SE702"
    with pytest.raises(SeicheError) as caught:
        api.value_and_grad(node, (1,), 2)
    assert caught.value.code == "SE701"
    assert len(api.value_and_grad(node, (0,), 2).outputs) == 4


# Derivatives that the user gives.


def straight_through(wrong: bool = False) -> Call:
    """floor with the derivative of the identity, doubled so that it is seen."""
    b = Builder(HERE)
    x, k = given("x", f64[2]), given("k", i32[()])
    body = b.node("step", (x, k), (b.floor(x), k))
    v = Builder(HERE)
    x, k, ct, ct_k = (
        given("x", f64[2]),
        given("k", i32[()]),
        given("ct", f64[2]),
        given("ct_k", i32[()]),
    )
    back = v.mul(v.add(ct, ct), x)
    return Call(body, (), v.node("step'", (x, k, ct, ct_k), (back, k) if wrong else (back,)))


def calling(call: Call) -> Node:
    b = Builder(HERE)
    x, k = given("x", f64[2]), given("k", i32[()])
    y, _ = b.define_many(replace(call, args=(b.sin(x), k)), (f64[2], i32[()]), ("y", "k"))
    return b.node("f", (x, k), (total(b, b.square(y)),))


def test_a_custom_derivative_is_used() -> None:
    node = calling(straight_through())
    arrays = draw(node, 2, seed=1)
    (gradient,) = run(api.grad(node), arrays)
    x = arrays[0]
    np.testing.assert_allclose(gradient, 2 * 2 * np.floor(np.sin(x)) * np.sin(x) * np.cos(x))
    # It is a program: its gradient is that of its equations, the floor a constant.
    second = run(api.grad(_second(node, (0,))), arrays)[0]
    g, dg = 2 * np.floor(np.sin(x)) * np.sin(2 * x), 4 * np.floor(np.sin(x)) * np.cos(2 * x)
    extra = 2 * np.sin(x) * np.cos(x) * 2 * 2 * np.sin(x) * np.cos(x)
    np.testing.assert_allclose(second, 2 * g * (dg + extra), rtol=1e-12)


def test_a_custom_derivative_must_fit() -> None:
    with pytest.raises(SeicheError, match="the derivative `step'` of `step` gives") as caught:
        api.grad(calling(straight_through(wrong=True)))
    assert caught.value.code == "SE703"


def test_a_call_without_a_derivative_is_seen_through() -> None:
    b = Builder(HERE)
    x = given("x", REAL)
    inner = b.node("inner", (x,), (b.sin(x), b.square(x)))
    t = Builder(HERE)
    x = given("x", REAL)
    a, c = t.define_many(Call(inner, (x,)), (REAL, REAL), ("a", "c"))
    node = t.node("f", (x,), (t.mul(a, c),))
    check_derivatives(node, draw(node, 1))


# The shape of what comes out.


def test_forward_derivatives_leave_no_backward_sweep() -> None:
    for node in (rnn(), rnn(True), gru_loss(4)):
        pushed = api.jvp(node, real_inputs(node))
        assert posts(pushed) == 0
        scans = [eq for eq in pushed.eqs if isinstance(eq.rhs, Scan)]
        assert len(scans) == sum(isinstance(eq.rhs, Scan) for eq in node.eqs)
        # Dual numbers in one scan: nothing is stacked but what the program stacks.
        assert sum(eq.rhs.outs.count("stack") for eq in scans) <= 2


def test_the_forward_scan_is_not_run_twice() -> None:
    both = api.value_and_grad(gru_loss(4), range(9))
    forward, backward = (eq for eq in both.eqs if isinstance(eq.rhs, Scan))
    assert posts(forward.rhs.body) == 0
    tanhs = [
        eq
        for each in core.walk(both)
        for eq in each.eqs
        if isinstance(eq.rhs, Apply) and eq.rhs.op == "tanh"
    ]
    assert len(tanhs) == 1
    # The tape: hp, z, r, n and h, which is stacked anyway (cos for the loss of the last row is one more).
    assert sum(kind == "stack" for kind in forward.rhs.outs) <= 6
    # Weights are summed in the backward sweep, and leave at its end.
    assert backward.rhs.outs.count("first") == 8 and backward.rhs.outs.count("stack") == 1


def test_what_is_not_asked_for_is_not_taped() -> None:
    """The gradient by the bias of a linear recurrence needs nothing of the forward rows."""
    b = Builder(HERE)
    x, bias, h = given("x", REAL), given("bias", REAL), given("h", REAL)
    let(b, h, "add", b.mul(b.lit(0.5, REAL), b.fby(b.lit(0, REAL), h)), b.add(b.tanh(x), bias))
    body = b.node("body", (x, bias), (h,))
    t = Builder(HERE)
    xs, bias = given("xs", f64[6]), given("bias", REAL)
    (last,) = over(t, body, [xs], [bias], "last")
    node = t.node("f", (xs, bias), (last,))
    grads = api.value_and_grad(node, (1,))
    forward, backward = (eq for eq in grads.eqs if isinstance(eq.rhs, Scan))
    assert forward.rhs.outs == ("last",)
    assert not any(backward.rhs.mapped)


def test_invariants_of_a_scan_are_hoisted() -> None:
    b = Builder(HERE)
    x, w = given("x", f64[2]), given("w", f64[2, 2])
    body = b.node("body", (x, w), (times(b, b.exp(w), x),))
    t = Builder(HERE)
    xs, w = given("xs", f64[3, 2]), given("w", f64[2, 2])
    (ys,) = over(t, body, [xs], [w], "stack")
    node = t.node("f", (xs, w), (total(t, t.square(ys)),))
    moved = hoist(node)
    assert next(eq.rhs.op for eq in moved.eqs if isinstance(eq.rhs, Apply)) == "exp"
    arrays = draw(node, 1)
    np.testing.assert_array_equal(run(node, arrays)[0], run(moved, arrays)[0])
    check_derivatives(node, arrays)


@pytest.mark.parametrize("seed", range(20))
def test_simplification_keeps_every_bit(seed: int) -> None:
    node = programs.random_program(seed)
    arrays = programs.random_inputs(node, seed, 5)
    try:
        wanted = oracle.evaluate(node, arrays)
    except oracle.Failed:
        pytest.skip("a check fails")
    for (there, a), (too, c) in zip(wanted, oracle.evaluate(simplify(node), arrays), strict=True):
        np.testing.assert_array_equal(there, too)
        assert a.tobytes() == c.tobytes() or np.isnan(a.astype(float)).any()


def test_results_are_programs_of_their_own() -> None:
    """Fresh Vars, printable, and the same text each time."""
    node = everything(True, True)
    made = api.value_and_grad(node, (0, 1))
    mine = {v for each in core.walk(node) for eq in each.eqs for v in eq.outs}
    assert not mine & {v for each in core.walk(made) for eq in each.eqs for v in eq.outs}
    text = show(made)
    assert show(parse(text)) == text
    assert show(api.value_and_grad(node, (0, 1))) == text
    assert not any(
        isinstance(eq.rhs, Lit) and eq.rhs.value.size > 1 and not eq.rhs.value.any()
        for eq in made.eqs
    )


def test_float32_gradients_stay_in_float32() -> None:
    b = Builder(HERE)
    x, w, h = given("x", f32[()]), given("w", f32[()]), given("h", f32[()])
    let(b, h, "tanh", b.add(b.mul(w, b.fby(b.lit(0, f32[()]), h)), x))
    node = b.node("f", (x, w), (b.square(h),))
    for out in api.value_and_grad(node, (0, 1)).outputs:
        assert out.type == f32[()]
