"""Lowered programs mean what the oracle says: delays, look-ahead, resets, clocks, frames, scans, in bits."""

from __future__ import annotations

import numpy as np
import pytest

from seiche.errors import SeicheError
from seiche.ir.builder import Builder
from seiche.ir.core import Call, Check, Equation, Fby, Frame, Node, Post, Scan, Var
from seiche.numbers.formats import Type, bf16, bool_, f32, i32
from seiche.schedule.lower import lower
from tests.agreement import agree, program_of

F, B, I = f32[()], bool_[()], i32[()]
TICKS = 23


def floats(seed: int, ticks: int = TICKS, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ticks, *shape)).astype(np.float32)


def flips(seed: int, ticks: int = TICKS, p: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random(ticks) < p


def declare(b: Builder, type: Type, name: str) -> Var:
    return Var(name, type, b.loc, b.scope)


def equation(b: Builder, out: Var, rhs: object) -> Var:
    b.eqs.append(Equation((out,), rhs))
    return out


# Delays.


@pytest.mark.parametrize("init", ["literal", "computed", "none"])
@pytest.mark.parametrize("with_reset", [False, True])
def test_fby(init: str, with_reset: bool) -> None:
    b = Builder()
    x, r = Var("x", F), Var("r", B)
    first = {"literal": lambda: b.lit(2, F), "computed": lambda: b.mul(x, x), "none": lambda: None}[
        init
    ]()
    mean = declare(b, F, "mean")
    following = b.add(b.mul(b.lit(0.5, F), mean), x)
    equation(b, mean, Fby(first, following, r if with_reset else None))
    if init == "none":
        # Undefined where the segment opens: hidden by a choice.
        opens = b.logical_or(b.fby(b.lit(True, B), b.lit(False, B)), r)
        shown = b.select(opens, x, b.fby(None, x, r if with_reset else None))
        agree(b.node("n", (x, r), (shown,)), [floats(1), flips(2)])
    else:
        agree(b.node("n", (x, r), (mean, following)), [floats(1), flips(2)])


def test_resets_shifted_by_one_tick_are_noticed() -> None:
    b = Builder()
    x, r = Var("x", F), Var("r", B)
    node = b.node("n", (x, r), (b.fby(b.lit(7, F), x, r), b.post(x, b.lit(9, F), r)))
    program = agree(node, [floats(1), flips(2)])
    program.reset()
    before = program.run(floats(1), flips(2))
    program.reset()
    after = program.run(floats(1), np.roll(flips(2), 1))
    assert all((p != q).any() for p, q in zip(before, after))


def test_computed_init_of_constants_costs_nothing() -> None:
    b = Builder()
    x = Var("x", f32[80, 80])
    start = b.mul(
        b.broadcast(b.lit(3, F), shape=(80, 80)), b.broadcast(b.lit(2, F), shape=(80, 80))
    )
    w = declare(b, x.type, "w")
    equation(b, w, Fby(start, b.add(w, x)))
    lowered = lower(b.node("n", (x,), (w,)))
    assert {type(eq.rhs).__name__ for eq in lowered.node.eqs} == {"Lit", "Fby", "Apply"}
    assert len(lowered.node.eqs) == 3
    assert (lowered.initial["w"] == 6).all()
    agree(lowered.node, [floats(1, 3, (80, 80))])


# Look-ahead.


def test_post_chain_with_resets() -> None:
    b = Builder()
    x, r, q = Var("x", F), Var("r", B), Var("q", B)
    one = b.post(x, b.lit(-1, F), r)
    two = b.post(one, b.neg(x), q)
    three = b.post(two, x, b.fby(b.lit(True, B), q))
    node = b.node("n", (x, r, q), (x, one, two, three, b.add(x, three)))
    program = agree(node, [floats(3), flips(4), flips(5)])
    assert program.latency == (0, 1, 2, 3, 3)


def test_long_look_ahead_uses_rings() -> None:
    b = Builder()
    x, r = Var("x", F), Var("r", B)
    ahead = x
    for _ in range(12):
        ahead = b.post(ahead, b.lit(0, F), r)
    late = b.mul(ahead, x)
    tail = b.post(b.post(late, x), x)
    node = b.node("n", (x, r), (late, tail, b.fby(x, late, r)))
    agree(node, [floats(3, 40), flips(4, 40, 0.05)])
    assert any("ring" in name for name in lower(node).states)


def test_post_of_a_delayed_self() -> None:
    """A cycle of one step ahead and two back is a forward recurrence."""
    b = Builder()
    x, r = Var("x", F), Var("r", B)
    y = declare(b, F, "y")
    back = b.fby(b.lit(1, F), b.fby(x, y, r), name="back")
    s = b.add(b.mul(b.lit(0.5, F), back), x)
    equation(b, y, Post(s, b.lit(4, F), r))
    node = b.node("n", (x, r), (y, s, back))
    agree(node, [floats(3), flips(4)])


def test_states_after_look_ahead_open_late() -> None:
    b = Builder()
    x, r = Var("x", F), Var("r", B)
    ahead = b.post(b.add(x, b.lit(1, F)), b.lit(0, F), r)
    total = declare(b, F, "total")
    after = b.add(total, ahead)
    equation(b, total, Fby(b.lit(100, F), after, r))
    product = declare(b, F, "product")
    equation(b, product, Fby(b.add(ahead, ahead), b.mul(product, ahead)))
    agree(b.node("n", (x, r), (total, after, product)), [floats(3), flips(4)])


def test_look_ahead_in_the_condition_of_a_clock() -> None:
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    soon = b.post(c, b.lit(True, B))
    zero = b.lit(0, F)
    count = declare(b, F, "count")
    seen = b.when(x, soon)
    equation(b, count, Fby(b.mul(seen, seen), b.add(count, seen)))
    slow_first = b.fby(b.lit(5, F), seen)
    out = b.merge(soon, count, b.when(b.sub(zero, x), soon, False))
    node = b.node("n", (x, c), (count, slow_first, out, b.fby(b.lit(3, F), out)))
    program = agree(node, [floats(3), flips(4)])
    assert program.latency == (1, 1, 1, 0)  # the last is known a tick earlier


def test_a_clock_whose_samples_are_late_is_delayed() -> None:
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    late = b.post(b.post(x, b.lit(0, F)), b.lit(0, F))
    both = b.add(b.when(late, c), b.when(x, c))
    back = b.merge(c, both, b.when(x, c, False))
    deeper = b.lt(b.when(x, c), both)
    slow = b.fby(b.lit(8, F), b.when(both, deeper))
    node = b.node("n", (x, c), (both, back, slow, b.mul(back, x)))
    program = agree(node, [floats(3), flips(4, p=0.6)])
    assert program.latency == (2, 2, 2, 2)


# Clocks.


def test_nested_clocks_and_merges() -> None:
    b = Builder()
    x, c, d = Var("x", F), Var("c", B), Var("d", B)
    d_slow = b.when(d, c)
    x_slow = b.when(x, c)
    inner = b.when(x_slow, d_slow)
    total = declare(b, F, "total")
    then = b.add(total, inner)
    equation(b, total, Fby(b.lit(0, F), then, b.lt(inner, b.lit(-1, F))))
    middle = b.merge(d_slow, then, b.when(b.neg(x_slow), d_slow, False))
    out = b.merge(c, middle, b.when(b.lit(0.5, F), c, False))
    node = b.node("n", (x, c, d), (inner, then, middle, out, b.when(x, c, False)))
    agree(node, [floats(1), flips(2, p=0.7), flips(3, p=0.6)])


def test_hold() -> None:
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    held = declare(b, F, "held")
    before = b.fby(b.lit(0, F), held)
    equation(b, held, b.eqs and _merge(c, b.when(x, c), b.when(before, c, False)))
    agree(b.node("n", (x, c), (held, before)), [floats(1), flips(2)])


def _merge(*args: Var) -> object:
    from seiche.ir.core import Merge

    return Merge(*args)


# Scans.


def recurrence(name: str = "body") -> Node:
    """Rows x, r and a constant k: a forward state, a backward costate over it, look-ahead, and clocks of rows."""
    b = Builder()
    x, r, k = Var("x", F), Var("r", B), Var("k", F)
    s = declare(b, F, "s")
    forward = b.add(b.mul(k, s), x)
    equation(b, s, Fby(k, forward, r))
    c = declare(b, F, "c")
    backward = b.add(b.mul(c, k), b.mul(forward, x))
    equation(b, c, Post(backward, b.neg(x), r))
    again = b.fby(x, b.add(backward, s))
    on = b.lt(x, k)
    few = b.when(x, on)
    last_few = b.fby(b.mul(few, few), few)
    next_few = b.post(few, b.lit(3, F))
    rest = b.when(x, on, False)
    out = b.merge(on, b.add(last_few, next_few), b.post(rest, rest))
    return b.node(name, (x, r, k), (backward, again, out, forward))


@pytest.mark.parametrize("with_length", [False, True])
def test_scan(with_length: bool) -> None:
    b = Builder()
    x, r, k, n = Var("x", f32[6]), Var("r", bool_[6]), Var("k", F), Var("n", I)
    length = (
        b.add(b.minimum(b.maximum(n, b.lit(0, I)), b.lit(5, I)), b.lit(1, I))
        if with_length
        else None
    )
    kinds = ("stack", "stack", "stack", "last")
    types = (f32[6], f32[6], f32[6], F)
    scan = Scan(recurrence(), (x, r, k), (True, True, False), kinds, 6, length)
    outs = b.define_many(scan, types, ("backward", "again", "out", "forward"))
    node = b.node("n", (x, r, k, n), outs)
    rng = np.random.default_rng(0)
    resets = rng.random((TICKS, 6)) < 0.3
    counts = rng.integers(0, 6, TICKS).astype(np.int32)
    agree(node, [floats(1, shape=(6,)), resets, floats(2), counts])


def test_nested_scans_on_a_clock() -> None:
    inner = recurrence("inner")
    b = Builder()
    row, r, k = Var("row", f32[4]), Var("r", bool_[4]), Var("k", F)
    (stack, last) = b.define_many(
        Scan(inner, (row, r, k), (True, True, False), ("stack", "last", "first", "first"), 4),
        (f32[4], F, F, F), ("stack", "last", "f", "g"),
    )[:2]  # fmt: skip
    total = declare(b, F, "total")
    after = b.add(total, last)
    equation(b, total, Post(after, b.lit(0, F)))
    middle = b.node("middle", (row, r, k), (stack, after))
    b = Builder()
    x, r, k, c = Var("x", f32[3, 4]), Var("r", bool_[3, 4]), Var("k", F), Var("c", B)
    args = tuple(b.when(v, c) for v in (x, r, k))
    outs = b.define_many(
        Scan(middle, args, (True, True, False), ("stack", "first"), 3),
        (f32[3, 4], F),
        ("stack", "first"),
    )
    node = b.node("n", (x, r, k, c), outs)
    resets = np.random.default_rng(0).random((9, 3, 4)) < 0.3
    agree(node, [floats(1, 9, (3, 4)), resets, floats(2, 9), flips(3, 9, 0.7)])


def test_calls_are_inlined() -> None:
    b = Builder()
    p, q = Var("p", F), Var("q", F)
    inner = b.node("inner", (p, q), (b.mul(p, q), p))
    b = Builder()
    p, q = Var("p", F), Var("q", F)
    product, same = b.define_many(Call(inner, (q, p)), (F, F), ("product", "same"))
    outer = b.node("outer", (p, q), (same, b.add(product, same)))
    b = Builder()
    x = Var("x", F)
    first, second = b.define_many(Call(outer, (b.neg(x), x)), (F, F), ("first", "second"))
    agree(b.node("n", (x,), (first, b.fby(b.lit(0, F), second))), [floats(1)])


def test_small_formats_are_rounded() -> None:
    b = Builder()
    x = Var("x", bf16[()])
    s = declare(b, x.type, "s")
    after = b.add(b.mul(s, b.lit(0.5, x.type)), x)
    equation(b, s, Fby(b.lit(1, x.type), after))
    values = (floats(1).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    agree(b.node("n", (x,), (after,)), [values])


# Frames.


def gae() -> Node:
    """Rows reward, value; constant discount: the advantage, backward, and a running sum, forward."""
    b = Builder()
    reward, value, discount = Var("reward", F), Var("value", F), Var("discount", F)
    later = b.post(value, b.lit(0, F))
    ahead = declare(b, F, "ahead")
    delta = b.sub(b.add(reward, b.mul(discount, later)), value)
    gain = b.add(delta, b.mul(discount, ahead))
    equation(b, ahead, Post(gain, b.lit(0, F)))
    total = declare(b, F, "total")
    so_far = b.add(total, reward)
    equation(b, total, Fby(b.lit(0, F), so_far))
    return b.node("gae", (reward, value, discount), (gain, so_far))


def bounded(done: np.ndarray, extent: int) -> np.ndarray:
    """Closes at least every `extent` ticks."""
    done, since = done.copy(), 0
    for t in range(len(done)):
        since += 1
        done[t] |= since == extent
        since = 0 if done[t] else since
    return done


def framed(b: Builder, args: tuple[Var, ...], mapped: tuple[bool, ...], kinds: tuple[str, ...], extent: int,
           until: Var, reset: Var | None = None, body: Node | None = None) -> tuple[Var, ...]:  # fmt: skip
    body = body or gae()
    types = tuple(
        Type(v.type.format, (extent, *v.type.shape)) if kind == "stack" else v.type
        for v, kind in zip(body.outputs, kinds)
    )
    frame = Frame(body, args, mapped, kinds, extent, until, reset)
    return b.define_many(frame, types, tuple(v.name for v in body.outputs))


@pytest.mark.parametrize("ticks", [1, 2, 5, 18, 19])
@pytest.mark.parametrize("extent", [1, 2, 5, 9])
@pytest.mark.parametrize(
    "kinds", [("stream", "stream"), ("stack", "last"), ("stream", "last"), ("first", "stream")]
)
def test_frame_closed_by_data_or_by_the_end(
    ticks: int, extent: int, kinds: tuple[str, str]
) -> None:
    b = Builder()
    reward, value, done = Var("reward", F), Var("value", F), Var("done", B)
    outs = framed(b, (reward, value, b.lit(0.9, F)), (True, True, False), kinds, extent, done)
    node = b.node("n", (reward, value, done), outs)
    for seed in range(3):
        agree(
            node,
            [floats(seed, ticks), floats(seed + 9, ticks), bounded(flips(seed, ticks), extent)],
        )


@pytest.mark.parametrize("kinds", [("stack", "last"), ("first", "last")])
def test_frame_with_reset_on_a_clock(kinds: tuple[str, str]) -> None:
    b = Builder()
    x, on, done, r = Var("x", F), Var("on", B), Var("done", B), Var("r", B)
    rx, rdone, rr = (b.when(v, on) for v in (x, done, r))
    outs = framed(b, (rx, b.neg(rx), b.lit(0.5, F)), (True, True, False), kinds, TICKS, rdone, rr)
    held = b.merge(rdone, outs[1], b.when(b.neg(rx), rdone, False))
    node = b.node("n", (x, on, done, r), (*outs, held, b.fby(b.lit(0, F), outs[1])))
    for seed in range(4):
        agree(node, [floats(seed), flips(seed + 1, p=0.8), flips(seed + 2), flips(seed + 3, p=0.2)])


def test_late_frame() -> None:
    """A frame of what looks ahead; its results look ahead in turn; a state and a clock follow."""
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    ahead = b.post(b.post(x, b.lit(0, F)), b.lit(1, F))
    gain, so_far = framed(
        b, (ahead, x, b.lit(0.9, F)), (True, True, False), ("stream", "last"), 4, done
    )
    more = b.post(gain, b.lit(0, F))
    slow = declare(b, F, "slow")
    equation(b, slow, Fby(b.lit(10, F), b.add(slow, so_far)))
    total = declare(b, F, "total")
    equation(b, total, Fby(gain, b.add(total, gain)))
    node = b.node("n", (x, done), (gain, more, so_far, slow, total))
    program = agree(node, [floats(1), bounded(flips(2), 4)])
    assert program.latency == (5, 6, 2, 2, 5)
    for ticks in (1, 2, 3, 6, 11):
        agree(node, [floats(1, ticks), bounded(flips(2, ticks), 4)])


@pytest.mark.parametrize("kinds", [("stream", "last"), ("stream", "stream"), ("first", "last")])
@pytest.mark.parametrize("look_ahead", [False, True])
@pytest.mark.parametrize("init", ["literal", "computed", "reset"])
def test_parameters_carried_from_frame_to_frame(
    kinds: tuple[str, str], look_ahead: bool, init: str
) -> None:
    b = Builder()
    x, done, r = Var("x", F), Var("done", B), Var("r", B)
    late = b.post(x, b.lit(0, F)) if look_ahead else x
    w = declare(b, F, "w")
    outs = framed(
        b, (late, x, b.mul(w, b.when(b.add(x, late), done))), (True, True, False), kinds, 5, done
    )
    step = b.add(b.mul(w, b.lit(0.5, F)), b.when(b.sub(x, late), done))
    start = b.when(b.mul(x, x), done) if init == "computed" else b.lit(2, F)
    equation(b, w, Fby(start, step, b.when(r, done) if init == "reset" else None))
    node = b.node("n", (x, done, r), (*outs, w))
    for seed in range(2):
        ticks = 20 + seed
        agree(
            node,
            [floats(seed, ticks), bounded(flips(seed, ticks, 0.2), 5), flips(seed + 7, ticks, 0.5)],
        )


def test_slow_parameters_that_learn_from_the_frame() -> None:
    """The gradient swept back over a frame changes the parameters of the next one."""
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    w = declare(b, F, "w")
    gain, total = framed(b, (x, b.neg(x), w), (True, True, False), ("first", "last"), 6, done)
    equation(b, w, Fby(b.lit(0.5, F), b.sub(w, b.mul(b.lit(0.1, F), gain))))
    node = b.node("n", (x, done), (w, gain, total, b.merge(done, w, b.when(x, done, False))))
    agree(node, [floats(1, 40), bounded(flips(2, 40, 0.2), 6)])


def test_checks_are_silent_before_their_latency_and_after_the_end() -> None:
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    ahead = b.post(x, b.lit(1, F))
    positive = b.lt(b.lit(0, F), ahead)
    slow = b.lt(b.lit(0, F), b.when(b.post(ahead, b.lit(1, F)), done))
    b.checks += [Check(positive, "SE602", "positive", x.loc), Check(slow, "SE602", "slow", x.loc)]
    node = b.node("n", (x, done), (ahead,))
    x_in = np.abs(floats(1)) + 1
    agree(node, [x_in, flips(2)])
    x_in[9] = -1
    program = program_of(node)
    with pytest.raises(SeicheError, match="positive, at tick 8"):
        program.run(x_in, flips(2))


def test_checks_inside_bodies_are_of_the_scan() -> None:
    b = Builder()
    x = Var("x", F)
    on = b.lt(x, b.lit(9, F))
    small = b.lt(b.when(x, on), b.lit(5, F))
    b.checks.append(Check(small, "SE602", "too large", x.loc))
    body = b.node("body", (x,), (b.fby(b.lit(0, F), x),))
    b = Builder()
    xs = Var("xs", f32[4])
    (last,) = b.define_many(Scan(body, (xs,), (True,), ("last",), 4), (F,), ("last",))
    node = b.node("n", (xs,), (last,))
    rows = np.ones((6, 4), np.float32)
    rows[2, 1] = 20
    agree(node, [rows])
    rows[4, 2] = 6
    with pytest.raises(SeicheError, match="too large, at tick 4"):
        program_of(node).run(rows)


def test_overflow_names_tick_and_line() -> None:
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    outs = framed(b, (x, x, b.lit(0.9, F)), (True, True, False), ("stream", "last"), 3, done)
    node = b.node("n", (x, done), outs)
    done_in = np.array([0, 0, 1, 0, 0, 0], bool)
    agree(node, [floats(1, 6), done_in])  # full, and then cut by the end: no overflow
    program = program_of(node)
    with pytest.raises(SeicheError, match=r"holds 3 ticks at most.*at tick 6") as caught:
        program.run(floats(1, 9), np.append(done_in, [0, 0, 0]).astype(bool))
    assert caught.value.code == "SE602"
    with pytest.raises(SeicheError, match="at tick 6"):
        program.step(np.float32(0), True)
    program.reset()
    program.step(np.float32(0), True)


# What is refused.


def refused(node: Node, code: str) -> str:
    with pytest.raises(SeicheError) as caught:
        lower(node)
    assert caught.value.code == code
    return str(caught.value)


def test_look_ahead_on_a_sub_clock_is_refused() -> None:
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    refused(b.node("n", (x, c), (b.post(b.when(x, c), b.lit(0, F)),)), "SE303")
    b = Builder()
    xs, cs = b.when(x, c), b.when(c, c)
    outs = framed(b, (xs, xs, xs), (True, True, False), ("stream", "stream"), 3, cs)
    refused(b.node("n", (x, c), outs), "SE303")


def test_streams_of_a_frame_that_is_reset_are_refused() -> None:
    b = Builder()
    x, c, r = Var("x", F), Var("c", B), Var("r", B)
    outs = framed(b, (x, x, b.lit(1, F)), (True, True, False), ("stream", "last"), 3, c, r)
    refused(b.node("n", (x, c, r), outs), "SE603")


def test_frames_in_bodies_are_refused() -> None:
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    body = b.node(
        "body",
        (x, c),
        framed(b, (x, x, b.lit(1, F)), (True, True, False), ("stream", "stream"), 3, c),
    )
    b = Builder()
    xs, cs = Var("xs", f32[4]), Var("cs", bool_[4])
    outs = b.define_many(
        Scan(body, (xs, cs), (True, True), ("last", "last"), 4), (F, F), ("a", "b")
    )
    refused(b.node("n", (xs, cs), outs), "SE603")


def test_streams_that_feed_their_own_frame_are_refused() -> None:
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    w = declare(b, F, "w")
    gain, _ = framed(b, (x, x, w), (True, True, False), ("stream", "stream"), 3, done)
    equation(b, w, Fby(b.lit(0, F), b.when(gain, done)))
    text = refused(b.node("n", (x, done), (gain,)), "SE603")
    assert "reads `" in text


def test_a_costate_without_a_frame_is_refused() -> None:
    b = Builder()
    x = Var("x", F)
    c = declare(b, F, "c")
    equation(b, c, Post(b.add(c, x), b.lit(0, F)))
    text = refused(b.node("n", (x,), (c,)), "SE403")
    assert "`c` reads `add` 1 tick ahead" in text and "`add` reads `c` at the same tick" in text


def test_slow_parameters_of_every_form_where_the_end_cuts_a_frame() -> None:
    """Samples of samples, merges, scans and calls of states, on the clock of the frame."""
    b = Builder()
    x, k = Var("x", F), Var("k", F)
    total = declare(b, F, "total")
    after = b.add(total, b.mul(x, k))
    equation(b, total, Fby(b.lit(0, F), after))
    summed = b.node("summed", (x, k), (after,))
    b = Builder()
    x, done, xs = Var("x", F), Var("done", B), Var("xs", f32[3])
    here = b.when(x, done)
    w = declare(b, F, "w")
    up = b.lt(here, w)
    chosen = b.merge(up, b.when(b.neg(w), up), b.when(here, up, False))
    (scanned,) = b.define_many(
        Scan(summed, (b.when(xs, done), chosen), (True, False), ("last",), 3), (F,), ("scanned",)
    )
    (gain, last) = framed(b, (x, x, scanned), (True, True, False), ("stream", "last"), 5, done)
    equation(b, w, Fby(b.lit(0.5, F), b.sub(w, last)))
    node = b.node("n", (x, done, xs), (gain, w))
    for ticks in range(9, 16):
        agree(
            node, [floats(ticks, ticks), bounded(flips(3, ticks, 0.1), 5), floats(1, ticks, (3,))]
        )


def test_streams_of_one_frame_cannot_wait_for_another() -> None:
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    _, last = framed(b, (x, x, b.lit(1, F)), (True, True, False), ("first", "last"), 5, done)
    gain, _ = framed(b, (x, x, last), (True, True, False), ("stream", "stream"), 5, done)
    refused(b.node("n", (x, done), (gain,)), "SE603")


def test_checks_inside_a_frame_see_cut_frames_too() -> None:
    b = Builder()
    x = Var("x", F)
    b.checks.append(Check(b.lt(x, b.lit(5, F)), "SE602", "too large", x.loc))
    body = b.node("body", (x,), (b.post(x, b.lit(0, F)), b.fby(b.lit(0, F), x)))
    for kinds in (("stream", "last"), ("first", "last")):
        b = Builder()
        x, done = Var("x", F), Var("done", B)
        node = b.node("n", (x, done), framed(b, (x,), (True,), kinds, 4, done, body=body))
        values, ends = np.zeros(10, np.float32), np.arange(10) % 4 == 3
        agree(node, [values, ends])
        values[5] = 9
        with pytest.raises(SeicheError, match="too large, at tick 7"):
            program_of(node).run(values, ends)
    with pytest.raises(SeicheError, match="too large"):
        node = b.node(
            "n", (x, done), framed(b, (x,), (True,), ("stream", "last"), 4, done, body=body)
        )
        values[:] = 0
        values[9] = 9
        program_of(node).run(values, ends)
