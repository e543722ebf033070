"""Gradients beside `jax.grad` of the same functions: the largest error of any leaf, relative to the leaf's largest value.

Each model is written twice, in the language with its own layers and in JAX with formulas, and differentiated by both, in f32
and in f64. Ours runs interpreted and as C; the last column is the error of JAX's own f32 gradient against its f64 gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from bench import cells
from bench.report import Bench, Result

Array: TypeAlias = "np.ndarray[Any, Any]"
Parameters: TypeAlias = Any
BARS = {"f32": 1e-5, "f64": 1e-10}
DTYPES = {"f32": "float32", "f64": "float64"}


@dataclass(frozen=True)
class Model:
    """A loss of parameters and data. `ours(format)` and `theirs(jax)` return it as a function `(parameters, *data)`."""

    name: str
    make: Callable[[np.random.Generator], tuple[Parameters, list[Array]]]
    ours: Callable[[Any], Callable[..., Any]]
    theirs: Callable[[Any], Callable[..., Any]]


def run(bench: Bench) -> Result:
    result = Result("gradients")
    try:
        import jax  # noqa: F401
    except ModuleNotFoundError:
        result.claim("gradients / jax.grad", "", "jax is not installed", None)
        return result
    rows: list[list[Any]] = []
    with bench.status("gradients") as say:
        for model in MODELS[: bench.pick(len(MODELS), 1)]:
            for format in BARS:
                say(f"{model.name}, {format}")
                rows.append(_row(model, format))
    columns = [
        "",
        "format",
        "leaves",
        "interpreter / jax.grad",
        "C / jax.grad",
        "JAX f32 / JAX f64",
    ]
    bench.table(
        "Largest relative error of a gradient",
        columns,
        [[*r[:3], *map(_said, r[3:])] for r in rows],
    )
    result.data["rows"] = [dict(zip(columns, r)) for r in rows]
    for format, bar in BARS.items():
        worst = max((r for r in rows if r[1] == format), key=lambda r: max(r[3:5]))
        error = max(worst[3:5])
        result.claim(
            f"gradients / jax.grad, {format}",
            f"≤ {bar:.0e}",
            f"{error:.1e} ({worst[0]})",
            error <= bar,
        )
    return result


def _said(error: float | None) -> str:
    return "" if error is None else f"{error:.1e}"


def _row(model: Model, format: str) -> list[Any]:
    """(name, format, leaves, the errors of the interpreter, of C, and of JAX itself)."""
    params, data = drawn(model, format)
    wanted = jax_gradients(model, params, data)
    errors = [
        relative(seiche_gradients(model, params, data, format, target), wanted)
        for target in ("interp", "c")
    ]
    own = None
    if format == "f32":
        own = relative(wanted, jax_gradients(model, *drawn(model, "f64")))
    return [model.name, format, len(wanted), *errors, own]


def drawn(model: Model, format: str) -> tuple[Parameters, list[Array]]:
    """Parameters and data in a format: the same numbers (those of f32) in both."""
    params, data = model.make(np.random.default_rng(7))
    dtype = DTYPES[format]

    def cast(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: cast(v) for k, v in x.items()}
        if isinstance(x, tuple):
            return tuple(map(cast, x))
        return x.astype("float32").astype(dtype) if x.dtype.kind == "f" else x

    return cast(params), [cast(x) for x in data]


def relative(mine: list[Array], theirs: list[Array]) -> float:
    """The largest error of any leaf, relative to the largest value of the leaf."""
    scales = [max(float(np.abs(b).max()), 1e-30) for b in theirs]
    return max(
        float(np.abs(a.astype("f8") - b.astype("f8")).max()) / s
        for a, b, s in zip(mine, theirs, scales, strict=True)
    )


def jax_gradients(model: Model, params: Parameters, data: list[Array]) -> list[Array]:
    """The leaves of jax.grad with respect to the parameters."""
    import jax

    with jax.enable_x64(True):
        gradients = jax.jit(jax.grad(model.theirs(jax)))(
            jax.tree.map(jax.numpy.asarray, params), *data
        )
        return [np.asarray(x) for x in jax.tree.leaves(gradients)]


def seiche_gradients(
    model: Model, params: Parameters, data: list[Array], format: str, target: Any
) -> list[Array]:
    """The leaves of `sc.grad`, compiled for a target; dicts by sorted keys, as JAX orders them."""
    import seiche as sc
    from seiche.ir.tree import map_tree

    loss = model.ours(getattr(sc, format))

    def gradients(p: Any, *xs: Any) -> Any:
        return sc.grad(loss)(p, *xs)

    def type_of(x: Array) -> Any:
        return (sc.i32 if x.dtype.kind == "i" else getattr(sc, format))[x.shape]

    names = ", ".join(f"x{k}" for k in range(len(data)))
    node = sc.node(_named(gradients, names))
    types = [map_tree(type_of, params), *map(type_of, data)]
    return _leaves(sc.compile(node, *types, target=target).step(params, *data))


def _named(function: Callable[..., Any], names: str) -> Callable[..., Any]:
    """The same function, with named arguments in place of `*xs`, which a node cannot have."""
    scope: dict[str, Any] = {"function": function}
    exec(f"def gradients(p, {names}):\n    return function(p, {names})", scope)
    return scope["gradients"]


def _leaves(x: Any) -> list[Array]:
    if isinstance(x, dict):
        return [leaf for key in sorted(x) for leaf in _leaves(x[key])]
    if isinstance(x, list | tuple):
        return [leaf for part in x for leaf in _leaves(part)]
    return [np.asarray(x)]


# ------------------------------------------------------------------------------------------ models


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return scale * rng.normal(size=shape)


def _jittered(rng: np.random.Generator, params: Any) -> Any:
    """Parameters with something added: no bias is zero."""
    if isinstance(params, dict):
        return {k: _jittered(rng, v) for k, v in params.items()}
    if isinstance(params, tuple):
        return tuple(_jittered(rng, v) for v in params)
    return params.astype("float64") + 0.1 * rng.normal(size=params.shape)


# An MLP with cross-entropy, on a batch.

SIZES = (16, 32, 32, 4)


def _mlp_make(rng: np.random.Generator) -> tuple[Parameters, list[Array]]:
    from seiche import learn

    labels = rng.integers(0, SIZES[-1], 8).astype(np.int32)
    return _jittered(rng, learn.MLP(SIZES).init(0)), [_normal(rng, 8, SIZES[0]), labels]


def _mlp_ours(format: Any) -> Callable[..., Any]:
    import seiche as sc
    from seiche import learn

    mlp = learn.MLP(SIZES, activation=sc.tanh, format=format)
    return lambda p, x, y: learn.cross_entropy(mlp(p, x), y).mean()


def _mlp_theirs(jax: Any) -> Callable[..., Any]:
    jnp = jax.numpy

    def loss(p: Any, x: Any, y: Any) -> Any:
        for k, layer in enumerate(p):
            x = x @ layer["weight"] + layer["bias"]
            x = jnp.tanh(x) if k < len(p) - 1 else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    return loss


# Back-propagation through time, of a GRU and of an LSTM with a readout.

TICKS, IN, HIDDEN, OUT = 32, 8, 16, 3


def _recurrent_make(kind: str) -> Callable[[np.random.Generator], Any]:
    def make(rng: np.random.Generator) -> tuple[Parameters, list[Array]]:
        layer = cells.Cell(kind, IN, HIDDEN).layer()
        params = {
            "cell": _jittered(rng, layer.init(0)),
            "out": _normal(rng, HIDDEN, OUT, scale=0.3),
        }
        return params, [_normal(rng, TICKS, IN), _normal(rng, TICKS, OUT)]

    return make


def _recurrent_ours(kind: str) -> Callable[[Any], Callable[..., Any]]:
    def ours(format: Any) -> Callable[..., Any]:
        import seiche as sc

        layer = cells.Cell(kind, IN, HIDDEN).layer()

        def loss(p: Any, xs: Any, ys: Any) -> Any:
            hidden = sc.over_time(lambda x: layer(p["cell"], x))(xs)
            return sc.square(hidden @ p["out"] - ys).mean()

        return loss

    return ours


def _recurrent_theirs(kind: str) -> Callable[[Any], Callable[..., Any]]:
    def theirs(jax: Any) -> Callable[..., Any]:
        jnp, sigmoid = jax.numpy, jax.nn.sigmoid

        def loss(p: Any, xs: Any, ys: Any) -> Any:
            def step(state: Any, x: Any) -> Any:
                h, c = state
                if kind == "gru":
                    h = cells.gru(jnp, p["cell"], h, x, sigmoid)
                else:
                    h, c = cells.lstm(jnp, p["cell"], h, c, x, sigmoid)
                return (h, c), h

            zero = jnp.zeros(HIDDEN, xs.dtype)
            _, hidden = jax.lax.scan(step, (zero, zero), xs)
            return jnp.square(hidden @ p["out"] - ys).mean()

        return loss

    return theirs


# A transformer block: layer norm, causal attention, residual, layer norm, a perceptron, residual.

LENGTH, WIDTH, HEADS = 12, 16, 2


def _block_make(rng: np.random.Generator) -> tuple[Parameters, list[Array]]:
    from seiche import learn

    params = {
        "attention": learn.Attention(WIDTH, HEADS, LENGTH).init(0),
        "mlp": learn.MLP((WIDTH, 32, WIDTH)).init(1),
        "norms": (learn.LayerNorm(WIDTH).init(), learn.LayerNorm(WIDTH).init()),
    }
    return _jittered(rng, params), [_normal(rng, LENGTH, WIDTH), _normal(rng, LENGTH, WIDTH)]


def _block_ours(format: Any) -> Callable[..., Any]:
    import seiche as sc
    from seiche import learn

    attention, norm = (
        learn.Attention(WIDTH, HEADS, LENGTH, format=format),
        learn.LayerNorm(WIDTH, format=format),
    )
    mlp = learn.MLP((WIDTH, 32, WIDTH), activation=sc.gelu, format=format)

    def loss(p: Any, xs: Any, ys: Any) -> Any:
        a = xs + attention.in_space(p["attention"], norm(p["norms"][0], xs))
        b = a + mlp(p["mlp"], norm(p["norms"][1], a))
        return sc.square(b - ys).mean()

    return loss


def _block_theirs(jax: Any) -> Callable[..., Any]:
    jnp = jax.numpy

    def norm(p: Any, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * p["scale"]
            + p["bias"]
        )

    def attention(p: Any, x: Any) -> Any:
        def heads(role: str) -> Any:
            return (x @ p[role]["weight"]).reshape(LENGTH, HEADS, -1).swapaxes(0, 1)

        scores = heads("query") @ heads("key").swapaxes(1, 2) / np.sqrt(WIDTH // HEADS)
        seen = np.tri(LENGTH, dtype=bool)
        mixed = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)) @ heads("value")
        return mixed.swapaxes(0, 1).reshape(LENGTH, WIDTH) @ p["out"]["weight"]

    def mlp(p: Any, x: Any) -> Any:
        hidden = jax.nn.gelu(x @ p[0]["weight"] + p[0]["bias"], approximate=False)
        return hidden @ p[1]["weight"] + p[1]["bias"]

    def loss(p: Any, xs: Any, ys: Any) -> Any:
        a = xs + attention(p["attention"], norm(p["norms"][0], xs))
        return jnp.square(a + mlp(p["mlp"], norm(p["norms"][1], a)) - ys).mean()

    return loss


# Causal convolutions with growing dilation, one of them depthwise.

CHANNELS, DILATIONS = 8, (1, 2, 4)


def _convolutions(format: Any = None) -> list[Any]:
    from seiche import f32, learn

    format = format or f32
    first = learn.Conv1D(4, CHANNELS, 3, format=format)
    rest = [
        learn.Conv1D(CHANNELS, CHANNELS, 3, d, groups=g, format=format)
        for d, g in zip(DILATIONS[1:], (CHANNELS, 1))
    ]
    return [first, *rest]


def _conv_make(rng: np.random.Generator) -> tuple[Parameters, list[Array]]:
    params = tuple(layer.init(k) for k, layer in enumerate(_convolutions()))
    return _jittered(rng, params), [_normal(rng, 24, 4), _normal(rng, 24, CHANNELS)]


def _conv_ours(format: Any) -> Callable[..., Any]:
    import seiche as sc

    def loss(p: Any, xs: Any, ys: Any) -> Any:
        for layer, q in zip(_convolutions(format), p):
            xs = sc.silu(layer.in_space(q, xs))
        return sc.square(xs - ys).mean()

    return loss


def _conv_theirs(jax: Any) -> Callable[..., Any]:
    jnp = jax.numpy

    def conv(q: Any, x: Any, dilation: int, groups: int) -> Any:
        y = jax.lax.conv_general_dilated(
            x[None], q["weight"], (1,), [(2 * dilation, 0)], rhs_dilation=(dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=groups,
        )  # fmt: skip
        return y[0] + q["bias"]

    def loss(p: Any, xs: Any, ys: Any) -> Any:
        for q, dilation, groups in zip(p, DILATIONS, (1, CHANNELS, 1)):
            xs = jax.nn.silu(conv(q, xs, dilation, groups))
        return jnp.square(xs - ys).mean()

    return loss


# The log-likelihood of a Kalman filter over a stretch of observations.

STATES, SEEN = 4, 2


def _kalman_make(rng: np.random.Generator) -> tuple[Parameters, list[Array]]:
    params = {
        "move": 0.9 * np.eye(STATES) + _normal(rng, STATES, STATES, scale=0.05),
        "see": _normal(rng, SEEN, STATES),
        "noise": 0.3 * np.eye(STATES) + _normal(rng, STATES, STATES, scale=0.1),
        "blur": 0.5 * np.eye(SEEN) + _normal(rng, SEEN, SEEN, scale=0.1),
    }
    return params, [_normal(rng, 16, SEEN)]


def _kalman_step(
    xp: Any,
    solve: Callable[[Any, Any], Any],
    cholesky: Any,
    p: Any,
    m: Any,
    v: Any,
    y: Any,
    eye: Any,
) -> Any:
    """Predict, then update (Kalman 1960); `(mean, covariance, -log likelihood of y)` up to a constant."""
    m = p["move"] @ m
    v = p["move"] @ v @ p["move"].T + p["noise"] @ p["noise"].T
    cross = v @ p["see"].T
    spread = p["see"] @ cross + p["blur"] @ p["blur"].T
    gain = solve(spread, cross.T).T
    surprise = y - p["see"] @ m
    m, v = m + gain @ surprise, (eye - gain @ p["see"]) @ v
    factor = cholesky(spread)
    logs = xp.log((factor * np.eye(SEEN, dtype=np.float32)).sum(-1)).sum()
    return m, v, 0.5 * (surprise * solve(spread, surprise)).sum() + logs


def _kalman_ours(format: Any) -> Callable[..., Any]:
    import seiche as sc

    def loss(p: Any, ys: Any) -> Any:
        def step(y: Any) -> Any:
            m, v = sc.state(sc.zeros(STATES, format)), sc.state(sc.eye(STATES, format))
            m.next, v.next, surprise = _kalman_step(
                sc, sc.solve, sc.cholesky, p, m, v, y, sc.eye(STATES, format)
            )
            return surprise

        return sc.over_time(step)(ys).mean()

    return loss


def _kalman_theirs(jax: Any) -> Callable[..., Any]:
    jnp = jax.numpy

    def loss(p: Any, ys: Any) -> Any:
        eye = jnp.eye(STATES, dtype=ys.dtype)

        def step(state: Any, y: Any) -> Any:
            m, v, surprise = _kalman_step(
                jnp, jnp.linalg.solve, jnp.linalg.cholesky, p, *state, y, eye
            )
            return (m, v), surprise

        return jax.lax.scan(step, (jnp.zeros(STATES, ys.dtype), eye), ys)[1].mean()

    return loss


MODELS = (
    Model("MLP, cross-entropy", _mlp_make, _mlp_ours, _mlp_theirs),
    Model(
        "GRU through 32 ticks",
        _recurrent_make("gru"),
        _recurrent_ours("gru"),
        _recurrent_theirs("gru"),
    ),
    Model(
        "LSTM through 32 ticks",
        _recurrent_make("lstm"),
        _recurrent_ours("lstm"),
        _recurrent_theirs("lstm"),
    ),
    Model("attention block", _block_make, _block_ours, _block_theirs),
    Model("causal convolutions", _conv_make, _conv_ours, _conv_theirs),
    Model("Kalman filter, 16 steps", _kalman_make, _kalman_ours, _kalman_theirs),
)
