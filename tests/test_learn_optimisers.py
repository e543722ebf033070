"""Optimisers, schedules and clipping against the papers' recurrences in f64, and learners that must learn."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from seiche import learn
from seiche.ir.tree import map_tree
from tests.learning import TARGETS, close, in_c, random, run, same, step

STEPS = 12
START = {"a": random(1, 3), "b": (random(2, 2, 2), np.float32(0.5))}
GRADS = {"a": random(3, STEPS, 3), "b": (random(4, STEPS, 2, 2), random(5, STEPS))}


def sgd(w, grads, rate=0.1):
    for g in grads:
        yield (w := w - rate * g)


def momentum(w, grads, rate=0.1, decay=0.8, nesterov=False):
    v = 0
    for g in grads:
        v = decay * v + g
        yield (w := w - rate * (g + decay * v if nesterov else v))


def adam(w, grads, rate=0.1, b1=0.9, b2=0.999, epsilon=1e-8, decay=0.0):
    m = v = 0
    for t, g in enumerate(grads, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        yield (w := w - rate * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + epsilon) + decay * w))


def rmsprop(w, grads, rate=0.1, decay=0.9, epsilon=1e-8):
    v = 0
    for g in grads:
        v = decay * v + (1 - decay) * g**2
        yield (w := w - rate * g / (np.sqrt(v) + epsilon))


OPTIMISERS = {
    "sgd": (learn.SGD(0.1), sgd),
    "momentum": (learn.Momentum(0.1, 0.8), momentum),
    "nesterov": (
        learn.Momentum(0.1, 0.8, nesterov=True),
        lambda w, g: momentum(w, g, nesterov=True),
    ),
    "adam": (learn.Adam(0.1), adam),
    "adam_without_memory": (learn.Adam(0.1, 0.0, 0.0), lambda w, g: adam(w, g, b1=0.0, b2=0.0)),
    "adamw": (learn.AdamW(0.1, decay=0.05), lambda w, g: adam(w, g, decay=0.05)),
    "rmsprop": (learn.RMSprop(0.1), rmsprop),
}
ALL = pytest.mark.parametrize("name", OPTIMISERS)


def descent(opt, start=START, format=None):
    def model(grads):
        w = sc.state(start, format=format)
        s = sc.state(opt.init(w))
        w.next, s.next = opt.update(grads, s, w)
        return w.next

    return model


@ALL
@pytest.mark.parametrize("target", TARGETS)
def test_steps_are_the_papers(name, target):
    opt, reference = OPTIMISERS[name]
    want = map_tree(
        lambda w, g: np.stack(list(reference(np.float64(w), np.float64(g)))), START, GRADS
    )
    close(run(descent(opt), GRADS, target=target), want, 1e-5)


@ALL
@in_c
def test_c_has_the_interpreters_bits(name):
    same(
        run(descent(OPTIMISERS[name][0]), GRADS, target="c"),
        run(descent(OPTIMISERS[name][0]), GRADS),
    )


@ALL
def test_state_may_be_made_of_arrays_or_streams(name):
    opt, _ = OPTIMISERS[name]

    def model(grads):
        w, s = sc.state(START), sc.state(opt.init(START))
        w.next, s.next = opt.update(grads, s, w)
        return w.next

    same(run(model, GRADS), run(descent(opt), GRADS))


@ALL
@pytest.mark.parametrize("format", [sc.f64, sc.bf16], ids=str)
def test_other_formats_stay_themselves(name, format):
    opt, _ = OPTIMISERS[name]
    types = map_tree(lambda g: format[g.shape[1:]], GRADS)
    program = sc.compile(sc.node(descent(opt, format=format)), types)
    assert {t.format for t in program.state.types.values()} <= {format, sc.i32}
    grads = map_tree(lambda g: np.sign(g).astype(format.dtype), GRADS)
    close(
        program.run(grads),
        run(descent(opt), map_tree(np.sign, GRADS)),
        1e-5 if format is sc.f64 else 0.05,
    )


def test_one_leaf_is_a_tree_too():
    opt = learn.Momentum(0.5, 0.5)

    def model(g):
        w = sc.state(1.0)
        s = sc.state(opt.init(w))
        w.next, s.next = opt.update(g, s, w)
        return w

    assert run(model, np.ones(3, np.float32)).tolist() == [1.0, 0.5, -0.25]


@ALL
def test_a_schedule_is_the_rate_at_its_step(name):
    from dataclasses import replace

    opt, _ = OPTIMISERS[name]
    halved = replace(opt, rate=learn.StepDecay(0.1, every=4, factor=0.0))
    first = map_tree(lambda g: g[:8], GRADS)
    got, plain = run(descent(halved), first), run(descent(opt), first)
    close(map_tree(lambda w: w[:4], got), map_tree(lambda w: w[:4], plain))
    same(map_tree(lambda w: w[4:], got), map_tree(lambda w: np.repeat(w[3:4], 4, 0), got))


def test_the_rate_may_be_a_stream():
    def model(g, rate):
        w = sc.state(0.0)
        opt = learn.SGD(rate)
        s = sc.state(opt.init(w))
        w.next, s.next = opt.update(g, s, w)
        return w.next

    assert run(model, np.ones(3, np.float32), np.float32([1, 2, 4])).tolist() == [-1.0, -3.0, -7.0]


def test_bias_correction_is_exact_late_and_early():
    """1 - b^t by expm1: at t = 1 and at a large t, Adam's step is rate * sign of a constant gradient."""
    w = run(
        descent(learn.Adam(0.125, epsilon=0.0), start=np.float32(0)), np.full(200, 3, np.float32)
    )
    np.testing.assert_allclose(np.diff(w, prepend=0), -0.125, rtol=2e-5)


# Schedules.

WARM = learn.Warmup(3, then=learn.Linear(1.0, 0.0, steps=2))
SCHEDULES = {
    "constant": (learn.Constant(0.3), lambda t: 0.3),
    "linear": (learn.Linear(1.0, 0.2, steps=5), lambda t: 1 - 0.8 * min(t, 5) / 5),
    "warmup": (learn.Warmup(4, then=0.5), lambda t: 0.5 * min(t + 1, 5) / 5),
    "warmup_then": (WARM, lambda t: [0.25, 0.5, 0.75, 1.0, 0.5, 0.0][min(t, 5)]),
    "cosine": (
        learn.Cosine(1.0, 6, stop=0.1),
        lambda t: 0.1 + 0.45 * (1 + np.cos(np.pi * min(t, 6) / 6)),
    ),
    "step": (learn.StepDecay(0.8, 3, 0.5), lambda t: 0.8 * 0.5 ** (t // 3)),
    "exponential": (learn.ExponentialDecay(0.8, 3, 0.5), lambda t: 0.8 * 0.5 ** (t / 3)),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("target", TARGETS)
def test_schedules(name, target):
    mine, theirs = SCHEDULES[name]
    ticks = np.arange(10, dtype=np.int32)
    close(
        run(lambda t: mine(t), ticks, target=target), np.array([theirs(t) for t in range(10)]), 1e-6
    )


# Clipping.

TREE = {"x": np.float32([3, -0.5]), "y": np.float32([[0.0, 4.0]])}


def test_clip_by_value():
    same(
        step(lambda t: learn.clip_by_value(t, 1.0), TREE),
        {"x": np.float32([1, -0.5]), "y": np.float32([[0, 1]])},
    )


@pytest.mark.parametrize("limit", [0.5, 5.0, 6.0])
def test_clip_by_global_norm(limit):
    norm = np.sqrt(9 + 0.25 + 16)
    assert step(learn.global_norm, TREE) == np.float32(norm)
    want = map_tree(lambda x: x * min(1.0, limit / norm), TREE)
    close(step(lambda t: learn.clip_by_global_norm(t, limit), TREE), want, 1e-6)


def test_clipping_zeros_gives_zeros():
    same(
        step(lambda t: learn.clip_by_global_norm(t, 1.0), np.zeros(3, np.float32)),
        np.zeros(3, np.float32),
    )


# Learners.

RATES = {
    "sgd": 0.3,
    "momentum": 0.1,
    "nesterov": 0.1,
    "adam": 0.03,
    "adam_without_memory": 0.01,
    "adamw": 0.03,
    "rmsprop": 0.02,
}


@ALL
@pytest.mark.parametrize("target", TARGETS)
def test_a_classifier_learns(name, target):
    from dataclasses import replace

    opt, mlp = (
        replace(OPTIMISERS[name][0], rate=RATES[name]),
        learn.MLP((2, 8, 2), activation=sc.tanh),
    )

    def model(x, label):
        w = sc.state(mlp.init(key=1))
        s = sc.state(opt.init(w))
        loss, dw = sc.value_and_grad(lambda p, z, i: learn.cross_entropy(mlp(p, z), i))(w, x, label)
        w.next, s.next = opt.update(learn.clip_by_global_norm(dw, 10.0), s, w)
        return loss

    x = random(7, 60, 8, 2)
    label = (x[..., 0] > x[..., 1]).astype(np.int32)
    loss = run(model, x, label, target=target)
    assert loss[-10:].mean() < 0.6 * loss[:5].mean(), (loss[:5], loss[-10:])


@pytest.mark.parametrize(
    "name", [n for n in OPTIMISERS if n != "adam_without_memory"]
)  # that needs no step
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_learner_leaves_nothing_unused(name, scheduled):
    from dataclasses import replace

    opt = OPTIMISERS[name][0]
    opt = replace(opt, rate=learn.Cosine(0.1, 100)) if scheduled else opt
    assert sc.diagnose(sc.node(descent(opt)), map_tree(lambda g: sc.f32[g.shape[1:]], GRADS)) == ()


@pytest.mark.parametrize("target", TARGETS)
def test_a_recurrent_learner_remembers(target):
    """A GRU in a frame, its gradient a costate, learns to recall the sign of the first tick."""
    gru, head, opt = learn.GRU(1, 6), learn.Dense(6, 1), learn.Adam(0.03)
    length, frames = 4, 150

    def objective(w, xs, y):
        hs = sc.over_time(lambda x: gru(w["gru"], x))(xs)
        return learn.binary_cross_entropy(head(w["head"], hs[-1]), y)

    def model(x):
        xs = sc.gather(x, length)
        w = sc.state({"gru": gru.init(1), "head": head.init(2)})
        s = sc.state(opt.init(w))
        loss, dw = sc.value_and_grad(objective)(w, xs, xs[0] > 0)
        w.next, s.next = opt.update(dw, s, w)
        return loss

    loss = run(model, random(8, length * frames, 1), target=target).values
    assert loss[-10:].mean() < 0.6 * loss[:10].mean(), (loss[:10], loss[-10:])
