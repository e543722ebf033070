"""Derivatives on the surface: trees, argnums, aux, closures, through memory, frames, clocks, automata and scans; twice;
jax.grad of the same function is the judge, 1e-5 relative in f32 and 1e-10 in f64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import seiche as sc
from seiche.ir.tree import flatten, map_tree
from tests.lang import compiled, only

jax = pytest.importorskip("jax")
jnp = jax.numpy
jax.config.update("jax_enable_x64", True)

FORMATS = pytest.mark.parametrize(("format", "rtol"), [(sc.f32, 1e-5), (sc.f64, 1e-10)], ids=str)


def grad(function, *args, **kwargs):
    return jax.jit(jax.grad(function, *args, **kwargs))


def value_and_grad(function, *args, **kwargs):
    return jax.jit(jax.value_and_grad(function, *args, **kwargs))


def draw(format, seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(format.dtype)


def step(function, *args):
    """One tick, on trees of arrays."""
    types = [
        map_tree(
            lambda a: (
                sc.f64 if a.dtype == np.float64 else sc.f32 if a.dtype.kind == "f" else sc.i32
            )[a.shape],
            x,
        )
        for x in args
    ]
    scope = {"function": function}
    names = ", ".join(f"x{i}" for i in range(len(args)))
    exec(f"def node({names}): return function({names})", scope)
    return sc.compile(sc.node(scope["node"]), *types).step(*args)


def close(got, want, rtol):
    ours, form = flatten(got)
    theirs = form.leaves_of(map_tree(np.asarray, want))
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            a, b, rtol=rtol * 10, atol=rtol * max(1.0, float(np.abs(b).max(initial=0)))
        )


def mlp(np_, p, x):
    for layer in p["layers"][:-1]:
        x = np_.tanh(x @ layer["w"] + layer["b"])
    last = p["layers"][-1]
    return x @ last["w"] + last["b"]


def parameters(format):
    sizes = [(3, 4), (4, 4), (4, 2)]
    return {
        "layers": [
            {"w": draw(format, i, *s), "b": draw(format, i + 9, s[1])} for i, s in enumerate(sizes)
        ]
    }


@FORMATS
def test_a_network_of_trees(format, rtol):
    p, x, y = parameters(format), draw(format, 1, 5, 3), draw(format, 2, 5, 2)

    def loss(np_):
        return lambda p, x, y: np_.mean((mlp(np_, p, x) - y) ** 2)

    close(step(sc.value_and_grad(loss(sc)), p, x, y), value_and_grad(loss(jnp))(p, x, y), rtol)
    close(
        step(sc.grad(loss(sc), argnums=(2, 0)), p, x, y),
        grad(loss(jnp), argnums=(2, 0))(p, x, y),
        rtol,
    )
    close(step(sc.grad(loss(sc), argnums=-2), p, x, y), grad(loss(jnp), argnums=1)(p, x, y), rtol)


def test_aux_and_closed_over_parameters(format=sc.f64, rtol=1e-10):
    p, x = parameters(format), draw(format, 3, 3)

    def model(np_, p, x):
        scale = np_.sum(p["layers"][0]["b"] ** 2)

        def inner(x):
            out = mlp(np_, p, x) * scale
            return np_.sum(np_.sin(out)), {"out": out, "n": out[0]}

        return inner

    ours = lambda p, x: sc.value_and_grad(model(sc, p, x), has_aux=True)(x)
    close(step(ours, p, x), value_and_grad(model(jnp, p, x), has_aux=True)(x), rtol)
    # The derivative by what is closed over, through the derivative.
    both = lambda np_, grad: lambda p, x: np_.sum(grad(lambda z: model(np_, p, x)(z)[0])(x) ** 2)
    close(step(sc.grad(both(sc, sc.grad)), p, x), grad(both(jnp, jax.grad))(p, x), rtol)
    gradient, aux = step(lambda p, x: sc.grad(model(sc, p, x), has_aux=True)(x), p, x)
    close((gradient, aux), grad(model(jnp, p, x), has_aux=True)(x), rtol)


@dataclass
class Two:
    a: sc.f32[3]
    b: sc.f32


def test_the_gradient_has_the_form_of_the_argument():
    @sc.node
    def f(p: Two) -> Two:
        return sc.grad(lambda q: (q.a * q.a).sum() * q.b)(p)

    got = sc.compile(f).step(Two(np.array([1, 2, 3], np.float32), np.float32(2)))
    assert isinstance(got, Two) and got.a.tolist() == [4, 8, 12] and got.b == 14


FUNCTIONS = {
    "arithmetic": lambda n: lambda x: n.sum(x * x / (1 + x * x) - 3 * x**3 + n.exp(-x) + abs(x)),
    "softmax": lambda n: lambda x: n.sum(n.log(n.exp(x[0]) / n.sum(n.exp(x[0]))) * x[1]),
    "max": lambda n: lambda x: n.max(n.maximum(x, 0.1) * n.minimum(x, 2.0)),
    "indices": lambda n: lambda x: n.sum(x[::-1, 1:] * x[:, :-1] + x[1, None, 1:]) + x[0, -1],
    "products": lambda n: lambda x: n.sum(n.tanh(x @ x.T) @ x) + n.einsum("ij,kj->", x, x),
    "shapes": lambda n: (
        lambda x: (
            n.sum(n.concatenate([x, 2 * x], 1).reshape(-1)[3:] ** 2) + n.sum(n.stack([x, x])[1])
        )
    ),
    "cumulative": lambda n: (
        lambda x: n.sum(n.cumsum(x, 1) * x) + n.sum(n.sort(x, 1)[:, :2]) + n.prod(x[0])
    ),
    "where": lambda n: (
        lambda x: n.sum(n.where(x > 0, n.sin(x), n.cos(x))) + n.mean(x) + n.sum(n.std(x, 0))
    ),
}


@FORMATS
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_once_and_twice(format, rtol, name):
    x = draw(format, 7, 3, 4)
    ours, theirs = FUNCTIONS[name](sc), FUNCTIONS[name](jnp)
    close(step(sc.grad(ours), x), grad(theirs)(x), rtol)
    if format is sc.f64:
        second = lambda grad, f, np_: lambda x: np_.sum(np_.sin(grad(f)(x)) * x)
        close(
            step(sc.grad(second(sc.grad, ours, sc)), x),
            grad(second(jax.grad, theirs, jnp))(x),
            rtol,
        )


@FORMATS
def test_vjp_and_jvp(format, rtol):
    w, x, ct, dw = (
        draw(format, 1, 3, 2),
        draw(format, 2, 3),
        draw(format, 3, 2),
        draw(format, 4, 3, 2),
    )

    def f(np_):
        return lambda w, x: {"y": np_.tanh(x @ w), "s": np_.sum(x)}

    def pulled(w, x, ct):
        value, pull = sc.vjp(f(sc), w, x)
        return value, pull({"y": ct, "s": 2.0})

    value, pull = jax.vjp(f(jnp), w, x)
    close(
        step(pulled, w, x, ct), (value, pull({"y": ct, "s": jnp.asarray(2.0, format.dtype)})), rtol
    )
    close(
        step(lambda w, x, dw: sc.jvp(f(sc), (w, x), (dw, 2 * x)), w, x, dw),
        jax.jvp(f(jnp), (w, x), (dw, 2 * x)),
        rtol,
    )


def test_vjp_and_jvp_beside_integers():
    x, i = draw(sc.f32, 1, 3), np.array([0, 2], np.int32)

    def f(x, i):
        value, pull = sc.vjp(lambda x, i: (x[i], i + 1), x, i)
        first, second = pull((sc.ones(2), 0))
        assert second is None
        (y, n), (dy, dn) = sc.jvp(lambda x, i: (x[i], i + 1), (x, i), (x, None))
        assert dn is None
        return value, first, y, n, dy

    value, first, y, n, dy = step(f, x, i)
    assert value[0].tolist() == y.tolist() == x[i].tolist()
    assert first.tolist() == [1, 0, 1] and dy.tolist() == x[i].tolist() and n.tolist() == [1, 3]


def test_stop_gradient():
    got = step(
        sc.grad(lambda x: sc.stop_gradient(x) * x + sc.stop_gradient(x * x)), draw(sc.f32, 1)
    )
    assert got == draw(sc.f32, 1)


def test_custom_vjp():
    rounded = sc.custom_vjp(
        lambda p: sc.round(p["x"]) + p["y"], lambda p, ct: ({"x": ct, "y": 10 * ct},)
    )
    got = step(
        sc.grad(lambda p: rounded(p) * rounded(p)), {"x": draw(sc.f32, 1), "y": draw(sc.f32, 2)}
    )
    value = 2 * (np.round(draw(sc.f32, 1)) + draw(sc.f32, 2))
    np.testing.assert_allclose([got["x"], got["y"]], [value, 10 * value], rtol=1e-5)
    pair = sc.custom_vjp(
        lambda x, i: (x * i.to(sc.f32), x), lambda x, i, ct: (ct[0] * 100 + ct[1],)
    )
    assert step(sc.grad(lambda x, i: sum(pair(x, i))), np.float32(3), np.int32(2)) == 101


CELL = {"w": (4, 4), "u": (2, 4), "b": (4,)}


def cell_parameters(format):
    return {k: draw(format, i, *s) / 2 for i, (k, s) in enumerate(CELL.items())}


@FORMATS
def test_backpropagation_through_scanned_memory(format, rtol):
    """over_time of a cell with a state; the first state and the parameters are differentiated as well; twice."""
    p, xs, h = cell_parameters(format), draw(format, 5, 6, 2), draw(format, 6, 4)

    def ours(p, xs, h0):
        def cell(x):
            h = sc.state(h0)
            h.next = sc.tanh(h @ p["w"] + x @ p["u"] + p["b"])
            return h.next

        return sc.sum(sc.over_time(cell)(xs) ** 3)

    def theirs(p, xs, h0):
        total, h = 0.0, h0
        for x in xs:
            h = jnp.tanh(h @ p["w"] + x @ p["u"] + p["b"])
            total = total + jnp.sum(h**3)
        return total

    close(
        step(sc.value_and_grad(ours, (0, 1, 2)), p, xs, h),
        value_and_grad(theirs, (0, 1, 2))(p, xs, h),
        rtol,
    )
    if format is sc.f64:
        twice = lambda np_, grad, f: (
            lambda p, xs, h: sum(np_.sum(g * g) for g in grad(f)(p, xs, h).values())
        )
        close(
            step(sc.grad(twice(sc, sc.grad, ours)), p, xs, h),
            grad(twice(jnp, jax.grad, theirs))(p, xs, h),
            rtol,
        )


@FORMATS
@pytest.mark.parametrize("at", [None, 0, 2, 5])
def test_resets_cut_the_gradient(format, rtol, at):
    xs, w = draw(format, 5, 6), draw(format, 1)
    r = np.arange(6) == (-1 if at is None else at)

    def ours(w, xs):
        @sc.node
        def cell(x, r):
            h = sc.state(1.0, reset=r, format=format)
            h.next = sc.sin(w * h) + x
            ahead = sc.costate(0.5, until=r, format=format)
            ahead.prev = w * ahead + h.next
            return h.next * ahead.prev

        return sc.sum(sc.over_time(cell)(xs, sc.constant(r)))

    def theirs(w, xs):
        h, hs = 1.0, []
        for t in range(6):
            h = 1.0 if r[t] else h
            h = jnp.sin(w * h) + xs[t]
            hs.append(h)
        total, a = 0.0, 0.5
        for t in reversed(range(6)):
            a = 0.5 if r[t] or t == 5 else a
            a = w * a + hs[t]
            total = total + hs[t] * a
        return total

    close(step(sc.grad(ours, (0, 1)), w, xs), grad(theirs, (0, 1))(w, xs), rtol)


@FORMATS
def test_through_clocks_and_modes_in_a_scan(format, rtol):
    xs, w = draw(format, 5, 8), draw(format, 1)

    def ours(w, xs):
        @sc.node
        def cell(x):
            with sc.every(x > 0):
                s = sc.state(0.0, format=format)
                s.next = 0.5 * s + w * x
            kept = sc.hold(s.next, 0.25)
            with sc.automaton() as auto:
                with auto.mode("up") as m:
                    n = sc.state(1.0, format=format)
                    n.next = n * w + kept
                    m.emit(y=n.next)
                    m.until(x < -0.5, "down")
                with auto.mode("down") as m:
                    m.emit(y=sc.sin(w * x))
                    m.until(x > 0.5, "up", history=True)
            return auto.y + kept

        return sc.sum(sc.over_time(cell)(xs) ** 2)

    def theirs(w, xs):
        s, kept, n, up, total = 0.0, 0.25, 1.0, True, 0.0
        for x in xs:
            if x > 0:
                s = kept = 0.5 * s + w * x
            if up:
                y = n = n * w + kept
                up = not x < -0.5
            else:
                y = jnp.sin(w * x)
                up = bool(x > 0.5)
            total = total + (y + kept) ** 2
        return total

    want = jax.grad(theirs)(w, [float(x) for x in xs])
    close(step(sc.grad(ours), w, xs), np.asarray(want, format.dtype), rtol)


def test_in_a_frame():
    """The gradient of what a frame's tick computes, inside the frame; and of a whole gathered frame, on its clock."""
    xs, w = draw(sc.f32, 5, 12), np.float32(0.7)

    @sc.node
    def cell(x: sc.f32, w: sc.f32) -> sc.f32:
        h = sc.state(0.0)
        h.next = sc.tanh(w * h + x)
        return h.next

    def f(x: sc.f32):
        rows = sc.gather(x, 4)
        v = sc.state(w)
        loss, dv = sc.value_and_grad(
            lambda v: sc.sum(sc.over_time(lambda x: cell(x, v))(rows) ** 2)
        )(v)
        v.next = v - 0.1 * dv
        with sc.frame(max=4) as fr:
            inside = fr.sum(sc.grad(lambda z: z * z * z)(x))
        return loss, v, inside

    def loss(v, xs):
        h, total = 0.0, 0.0
        for x in xs:
            h = jnp.tanh(v * h + x)
            total += h * h
        return total

    got, weights, inside = compiled(f).run(xs)
    by_hand = value_and_grad(loss)
    v, want, vs = w, [], []
    for k in range(3):
        value, dv = by_hand(v, xs[4 * k : 4 * k + 4])
        want.append(value)
        vs.append(v)
        v = np.float32(v - np.float32(0.1) * np.float32(dv))
    np.testing.assert_allclose(got.values, want, rtol=1e-4)
    np.testing.assert_allclose(weights.values, vs, rtol=1e-4)
    np.testing.assert_allclose(inside.values, (3 * xs**2).reshape(3, 4).sum(1), rtol=1e-4)


def test_a_function_with_memory_outside_of_frames_keeps_it():
    """What carries no derivative needs no frame: a counter, a normaliser read through stop_gradient."""

    def f(x: sc.f32):
        @sc.node
        def loss(w: sc.f32, x: sc.f32) -> sc.f32:
            n = sc.state(0.0)
            n.next = n + 1
            return w * w * x * n

        w = sc.state(1.0)
        w.next = w + 1
        return sc.grad(loss)(w, x)

    assert compiled(f).run(np.ones(4, np.float32)).tolist() == [0, 4, 12, 24]


def cubes(x):
    return (x * x * x).sum()


@pytest.mark.parametrize(
    ("wrong", "code", "what"),
    [
        (lambda x, i: sc.grad(lambda z: z)(x), "SE702", "which is f32[3]"),
        (lambda x, i: sc.grad(lambda z: z.sum().to(sc.i32))(x), "SE702", "which is i32"),
        (lambda x, i: sc.grad(lambda z: (z.sum(), z))(x), "SE702", "must return one scalar"),
        (
            lambda x, i: sc.grad(lambda z: z.sum(), has_aux=True)(x)[0],
            "SE702",
            "must return (value, aux)",
        ),
        (
            lambda x, i: sc.grad(lambda z: ((z.sum(), z), z), has_aux=True)(x)[0],
            "SE702",
            "must return (value, aux)",
        ),
        (lambda x, i: sc.grad(lambda k: x.sum() * k.to(sc.f32))(i), "SE701", "`i`, which is i32"),
        (lambda x, i: sc.grad(lambda z, k: z.sum(), argnums=1)(x, i), "SE701", "`i`, which is i32"),
        (
            lambda x, i: sc.grad(cubes, argnums=1)(x),
            "SE109",
            "argnums 1 of cubes, which was given 1 arguments",
        ),
        (
            lambda x, i: sc.vjp(lambda z: (z, z), x)[1](x)[0],
            "SE201",
            "the cotangent is a tree of another form",
        ),
        (lambda x, i: sc.vjp(cubes, x)[1](x)[0], "SE201", "holds f32, the value is f32[3]"),
        (
            lambda x, i: sc.jvp(cubes, (x,), (x, x))[1],
            "SE201",
            "the tangent is a tree of another form",
        ),
        (lambda x, i: sc.jvp(cubes, (x,), (i,))[1], "SE203", "the value is i32"),
        (
            lambda x, i: sc.custom_vjp(lambda z: z * i.to(sc.f32), lambda z, ct: (ct,))(x),
            "SE703",
            "reads `i` from around",
        ),
        (
            lambda x, i: sc.custom_vjp(cubes, lambda z, ct: (ct,))(x),
            "SE703",
            "gives [f32], the arguments are [f32[3]]",
        ),
        (lambda x, i: sc.custom_vjp(cubes, lambda z, ct: (ct * x,))(x), "SE703", ""),
        (
            lambda x, i: sc.grad(lambda z: leaked.append(z * 2) or z.sum())(x) + leaked.pop(),
            "SE108",
            "used outside of the function",
        ),
    ],
)
def test_faults(wrong, code, what):
    error = only(wrong, code, x=sc.f32[3], i=sc.i32)
    assert what in error.what and error.where.file == __file__, error


leaked: list = []
