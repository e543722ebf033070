"""numpy's functions on streams against numpy's own, on random shapes, axes and values."""

from __future__ import annotations

import math

import numpy as np
import pytest

import seiche as sc
from seiche.lang import functions as f
from tests.lang import only

RNG = np.random.default_rng(5)
SHAPES = [(), (1,), (5,), (3, 4), (2, 1, 3), (2, 3, 1, 4)]


def evaluate(function, *arrays, formats=None):
    """One tick of a function; a tuple or tree of results as it comes."""
    types = [(fmt or {"f": sc.f32, "i": sc.i32, "b": sc.bool_, "u": sc.u32}[a.dtype.kind])[a.shape]
             for a, fmt in zip(arrays, formats or [None] * len(arrays))]  # fmt: skip
    names = [f"x{i}" for i in range(len(arrays))]

    def node(*xs):
        return function(*xs)

    scope = {"function": function}
    exec(f"def node({', '.join(names)}): return function({', '.join(names)})", scope)
    return sc.compile(sc.node(scope["node"]), *types).step(*arrays)


def check(function, reference, *arrays, rtol=1e-5, atol=1e-6, **kwargs):
    got = evaluate(function, *arrays, **kwargs)
    with np.errstate(all="ignore"):
        want = reference(*arrays)
    for g, w in zip(
        got if isinstance(want, tuple | list) else [got],
        want if isinstance(want, tuple | list) else [want],
        strict=True,
    ):
        assert g.shape == np.shape(w), (g.shape, np.shape(w))
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)


def real(*shape, low=-3.0, high=3.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def whole(*shape, low=-9, high=9):
    return RNG.integers(low, high, shape).astype(np.int32)


erf = np.vectorize(math.erf, otypes=[float])
sigmoid = lambda x: 1 / (1 + np.exp(-x.astype(np.float64)))
UNARY = {
    "exp": np.exp, "expm1": np.expm1, "sqrt": np.sqrt, "square": np.square, "log": np.log, "log1p": np.log1p,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "erf": erf, "erfc": lambda x: 1 - erf(x), "sigmoid": sigmoid,
    "softplus": lambda x: np.log1p(np.exp(x)), "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "sign": np.sign,
    "isnan": np.isnan, "isfinite": np.isfinite, "stop_gradient": lambda x: x, "absolute": np.abs, "round": np.round,
    "relu": lambda x: np.maximum(x, 0), "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
}  # fmt: skip
DOMAIN = {"sqrt": (0, 9), "log": (0.01, 9), "log1p": (-0.9, 9), "asin": (-1, 1), "acos": (-1, 1)}


@pytest.mark.parametrize("name", UNARY)
def test_elementwise(name):
    low, high = DOMAIN.get(name, (-3, 3))
    for shape in SHAPES[:4]:
        check(getattr(sc, name), UNARY[name], real(*shape, low=low, high=high), atol=1e-5)


BINARY = {
    "add": (lambda a, b: a + b, np.add), "sub": (lambda a, b: a - b, np.subtract), "mul": (lambda a, b: a * b, np.multiply),
    "div": (lambda a, b: a / b, np.divide), "floordiv": (lambda a, b: a // b, np.floor_divide),
    "mod": (lambda a, b: a % b, np.mod), "maximum": (f.maximum, np.maximum), "minimum": (f.minimum, np.minimum),
    "lt": (lambda a, b: a < b, np.less), "le": (lambda a, b: a <= b, np.less_equal), "gt": (lambda a, b: a > b, np.greater),
    "ge": (lambda a, b: a >= b, np.greater_equal), "eq": (lambda a, b: a == b, np.equal), "ne": (lambda a, b: a != b, np.not_equal),
    "atan2": (f.atan2, np.arctan2), "power": (lambda a, b: f.power(abs(a), b), lambda a, b: np.power(np.abs(a), b)),
    "where": (lambda a, b: f.where(a > b, a, b), np.maximum), "clip": (lambda a, b: f.clip(a, b, 1.0), lambda a, b: np.clip(a, b, 1)),
}  # fmt: skip
PAIRS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (1, 4)),
    ((), (2, 3)),
    ((2, 1, 3), (4, 1)),
    ((5,), ()),
]


@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(name):
    ours, theirs = BINARY[name]
    for a, b in PAIRS:
        check(ours, theirs, real(*a), real(*b), rtol=2e-5)


INTEGER = {k: v for k, v in BINARY.items() if k not in ("div", "atan2", "power", "clip", "floordiv", "mod")} | {
    "floordiv": (lambda a, b: a // (abs(b) + 1), lambda a, b: a // (np.abs(b) + 1)),
    "mod": (lambda a, b: a % (abs(b) + 1), lambda a, b: a % (np.abs(b) + 1)),
    "and": (lambda a, b: a & b, np.bitwise_and), "or": (lambda a, b: a | b, np.bitwise_or), "xor": (lambda a, b: a ^ b, np.bitwise_xor),
    "shl": (lambda a, b: a << abs(b), lambda a, b: a << np.abs(b)), "shr": (lambda a, b: a >> abs(b), lambda a, b: a >> np.abs(b)),
    "not": (lambda a, b: ~a + b, lambda a, b: ~a + b), "neg": (lambda a, b: -a - +b, lambda a, b: -a - b),
    "rshl": (lambda a, b: (1 << abs(a)) + (256 >> abs(b)), lambda a, b: (1 << np.abs(a)) + (256 >> np.abs(b))),
    "power": (lambda a, b: a**2 + b**3 - a**0 + b**1 - a**5, lambda a, b: a**2 + b**3 - a**0 + b**1 - a**5),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGER)
def test_integers(name):
    ours, theirs = INTEGER[name]
    for a, b in PAIRS:
        check(ours, theirs, whole(*a), whole(*b), rtol=0, atol=0)


def test_operators_with_numbers_and_arrays_on_either_side():
    x, y = real(3), np.arange(3.0)
    check(lambda x: (2 + x, 2 - x, 2 * x, 2 / x, 2 // x, 2 % x, 2 ** x, 2 < x, 2 >= x),
          lambda x: (2 + x, 2 - x, 2 * x, 2 / x, 2 // x, 2 % x, 2 ** x, 2 < x, 2 >= x), x, rtol=1e-5)  # fmt: skip
    check(lambda x: (y + x, y - x, y * x, y > x, y @ x, np.float64(2) * x, np.int64(3) - x, y == x, x ** 2, x ** 3, x ** -1, round(x)),
          lambda x: (y + x, y - x, y * x, y > x, y @ x, 2 * x, 3 - x, y == x, x ** 2, x ** 3, x ** -1.0, np.round(x)), x, rtol=1e-4)  # fmt: skip
    b = np.array([True, False, True])
    check(
        lambda c: (b & c, b | c, b ^ c, ~c, c & True),
        lambda c: (b & c, b | c, b ^ c, ~c, c),
        np.array([True, True, False]),
    )


def axes_of(ndim):
    single = [*range(-ndim, ndim)]
    return [
        None,
        *single,
        *([(0, -1)] if ndim > 1 else []),
        *([tuple(range(ndim))] if ndim else []),
    ]


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "min", "var", "std", "norm"])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_reductions(name, shape):
    ours = {"var": f.variance}.get(name) or getattr(f, name)
    norm = lambda x, axis, keepdims: np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))
    theirs = norm if name == "norm" else getattr(np, name)
    for axis in axes_of(len(shape)):
        for keep in (False, True):
            check(
                lambda x: ours(x, axis, keep),
                lambda x: theirs(x, axis=axis, keepdims=keep),
                real(*shape),
                rtol=1e-4,
            )


@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_reductions_of_booleans_and_integers(shape):
    for axis in axes_of(len(shape)):
        check(lambda x: ((x > 0).any(axis), (x > 0).all(axis, keepdims=True), x.sum(axis), x.max(axis=axis)),
              lambda x: ((x > 0).any(axis), (x > 0).all(axis, keepdims=True), x.sum(axis), x.max(axis=axis)), whole(*shape))  # fmt: skip
    check(
        lambda x: (f.argmax(x), f.argmin(x, 0)),
        lambda x: (x.argmax(-1), x.argmin(0)),
        whole(*shape),
    )


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("shape", SHAPES[2:])
def test_along_an_axis(shape):
    for axis in range(-len(shape), len(shape)):
        check(
            lambda x: (
                f.cumsum(x, axis), f.cumprod(x, axis), f.cummax(x, axis), f.cumsum(x, axis, reverse=True), f.sort(x, axis),
                f.argsort(x, axis), -f.sort(-x, axis), f.sort(x, axis, descending=True), f.softmax(x, axis),
                f.log_softmax(x, axis), f.logsumexp(x, axis), f.logsumexp(x, axis, True), f.flip(x, axis),
            ),
            lambda x: (
                x.cumsum(axis), x.cumprod(axis), np.maximum.accumulate(x, axis), np.flip(np.flip(x, axis).cumsum(axis), axis),
                np.sort(x, axis), np.argsort(x, axis, kind="stable"), -np.sort(-x, axis), -np.sort(-x, axis), softmax(x, axis),
                np.log(softmax(x, axis)), np.log(np.exp(x).sum(axis)), np.log(np.exp(x).sum(axis, keepdims=True)),
                np.flip(x, axis),
            ),
            real(*shape), rtol=1e-4, atol=1e-5,
        )  # fmt: skip


def test_shapes():
    x = real(2, 3, 4)
    check(
        lambda x: (
            x.reshape(6, 4), x.reshape((4, -1)), x.reshape([24]), f.reshape(x, -1), x.T, f.transpose(x, (1, -1, 0)),
            f.swapaxes(x, 0, -1), f.moveaxis(x, 0, -1), f.moveaxis(x, -1, 0), f.expand_dims(x, 1), f.expand_dims(x, -1),
            f.squeeze(x[:, :1]), f.squeeze(x[:, :1], 1), f.squeeze(x[:1, :, :1], (0, -1)), x.flatten(), f.flip(x),
            f.flip(x, (0, 2)), f.roll(x, 1), f.roll(x, -5, 2), f.roll(x, 0), f.repeat(x, 2, 1), f.repeat(x, 3, -1),
            f.pad(x, [(1, 0), (0, 0), (2, 1)], 7.0), sc.broadcast_to(x[:, :1], (2, 3, 4)),
            f.concatenate([x, x[:1]], 0), f.concatenate([x, x[..., :2]], -1), f.stack([x, -x]), f.stack([x, x], -1),
            f.stack([x, 0 * x + 1], 1), *f.split(x, 3, 1), *f.split(x, [1, 3], -1),
        ),
        lambda x: (
            x.reshape(6, 4), x.reshape(4, -1), x.reshape(24), x.reshape(-1), x.T, x.transpose(1, 2, 0), x.swapaxes(0, -1),
            np.moveaxis(x, 0, -1), np.moveaxis(x, -1, 0), x[:, None], x[..., None], x[:, 0], x[:, 0], x[0, :, 0], x.reshape(-1),
            np.flip(x), np.flip(x, (0, 2)), np.roll(x, 1, 0), np.roll(x, -5, 2), x, np.repeat(x, 2, 1), np.repeat(x, 3, -1),
            np.pad(x, [(1, 0), (0, 0), (2, 1)], constant_values=7), np.broadcast_to(x[:, :1], (2, 3, 4)),
            np.concatenate([x, x[:1]]), np.concatenate([x, x[..., :2]], -1), np.stack([x, -x]), np.stack([x, x], -1),
            np.stack([x, np.ones_like(x)], 1), *np.split(x, 3, 1), *np.split(x, [1, 3], -1),
        ),
        x,
    )  # fmt: skip


def test_makers_and_trees():
    x = real(3)
    got = evaluate(
        lambda x: (
            f.zeros((2, 3)), f.ones(2, sc.i32), f.zeros_like({"a": x}), f.arange(4), f.eye(2), f.one_hot(f.argmax(x), 4),
            f.stack([{"a": x}, {"a": -x}]), f.where(x > 0, (x, 1.0), (0, 0)), f.where(x > 0, 1.0, 0),
        ),
        x,
    )  # fmt: skip
    assert (
        got[0].dtype == np.float32 and got[1].dtype == np.int32 and got[3].tolist() == [0, 1, 2, 3]
    )
    assert got[2]["a"].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(got[4], np.eye(2))
    np.testing.assert_array_equal(got[5], np.eye(4)[x.argmax()])
    np.testing.assert_array_equal(got[6]["a"], np.stack([x, -x]))
    np.testing.assert_array_equal(got[7][0], np.where(x > 0, x, 0))
    assert got[8].dtype == np.float32


def test_choosing():
    x, i, j = real(4, 5), whole(3, low=0, high=4), whole(4, 2, low=0, high=5)
    check(lambda x, i: (f.take(x, i), f.take(x, i, -1)), lambda x, i: (x[i], x[:, i]), x, i)
    check(lambda x, j: f.take_along(x, j), lambda x, j: np.take_along_axis(x, j, -1), x, j)
    check(lambda x, i: f.scatter_add(x, i, x[:3]), lambda x, i: added(x, i, x[:3]), x, i)
    check(
        lambda x: f.top_k(x, 3),
        lambda x: (-np.sort(-x, -1)[:, :3], np.argsort(-x, -1, kind="stable")[:, :3]),
        x,
    )
    check(lambda i: f.one_hot(i, 4), lambda i: np.eye(4)[i], i)
    check(
        lambda x, i: sc.dynamic_slice(x, i[0], 2, 1),
        lambda x, i: x[:, min(i[0], 3) : min(i[0], 3) + 2],
        x,
        i,
    )


def added(x, i, rows):
    out = x.copy()
    np.add.at(out, i, rows)
    return out


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
     ((1, 2, 3), (5, 3, 4)), ((2, 1, 2, 3), (4, 3, 2)), ((2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,))],
)  # fmt: skip
def test_matmul(a, b):
    x, y = real(*a), real(*b)
    check(
        lambda x, y: (x @ y, f.dot(x, y)), lambda x, y: (x @ y, x @ y), x, y, rtol=1e-4, atol=1e-5
    )
    check(lambda x: x @ y, lambda x: x @ y, x, rtol=1e-4, atol=1e-5)
    check(lambda y: x @ y, lambda y: x @ y, y, rtol=1e-4, atol=1e-5)


def random_spec(rng):
    letters = "abcd"
    sizes = {c: int(rng.integers(1, 4)) for c in letters}
    terms = [
        "".join(rng.permutation(list(letters))[: rng.integers(0, 4)])
        for _ in range(rng.integers(1, 4))
    ]
    seen = sorted(set("".join(terms)))
    out = "".join(rng.permutation(seen)[: rng.integers(0, len(seen) + 1)]) if seen else ""
    return ",".join(terms) + ("->" + out if rng.random() < 0.8 else ""), [
        tuple(sizes[c] for c in t) for t in terms
    ]


def test_einsum_on_random_specs():
    rng = np.random.default_rng(1)
    specs = [random_spec(rng) for _ in range(60)]
    arrays = [[real(*s) for s in shapes] for _, shapes in specs]

    def many(*flat):
        xs = iter(flat)
        return tuple(f.einsum(spec, *(next(xs) for _ in shapes)) for spec, shapes in specs)

    check(many, lambda *flat: tuple(np.einsum(s, *a) for (s, _), a in zip(specs, arrays)), *(x for a in arrays for x in a),
          rtol=1e-4, atol=1e-5)  # fmt: skip


def naive_conv(x, w, strides, dilation, pads, groups):
    """x [*batch, *spatial, in], w [*window, in / groups, out]: a loop over every output, tap and channel group."""
    rank = w.ndim - 2
    batch, spatial = x.shape[: x.ndim - rank - 1], x.shape[x.ndim - rank - 1 : -1]
    padded = np.pad(
        x.reshape(-1, *spatial, x.shape[-1]).astype(np.float64), [(0, 0), *pads, (0, 0)]
    )
    places = [(n + lo + hi - (k - 1) * d - 1) // s + 1
              for n, (lo, hi), k, d, s in zip(spatial, pads, w.shape, dilation, strides)]  # fmt: skip
    out = np.zeros((len(padded), *places, w.shape[-1]))
    per_in, per_out = x.shape[-1] // groups, w.shape[-1] // groups
    for at in np.ndindex(*places):
        for tap in np.ndindex(*w.shape[:rank]):
            here = tuple(a * s + t * d for a, s, t, d in zip(at, strides, tap, dilation))
            for g in range(groups):
                ins, outs = (
                    slice(g * per_in, (g + 1) * per_in),
                    slice(g * per_out, (g + 1) * per_out),
                )
                out[(slice(None), *at, outs)] += padded[(slice(None), *here, ins)] @ w[tap][:, outs]
    return out.reshape(*batch, *places, w.shape[-1])


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("batch", [(), (2, 1)])
def test_conv(rank, groups, batch):
    rng = np.random.default_rng(rank * 10 + groups)
    for _ in range(4):
        window, spatial = rng.integers(1, 4, rank), rng.integers(5, 9, rank)
        strides, dilation = (tuple(int(v) for v in rng.integers(1, 3, rank)) for _ in range(2))
        x, w = real(*batch, *spatial, 4), real(*window, 4 // groups, 4)
        reach = [(k - 1) * d for k, d in zip(window, dilation)]
        pairs = [tuple(int(v) for v in rng.integers(0, 3, 2)) for _ in range(rank)]
        total = [
            max((-(-n // s) - 1) * s + r + 1 - n, 0) for n, s, r in zip(spatial, strides, reach)
        ]
        paddings = {
            "valid": [(0, 0)] * rank, "causal": [(r, 0) for r in reach], "same": [(t // 2, t - t // 2) for t in total]
        }  # fmt: skip
        for name, pads in [*paddings.items(), (pairs, pairs)]:
            if any(n + lo + hi <= r for n, (lo, hi), r in zip(spatial, pads, reach)):
                continue
            check(
                lambda x, w: sc.conv(x, w, strides=strides, dilation=dilation, padding=name, groups=groups),
                lambda x, w: naive_conv(x, w, strides, dilation, pads, groups), x, w, rtol=1e-4, atol=1e-4,
            )  # fmt: skip


def test_small_systems():
    a, b, m = real(3, 3) + 3 * np.eye(3, dtype=np.float32), real(3), real(3, 2)
    spd = a @ a.T
    check(lambda a, b, m: (f.solve(a, b), f.solve(a, m), f.inv(a)),
          lambda a, b, m: (np.linalg.solve(a, b), np.linalg.solve(a, m), np.linalg.inv(a)), a, b, m, rtol=1e-3, atol=1e-4)  # fmt: skip
    check(lambda s: f.cholesky(s), np.linalg.cholesky, spd, rtol=1e-3, atol=1e-4)
    low = np.tril(a)
    check(lambda a, b: (f.triangular_solve(a, b), f.triangular_solve(a, b, trans=True)),
          lambda a, b: (np.linalg.solve(low, b), np.linalg.solve(low.T, b)), low, b, rtol=1e-3, atol=1e-4)  # fmt: skip
    check(lambda a, b: f.outer(a, b), np.outer, b, m[:, 0])


def test_constants_are_folded():
    program = sc.compile(
        sc.node(lambda x: x * (f.sum(f.exp(f.ones(3))) / 0.0 + f.arange(3).to(sc.f32)[1])), sc.f32
    )
    assert not any(
        getattr(eq.rhs, "op", "") in ("exp", "sum", "div", "index", "slice")
        for eq in program.node.eqs
    )


@pytest.mark.parametrize(
    ("wrong", "code", "what"),
    [
        (lambda x: f.reshape(x, (4, 4)), "SE201", "[3, 4] does not reshape to (4, 4)"),
        (lambda x: f.reshape(x, (-1, 5)), "SE201", "does not reshape"),
        (lambda x: f.sum(x, 2), "SE202", "axis 2 of a tensor with 2 axes"),
        (lambda x: f.sum(x, (0, -2)), "SE202", "name an axis twice"),
        (lambda x: f.transpose(x, (0, 0)), "SE202", "no order of 2 axes"),
        (lambda x: f.swapaxes(x, 0, 2), "SE202", "axis 2"),
        (lambda x: f.moveaxis(x, -3, 0), "SE202", "axis -3"),
        (lambda x: f.expand_dims(x, 3), "SE202", "axis 3 of a tensor with 3 axes"),
        (lambda x: f.squeeze(x, 0), "SE201", "axis 0 has length 3"),
        (lambda x: f.concatenate([x, x[:, :2]]), "SE201", "concat"),
        (lambda x: f.concatenate([x, x.to(sc.i32)]), "SE203", "f32 and i32"),
        (lambda x: f.concatenate([x[0, 0], x[0, 0]]), "SE202", "axis 0 of a tensor with 0 axes"),
        (lambda x: f.stack([x, x[0]]), "SE201", ""),
        (lambda x: f.stack([(x,), x]), "SE201", "different forms"),
        (lambda x: f.split(x, 5)[0], "SE201", "3 does not split into 5 equal parts"),
        (lambda x: f.take(x[0, 0], 0), "SE202", "axis 0 of a tensor with 0 axes"),
        (lambda x: f.argmax(x, 5), "SE202", "axis 5"),
        (lambda x: x @ x, "SE201", "no product of [3, 4] and [3, 4]: 4 is not 3"),
        (lambda x: x @ 2, "SE201", "a scalar has no product"),
        (lambda x: x @ x.T.to(sc.f64), "SE203", "f32 and f64"),
        (lambda x: f.einsum("ij,jk->ik", x), "SE201", "does not fit"),
        (lambda x: f.einsum("ii->i", x), "SE201", "repeats a letter"),
        (lambda x: f.einsum("ij,ji->", x, x), "SE201", "is both 4 and 3"),
        (lambda x: f.einsum("ij->ik", x), "SE201", "does not fit"),
        (lambda x: f.conv(x, x), "SE201", "conv wants"),
        (lambda x: f.conv(x, f.ones((2, 4, 1)), padding="some"), "SE201", "padding 'some'"),
        (lambda x: f.where(x > 0, x, x[:, :2]), "SE201", "do not broadcast"),
        (lambda x: f.where(x[0] > 0, x, x[:, :1].T), "SE201", "do not broadcast"),
        (lambda x: f.where(x, x, x), "SE201", "select"),
        (lambda x: x & x, "SE201", "bit_and"),
        (lambda x: sc.broadcast_to(x, (5, 5)), "SE201", "broadcast"),
        (lambda x: len(x[0, 0]), "SE201", "len() of the scalar"),
        (lambda x: sum(x[0, 0]), "SE201", "len() of the scalar"),
    ],
)  # fmt: skip
def test_faults(wrong, code, what):
    error = only(wrong, code, x=sc.f32[3, 4])
    assert what in error.what and error.where.file == __file__, error
