"""Layers with memory: naive loops, and one law for all: tick by tick, in a frame, by over_time and in space, outputs and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche import learn
from seiche.ir.tree import map_tree
from tests.learning import TARGETS, close, in_c, jittered, once, random, run, same, step

TICKS = 9


@dataclass(frozen=True)
class Case:
    """A layer, its size of input, a naive loop, and a formula for jax where the loop is slow to compile; `n` is the module."""

    layer: Any
    inputs: int
    reference: Any
    formula: Any = None

    @property
    def params(self) -> Any:
        return jittered(self.layer.init(3))


def gru_cell(n: Any, p: Any, h: Any, x: Any, after: bool = True) -> Any:
    size = len(h)
    r_, z_, n_ = (slice(i * size, (i + 1) * size) for i in range(3))
    sig = lambda v: 1 / (1 + n.exp(-v))
    w, u, b, c = p["input"], p["recurrent"], p["bias"], p["recurrent_bias"]
    r = sig(x @ w[:, r_] + b[r_] + h @ u[:, r_] + c[r_])
    z = sig(x @ w[:, z_] + b[z_] + h @ u[:, z_] + c[z_])
    inner = r * (h @ u[:, n_] + c[n_]) if after else (r * h) @ u[:, n_] + c[n_]
    return (1 - z) * n.tanh(x @ w[:, n_] + b[n_] + inner) + z * h


def lstm_cell(n: Any, p: Any, memory: Any, x: Any) -> Any:
    h, c = memory
    sig = lambda v: 1 / (1 + n.exp(-v))
    a = x @ p["input"] + h @ p["recurrent"] + p["bias"]
    i, f, g, o = (a[k * len(h) : (k + 1) * len(h)] for k in range(4))
    c = sig(f) * c + sig(i) * n.tanh(g)
    return sig(o) * n.tanh(c), c


def repeated(cell: Any, start: Any, xs: Any, hidden: Any = lambda s: s) -> Any:
    """A cell along xs: a plain loop in numpy, a scan in jax (which would compile the loop slowly)."""
    if not isinstance(xs, np.ndarray):
        import jax

        return jax.lax.scan(lambda s, x: (out := cell(s, x), hidden(out)), start, xs)[1]
    out, s = [], start
    for x in xs:
        s = cell(s, x)
        out.append(hidden(s))
    return np.stack(out)


def gru(n: Any, p: Any, xs: Any, after: bool = True) -> Any:
    return repeated(
        lambda h, x: gru_cell(n, p, h, x, after), n.zeros(len(p["recurrent"]), xs.dtype), xs
    )


def lstm(n: Any, p: Any, xs: Any) -> Any:
    zero = n.zeros(len(p["recurrent"]), xs.dtype)
    return repeated(lambda s, x: lstm_cell(n, p, s, x), (zero, zero), xs, lambda s: s[0])


def conv(n: Any, p: Any, xs: Any, dilation: int = 1, groups: int = 1) -> Any:
    window, per, outputs = p["weight"].shape
    out = np.zeros((len(xs), outputs))
    for t, k, j, i in np.ndindex(len(xs), window, outputs, per):
        past, group = t - dilation * (window - 1 - k), j // (outputs // groups)
        if past >= 0:
            out[t, j] += xs[past, group * per + i] * p["weight"][k, i, j]
    return out + p["bias"]


def shifted(n: Any, p: Any, xs: Any, dilation: int = 1, groups: int = 1) -> Any:
    """The convolution as a sum of products of shifted inputs."""
    window, per, outputs = p["weight"].shape
    weight = p["weight"].reshape(window, per, groups, outputs // groups)
    padded = n.pad(xs, ((dilation * (window - 1), 0), (0, 0))).reshape(-1, groups, per)
    rows = [padded[dilation * k : dilation * k + len(xs)] for k in range(window)]
    return (
        sum(n.einsum("tgi,igo->tgo", r, w) for r, w in zip(rows, weight)).reshape(len(xs), outputs)
        + p["bias"]
    )


def convolving(layer: learn.Conv1D) -> Case:
    options = (layer.dilation, layer.groups)
    return Case(
        layer, layer.inputs, lambda *a: conv(*a, *options), lambda *a: shifted(*a, *options)
    )


def attention(layer: learn.Attention) -> Any:
    def turned(n: Any, v: Any, t: int) -> Any:
        half = len(v) // 2
        pairs = []
        for i in range(half):
            angle = t * layer.rotary ** (-i / half)
            cos, sin = np.cos(angle), np.sin(angle)
            pairs.append((v[i] * cos - v[i + half] * sin, v[i + half] * cos + v[i] * sin))
        return n.stack([a for a, _ in pairs] + [b for _, b in pairs])

    def reference(n: Any, p: Any, xs: Any) -> Any:
        size = layer.size // layer.heads
        dense = lambda role, x: x @ p[role]["weight"] + (p[role]["bias"] if layer.bias else 0)
        turn = (lambda v, t: turned(n, v, t)) if layer.rotary else (lambda v, t: v)
        out = []
        for t in range(len(xs)):
            heads = []
            for h in range(layer.heads):
                part = slice(h * size, (h + 1) * size)
                q = turn(dense("query", xs[t])[part], t)
                seen = range(max(0, t - layer.window + 1), t + 1)
                scores = n.stack([q @ turn(dense("key", xs[s])[part], s) for s in seen]) / np.sqrt(
                    size
                )
                e = n.exp(scores - scores.max())
                heads.append(
                    sum(w * dense("value", xs[s])[part] for w, s in zip(e / e.sum(), seen))
                )
            out.append(dense("out", n.concatenate(heads)))
        return n.stack(out)

    return reference


def matrices(layer: learn.Attention) -> Any:
    """Attention by masked matrices, its rotations as complex numbers."""

    def turned(n: Any, x: Any) -> Any:
        half = x.shape[-1] // 2
        angle = np.arange(len(x))[:, None, None] * layer.rotary ** (-np.arange(half) / half)
        z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
        return n.concatenate([z.real, z.imag], -1)

    def formula(n: Any, p: Any, xs: Any) -> Any:
        dense = lambda role, x: x @ p[role]["weight"] + (p[role]["bias"] if layer.bias else 0)
        q, k, v = (
            dense(role, xs).reshape(len(xs), layer.heads, -1) for role in ("query", "key", "value")
        )
        if layer.rotary:
            q, k = turned(n, q), turned(n, k)
        age = np.arange(len(xs))[:, None] - np.arange(len(xs))
        scores = n.einsum("thn,shn->hts", q, k) / np.sqrt(q.shape[-1])
        e = n.exp(n.where((age >= 0) & (age < layer.window), scores, -n.inf))
        y = n.einsum("hts,shn->thn", e / e.sum(-1, keepdims=True), v)
        return dense("out", y.reshape(len(xs), -1))

    return formula


def attending(**options: Any) -> Case:
    layer = learn.Attention(8, **options)
    return Case(layer, 8, attention(layer), matrices(layer))


CASES = {
    "gru": Case(learn.GRU(3, 4), 3, gru),
    "gru_before": Case(
        learn.GRU(3, 4, reset_after=False), 3, lambda n, p, xs: gru(n, p, xs, False)
    ),
    "lstm": Case(learn.LSTM(3, 4), 3, lstm),
    "conv": convolving(learn.Conv1D(3, 4, window=3)),
    "conv_dilated": convolving(learn.Conv1D(2, 3, window=3, dilation=2)),
    "conv_groups": convolving(learn.Conv1D(4, 6, window=2, groups=2)),
    "conv_depthwise": convolving(learn.depthwise(3, 3)),
    "conv_pointwise": convolving(learn.pointwise(3, 2)),
    "attention": attending(window=16),
    "attention_heads": attending(window=16, heads=2, bias=True),
    "attention_wraps": attending(window=4, heads=2),
    "attention_rotary": attending(window=16, heads=2, rotary=100.0),
    "attention_rotary_wraps": attending(window=4, heads=2, rotary=100.0),
}
ALL = pytest.mark.parametrize("name", CASES)
IN_SPACE = pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if hasattr(c.layer, "in_space")]
)


@ALL
@pytest.mark.parametrize("target", TARGETS)
def test_tick_by_tick_is_the_naive_loop(name, target):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    want = case.reference(np, map_tree(np.float64, params), xs.astype(np.float64))
    close(run(lambda x: case.layer(params, x), xs, target=target), want)


def whole(layer: Any) -> Any:
    """The layer over the first axis, by over_time."""
    return lambda p, xs: sc.over_time(lambda x: layer(p, x))(xs)


@ALL
def test_over_time_has_the_bits_of_tick_by_tick(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    same(step(whole(case.layer), params, xs), run(lambda x: case.layer(params, x), xs))


@IN_SPACE
def test_in_space_is_tick_by_tick(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    ticks, space = run(lambda x: case.layer(params, x), xs), step(case.layer.in_space, params, xs)
    close(space, ticks, 1e-6)
    if "wraps" not in name:
        same(space, ticks)


def gradients_in_space(form: Any) -> Any:
    return lambda p, xs: sc.value_and_grad(lambda q, z: sc.sum(sc.square(form(q, z))), (0, 1))(
        p, xs
    )


def gradients_in_a_frame(layer: Any, params: Any, xs: np.ndarray, target: str = "interp") -> Any:
    def model(x):
        with sc.frame(max=len(xs)) as fr:
            value, (dw, dx) = sc.value_and_grad(
                lambda p, z: sc.sum(sc.square(layer(p, z))), (0, 1)
            )(params, x)
            return fr.sum(value), (fr.sum(dw), fr.stack(dx))

    return once(run(model, xs, target=target))


def gradients_of_jax(case: Case, params: Any, xs: np.ndarray) -> Any:
    jax = pytest.importorskip("jax")
    form = case.formula or case.reference
    return jax.jit(jax.value_and_grad(lambda p, z: (form(jax.numpy, p, z) ** 2).sum(), (0, 1)))(
        params, xs
    )


@ALL
def test_gradients_over_time_are_jaxs(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    close(
        step(gradients_in_space(whole(case.layer)), params, xs), gradients_of_jax(case, params, xs)
    )


@ALL
def test_gradients_in_a_frame_are_those_over_time(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    close(
        gradients_in_a_frame(case.layer, params, xs),
        step(gradients_in_space(whole(case.layer)), params, xs),
    )


@ALL
@in_c
def test_c_has_the_interpreters_bits(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    same(
        run(lambda x: case.layer(params, x), xs, target="c"),
        run(lambda x: case.layer(params, x), xs),
    )
    same(
        gradients_in_a_frame(case.layer, params, xs, "c"),
        gradients_in_a_frame(case.layer, params, xs),
    )


@IN_SPACE
def test_gradients_in_space_are_those_over_time(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    mine = step(gradients_in_space(case.layer.in_space), params, xs)
    close(mine, step(gradients_in_space(whole(case.layer)), params, xs))


@ALL
@pytest.mark.parametrize("at", [0, 1, 4, TICKS - 1])
def test_a_reset_starts_afresh(name, at):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, case.inputs)
    opens = np.arange(TICKS) == at
    got = run(lambda x, r: case.layer(params, x, reset=r), xs, opens)
    plain = lambda part: run(lambda x: case.layer(params, x), part)
    same(
        got,
        np.concatenate(
            [plain(xs[:at]) if at else np.zeros((0, got.shape[1]), np.float32), plain(xs[at:])]
        ),
    )


@pytest.mark.parametrize("name", ["gru", "gru_before", "lstm"])
def test_leading_axes_are_separate(name):
    case = CASES[name]
    params, xs = case.params, random(1, TICKS, 2, case.inputs)
    both = run(lambda x: case.layer(params, x), xs)
    for lane in range(2):
        close(both[:, lane], run(lambda x: case.layer(params, x), xs[:, lane].copy()), 1e-6)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_initial_values_are_used_and_have_gradients(name):
    jax = pytest.importorskip("jax")
    case = CASES[name]
    params, xs = case.params, random(1, 3, case.inputs)
    h = random(2, 4)
    start = h if name == "gru" else (h, random(3, 4))

    def total(s, p, zs):
        return sc.sum(sc.over_time(lambda x: case.layer(p, x, initial=s))(zs))

    def theirs(s, p, zs):
        if name == "gru":
            return repeated(lambda h, x: gru_cell(jax.numpy, p, h, x), s, zs).sum()
        return repeated(lambda m, x: lstm_cell(jax.numpy, p, m, x), s, zs, lambda m: m[0]).sum()

    mine = step(lambda s, p, zs: sc.value_and_grad(total)(s, p, zs), start, params, xs)
    close(mine, jax.jit(jax.value_and_grad(theirs))(start, params, xs))


def test_lstm_forgets_little_at_first():
    assert learn.LSTM(2, 3).init(0)["bias"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


# Attention.


@pytest.mark.parametrize("ticks", [1, 3, 4, 5, 7, 9])
@pytest.mark.parametrize("name", ["attention_wraps", "attention_rotary_wraps", "attention_heads"])
def test_decoding_goes_on_from_a_prefill(name, ticks):
    case = CASES[name]
    params, xs = case.params, random(1, 14, case.inputs)

    def model(head, x):
        ys, memory = case.layer.prefill(params, head)
        return ys, case.layer(params, x, initial=memory)

    rest = xs[ticks:]
    ys, later = run(model, np.repeat(xs[None, :ticks], len(rest), 0), rest)
    want = run(lambda x: case.layer(params, x), xs)
    close(ys[0], want[:ticks], 1e-6)
    close(later, want[ticks:], 1e-6)


def test_the_ring_does_not_count_without_bound():
    layer = learn.Attention(2, window=3)
    params = layer.init(1)
    program = sc.compile(sc.node(lambda x: layer(params, x)), sc.f32[2])
    program.run(random(1, 20, 2))
    (position,) = (v for v in program.state.values() if v.dtype == np.int32)
    assert position == 3 + 20 % 3


def test_attention_needs_whole_heads():
    with pytest.raises(ValueError, match="size 6"):
        learn.Attention(6, heads=2, rotary=1e4)
    with pytest.raises(ValueError, match="4 heads"):
        learn.Attention(6, heads=4)


# Batch normalisation.


def normal(n: Any, p: Any, xs: Any) -> Any:
    return (xs - xs.mean(0)) / n.sqrt(xs.var(0) + 1e-5) * p["scale"] + p["bias"]


BATCH = learn.BatchNorm(3)


def framed(body: Any) -> Any:
    def model(x, done):
        with sc.frame(max=6, until=done) as fr:
            return body(fr, x)

    return model


@pytest.mark.parametrize("target", TARGETS)
def test_batch_norm_in_frames_of_any_length(target):
    params, xs = jittered(BATCH.init()), random(1, 9, 3)
    done = np.isin(np.arange(9), [3, 4, 8])
    got = run(framed(lambda fr, x: BATCH(params, x)), xs, done, target=target)
    close(
        got, np.concatenate([normal(np, params, part) for part in (xs[:4], xs[4:5], xs[5:])]), 1e-4
    )


@pytest.mark.parametrize("form", [whole(BATCH), BATCH.in_space], ids=["over_time", "in_space"])
def test_batch_norm_and_its_gradients_over_a_tensor(form):
    jax = pytest.importorskip("jax")
    params, xs = jittered(BATCH.init()), random(1, 6, 3)
    close(step(form, params, xs), normal(np, params, xs))
    weigh = np.arange(18, dtype=np.float32).reshape(6, 3)
    mine = step(
        lambda p, z: sc.grad(lambda q, y: sc.sum(sc.square(form(q, y)) * weigh), (0, 1))(p, z),
        params,
        xs,
    )
    theirs = jax.jit(jax.grad(lambda p, z: (normal(jax.numpy, p, z) ** 2 * weigh).sum(), (0, 1)))
    close(mine, theirs(params, xs), 1e-4)


def test_batch_norm_gradients_in_a_frame():
    params, xs = jittered(BATCH.init()), random(1, 6, 3)
    mine = gradients_in_a_frame(BATCH, params, xs)
    close(mine, step(gradients_in_space(BATCH.in_space), params, xs), 1e-4)


def test_batch_norm_tracks_statistics_for_inference():
    params, xs = jittered(BATCH.init()), random(1, 8, 3)

    def model(x):
        with sc.frame(max=4) as fr:
            moments = BATCH.moments(x)
        batch = fr.last(moments)
        with sc.every(fr.closes):
            s = sc.state(BATCH.statistics())
            s.next = BATCH.track(s, batch)
            return s.next

    got = run(model, xs)
    mean, variance = np.zeros(3), np.ones(3)
    for k, part in enumerate((xs[:4], xs[4:])):
        mean, variance = (
            mean + 0.1 * (part.mean(0) - mean),
            variance + 0.1 * (part.var(0) - variance),
        )
        close({n: v.values[k] for n, v in got.items()}, {"mean": mean, "variance": variance})
    kept = {"mean": mean.astype(np.float32), "variance": variance.astype(np.float32)}
    want = (xs - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]
    close(run(lambda x: BATCH.inference(params, kept, x), xs), want)


def test_batch_norm_outside_of_a_frame_says_what_is_missing():
    with pytest.raises(sc.SeicheError) as caught:
        run(lambda x: BATCH(BATCH.init(), x), random(1, 4, 3))
    assert caught.value.code == "SE403", caught.value
