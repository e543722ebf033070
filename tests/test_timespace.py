"""Law 2 for what is set side by side and in blocks: equal, in bits, to one instance after the other and tick by tick; gradients too.

Random programs are the oracle's on one side, and batched or blocked on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.binding import CProgram
from seiche.backends.interp import Interpreter
from seiche.check.causality import check as causal
from seiche.check.run import verify
from seiche.diff import api
from seiche.errors import SeicheError
from seiche.ir.clocks import infer
from seiche.ir.core import Apply, Node, Scan, live
from seiche.numbers.formats import Type, bool_, f64, i32
from seiche.timespace.batch import batch
from seiche.timespace.blocks import to_space
from seiche.timespace.frames import period
from seiche.timespace.spread import spread
from tests import oracle
from tests.agreement import Target, expect, program_of, same_bits
from tests.programs import grow, random_program, values

Array = np.ndarray
INSTANCES = 3
TARGETS = pytest.mark.parametrize("target", [Interpreter, CProgram], ids=["interp", "c"])


def on_the_base(node: Node) -> Node | None:
    """The node with the outputs that are there at every tick, if there are any."""
    clocks = infer(node)
    kept = tuple(out for out in node.outputs if not clocks[out])
    return live(replace(node, outputs=kept)) if kept else None


def blocked(streams: Sequence[Array], n: int) -> list[Array]:
    return [x.reshape(len(x) // n, n, *x.shape[1:]) for x in streams]


def flat(rows: Array) -> Array:
    return rows.reshape(-1, *rows.shape[2:])


# Random programs.


def side_by_side(node: Node, seed: int, target: Target) -> None:
    """n instances at once against one after the other; some inputs are shared."""
    rng = np.random.default_rng((seed, 5))
    flags = [bool(f) for f in rng.random(len(node.inputs)) < 0.6]
    flags[0] |= not any(flags)
    ticks = int(rng.integers(1, 16))
    streams = [
        values(rng, v.type, (ticks, INSTANCES) if own else (ticks,))
        for v, own in zip(node.inputs, flags, strict=True)
    ]
    wide = batch(node, INSTANCES, flags)
    wanted, failures = [], []
    for i in range(INSTANCES):
        try:
            wanted.append(
                oracle.evaluate(
                    node, [x[:, i] if own else x for x, own in zip(streams, flags, strict=True)]
                )
            )
        except oracle.Failed as failed:
            failures.append(failed.tick)
    verify(wide)
    if failures:
        with pytest.raises(SeicheError, match=f"at tick {min(failures)}"):
            program_of(wide, target).run(*streams)
        return
    for k, got in enumerate(program_of(wide, target).run(*streams)):
        for i in range(INSTANCES):
            assert same_bits(got[:, i], wanted[i][k][1]), f"seed {seed}, output {k}, instance {i}"


def in_blocks(node: Node, seed: int, target: Target) -> None:
    """n ticks at once against one after the other."""
    rng = np.random.default_rng((seed, 6))
    n, count = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    streams = [values(rng, v.type, (n * count,)) for v in node.inputs]
    wide = to_space(node, n, wide=bool(seed % 4))
    verify(wide)
    try:
        wanted = oracle.evaluate(node, streams)
    except oracle.Failed as failed:
        with pytest.raises(SeicheError, match=failed.code):
            program_of(wide, target).run(*blocked(streams, n))
        return
    for k, got in enumerate(program_of(wide, target).run(*blocked(streams, n))):
        assert same_bits(flat(got), wanted[k][1]), f"seed {seed}, output {k}, {count} blocks of {n}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("law", [side_by_side, in_blocks])
@pytest.mark.parametrize(
    ("target", "first", "count"), [(Interpreter, 0, 60), (CProgram, 1000, 4)], ids=["interp", "c"]
)
def test_random_programs(law, target: Target, first: int, count: int) -> None:
    judged = 0
    for seed in range(first, first + 2 * count):
        node = on_the_base(random_program(seed))
        if node is None or judged == count:
            continue
        try:
            law(node, seed, target)
        except SeicheError as error:
            assert error.code == "SE604", f"seed {seed}: {error}"
            continue
        judged += 1
    assert judged > count // 2


@pytest.mark.filterwarnings("ignore")
def test_spread_scans_of_random_programs() -> None:
    judged = 0
    for seed in range(120):
        node = random_program(seed)
        rng = np.random.default_rng((seed, 7))
        ticks = int(rng.integers(1, 10))
        streams = [values(rng, v.type, (ticks,)) for v in node.inputs]
        if not any(isinstance(eq.rhs, Scan) for eq in node.eqs):
            continue
        try:
            wanted = oracle.evaluate(node, streams)
        except oracle.Failed:
            continue
        wide = spread(node)
        verify(wide)
        expect(program_of(wide).run(*streams), wanted, ticks, f"seed {seed}")
        judged += 1
    assert judged > 30


# Gradients.


def smooth_program(seed: int) -> Node:
    """A random program in f64 with a real output on the base clock."""
    for attempt in range(30):
        rng = np.random.default_rng((seed, attempt, 9))
        types = [f64[()], f64[(3,)], bool_[()], i32[()], bool_[()]]
        node = grow(rng, types, int(rng.integers(4, 40)), f64, 2, False)
        kept = on_the_base(node)
        if (
            kept
            and any(v.type.format.is_float for v in kept.outputs)
            and not causal(kept, "node", infer(kept))[1]
        ):
            return kept
    raise AssertionError(seed)


def moderate(rng: np.random.Generator, type: Type, lead: tuple[int, ...]) -> Array:
    shape = (*lead, *type.shape)
    if type.format is bool_:
        return rng.random(shape) < 0.4
    if type.format.is_integer:
        return rng.integers(-4, 7, shape).astype(type.format.dtype)
    return rng.normal(size=shape)


def close(a: Array, b: Array) -> bool:
    """Equal but for the order of sums."""
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    both = np.isfinite(a) & np.isfinite(b)
    scale = 1e-9 * np.maximum(np.abs(a[both]), np.abs(a[both]).max(initial=1))
    return bool(np.all(np.abs(a[both] - b[both]) <= scale)) and np.array_equal(
        np.isnan(a), np.isnan(b)
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_gradients_of_random_programs(first: int) -> None:
    """The derivative of what is batched or blocked is what the derivatives of instances and ticks are."""
    for seed in range(first, first + 20):
        node, rng = smooth_program(seed), np.random.default_rng((seed, 3))
        n, count = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        wrt = [i for i, v in enumerate(node.inputs) if v.type.format.is_float]
        real = [k for k, v in enumerate(node.outputs) if v.type.format.is_float]
        given = [*(v.type for v in node.inputs), *(node.outputs[k].type for k in real)]
        streams = [moderate(rng, t, (n * count, INSTANCES)) for t in given]
        pulled = api.value_and_vjp(node, wrt, real)
        try:
            alone = [oracle.evaluate(pulled, [x[:, i] for x in streams]) for i in range(INSTANCES)]
        except oracle.Failed:
            continue
        wide = api.value_and_vjp(batch(node, INSTANCES, (True,) * len(node.inputs)), wrt, real)
        for k, (_, got) in enumerate(oracle.evaluate(wide, streams)):
            for i in range(INSTANCES):
                assert close(alone[i][k][1], got[:, i]), f"seed {seed}, output {k}, instance {i}"
        try:
            rows = api.value_and_vjp(to_space(node, n), wrt, real)
        except SeicheError as error:
            assert error.code == "SE604"
            continue
        for k, (_, got) in enumerate(oracle.evaluate(rows, blocked([x[:, 0] for x in streams], n))):
            assert close(alone[0][k][1], flat(got)), (
                f"seed {seed}, output {k}, {count} blocks of {n}"
            )


# over_space.


@sc.node
def ema(x: sc.f32, rate: sc.f32) -> sc.f32:
    mean = sc.state(0.0)
    mean.next = mean + rate * (x - mean)
    return mean.next


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@TARGETS
def test_each_instance_has_its_own_memory_and_closures_are_shared(target: Target) -> None:
    @sc.node
    def lanes(x: sc.f32[3], rate: sc.f32) -> sc.f32[3]:
        return sc.over_space(lambda one: ema(one, rate), 3)(x)

    x, rate = normal(20, 3), np.abs(normal(20, seed=1)).astype("float32")
    got = program_of(lanes.trace().node, target).run(x, rate)[0]
    for i in range(3):
        assert same_bits(got[:, i], sc.compile(ema).run(x[:, i], rate))


def test_over_time_and_over_space_nest_in_either_order() -> None:
    @sc.node
    def outside(x: sc.f32[3, 5], r: sc.f32) -> sc.f32[3, 5]:
        return sc.over_space(lambda rows: sc.over_time(lambda one: ema(one, r))(rows), 3)(x)

    @sc.node
    def inside(x: sc.f32[5, 3], r: sc.f32) -> sc.f32[5, 3]:
        return sc.over_time(lambda row: sc.over_space(lambda one: ema(one, r), 3)(row))(x)

    x, r = normal(4, 3, 5), np.full(4, 0.3, "float32")
    first = sc.compile(outside).run(x, r)
    second = sc.compile(inside).run(np.ascontiguousarray(x.swapaxes(1, 2)), r)
    assert same_bits(first, second.swapaxes(1, 2))
    assert same_bits(first[2, 1], sc.compile(ema).run(x[2, 1], np.full(5, 0.3, "float32")))


def test_a_reset_of_around_opens_all_instances() -> None:
    @sc.node
    def lanes(x: sc.f32[2], r: sc.bool_) -> sc.f32[2]:
        @sc.node
        def both(x: sc.f32[2]) -> sc.f32[2]:
            return sc.over_space(lambda one: ema(one, 0.5), 2)(x)

        return both(x, reset=r)

    x = np.ones((4, 2), "float32")
    got = sc.compile(lanes).run(x, np.array([False, False, True, False]))
    assert got[:, 0].tolist() == [0.5, 0.75, 0.5, 0.75]


def test_a_reset_per_instance() -> None:
    @sc.node
    def lanes(x: sc.f32[2], r: sc.bool_[2]) -> sc.f32[2]:
        return sc.over_space(lambda one, again: ema(one, 0.5, reset=again), 2)(x, r)

    resets = np.array([[False, False], [True, False], [False, True]])
    assert sc.compile(lanes).run(np.ones((3, 2), "float32"), resets).tolist() == [
        [0.5, 0.5],
        [0.5, 0.75],
        [0.75, 0.5],
    ]


def test_an_instance_draws_with_its_number() -> None:
    @sc.node
    def noise(i: sc.u32) -> sc.f32[4]:
        t = sc.state(np.uint32(0))
        t.next = t + 1
        return sc.random.normal(sc.random.fold_in(sc.random.fold_in(sc.random.key(7), i), t), (4,))

    @sc.node
    def lanes(i: sc.u32[3]) -> sc.f32[3, 4]:
        return sc.over_space(noise, 3)(i)

    numbers = np.tile(np.arange(3, dtype="uint32"), (5, 1))
    got = sc.compile(lanes).run(numbers)
    for i in range(3):
        assert same_bits(got[:, i], sc.compile(noise).run(numbers[:, i]))


@sc.node
def episode(reward: sc.f32, done: sc.bool_):
    with sc.frame(max=6, until=done) as fr:
        ahead = sc.costate(0.0)
        ahead.prev = reward + 0.5 * ahead
        total = sc.hold(fr.sum(reward), 0.0)
        opening = sc.hold(fr.stack(reward), np.zeros(6, np.float32))
        return ahead.prev, total, opening


def episodes(ticks: int, n: int) -> Array:
    """Closes at ticks of each instance's own, at most six apart."""
    rng = np.random.default_rng(1)
    done = rng.random((ticks, n)) < 0.3
    for t in range(5, ticks):
        done[t] |= ~done[t - 5 : t].any(axis=0)
    return done


@TARGETS
def test_frames_close_where_each_instance_closes_them(target: Target) -> None:
    """Vectorised environments: episodes end when they end; what leaves, and what returns to its ticks."""

    @sc.node
    def lanes(reward: sc.f32[3], done: sc.bool_[3]):
        return sc.over_space(episode, 3)(reward, done)

    @sc.node
    def slow(reward: sc.f32[3], done: sc.bool_[3]):
        return sc.over_space(lambda r, d: episode(r, d)[1:], 3)(reward, done)

    reward, done = normal(25, 3), episodes(25, 3)
    got = program_of(lanes.trace().node, target).run(reward, done)
    some = program_of(slow.trace().node, target).run(reward, done)
    for i in range(3):
        wanted = sc.compile(episode).run(reward[:, i], done[:, i])
        for k in range(3):
            assert same_bits(got[k][:, i], wanted[k])
        for k in range(2):
            assert same_bits(some[k][:, i], wanted[k + 1])


def test_gradients_of_episodes_that_end_apart() -> None:
    """A policy gradient per episode: the derivative is inside the frame, its sum leaves where the instance closes."""

    @sc.node
    def learner(x: sc.f32, done: sc.bool_) -> sc.f32:
        with sc.frame(max=6, until=done) as fr:
            slope = sc.grad(lambda w: ema(x, w))(sc.constant(0.3))
            last, total = fr.last(slope), fr.sum(slope)
        return sc.hold(last + total, 0.0)

    @sc.node
    def lanes(x: sc.f32[3], done: sc.bool_[3]) -> sc.f32[3]:
        return sc.over_space(learner, 3)(x, done)

    x, done = normal(25, 3), episodes(25, 3)
    got = sc.compile(lanes).run(x, done)
    for i in range(3):
        np.testing.assert_allclose(
            got[:, i], sc.compile(learner).run(x[:, i], done[:, i]), rtol=1e-6
        )


def test_nan_in_absent_ticks_changes_nothing() -> None:
    """What an instance does not see is no value: NaN there reaches neither its results nor its memory."""

    @sc.node
    def seen(x: sc.f32, c: sc.bool_) -> sc.f32:
        with sc.every(c):
            total = sc.state(0.0)
            total.next = total + x * x
            rows = sc.over_time(lambda one: ema(one, 0.5))(sc.stack([x, total, x]))
        return sc.hold(total.next + sc.sum(rows), 0.0)

    @sc.node
    def lanes(x: sc.f32[3], c: sc.bool_[3]) -> sc.f32[3]:
        return sc.over_space(seen, 3)(x, c)

    x, c = normal(20, 3), np.random.default_rng(2).random((20, 3)) < 0.4
    program = sc.compile(lanes)
    clean = program.run(x, c)
    program.reset()
    assert same_bits(program.run(np.where(c, x, np.nan).astype("float32"), c), clean)
    assert not np.isnan(clean).any()
    for i in range(3):
        assert same_bits(clean[:, i], sc.compile(seen).run(x[:, i], c[:, i]))


def test_nan_in_the_padding_of_rows_changes_nothing() -> None:
    """Frames of each instance's own length run over rows that were written before: these hold NaN here."""

    @sc.node
    def lanes(x: sc.f32[3], done: sc.bool_[3]) -> sc.f32[3]:
        return sc.over_space(lambda r, d: episode(r, d)[1], 3)(x, done)

    x, done = normal(30, 3), episodes(30, 3)
    spoiled = x.copy()
    closes = [np.flatnonzero(done[:, i])[1] for i in range(3)]
    for i, close_ in enumerate(closes):
        spoiled[: close_ + 1, i] = np.nan
    program = sc.compile(lanes)
    clean = program.run(x, done)
    program.reset()
    got = program.run(spoiled, done)
    for i, close_ in enumerate(closes):
        later = np.flatnonzero(done[close_ + 1 :, i])[0] + close_ + 1
        assert same_bits(got[later:, i], clean[later:, i])


@sc.node
def thermostat(x: sc.f32, again: sc.bool_) -> sc.f32:
    """Modes with memory, strong and weak transitions."""
    with sc.automaton() as auto:
        with auto.mode("idle") as m:
            n = sc.state(0)
            n.next = n + 1
            m.emit(power=0.0)
            m.until(x < -0.5, "heat")
        with auto.mode("heat") as m:
            power = sc.state(1.0)
            power.next = power * 0.5 - x
            m.emit(power=power)
            m.until(power > 3.0, "idle")
        auto.unless("heat", again, "idle")
    return auto.power


def test_automata_side_by_side_and_in_blocks() -> None:
    @sc.node
    def lanes(x: sc.f32[4], again: sc.bool_[4]) -> sc.f32[4]:
        return sc.over_space(thermostat, 4)(x, again)

    x, again = normal(24, 4), np.random.default_rng(0).random((24, 4)) < 0.1
    got = sc.compile(lanes, target="c").run(x, again)
    rows = sc.compile(sc.to_space(thermostat, 8)).run(*blocked([x[:, 0], again[:, 0]], 8))
    assert same_bits(flat(rows), np.ascontiguousarray(got[:, 0]))
    for i in range(4):
        assert same_bits(got[:, i], sc.compile(thermostat).run(x[:, i], again[:, i]))


def test_shared_weights_take_one_product() -> None:
    dense = sc.learn.Dense(4, 2)

    @sc.node
    def lanes(x: sc.f32[8, 4]) -> sc.f32[8, 2]:
        return sc.over_space(lambda one: dense(dense.init(key=0), one), 8)(x)

    node = lanes.trace().node
    products = [
        eq.out.type.shape for eq in node.eqs if isinstance(eq.rhs, Apply) and eq.rhs.op == "matmul"
    ]
    assert products == [(8, 2)]


# to_space.


def same_in_blocks(node: sc.Stream, n: int, ticks: int = 24) -> None:
    """A node against itself in blocks, interpreted and as C."""
    types = [v.type for v in node.trace().node.inputs]
    streams = [
        moderate(np.random.default_rng(k), t, (ticks,)).astype(t.format.dtype)
        for k, t in enumerate(types)
    ]
    wanted = sc.compile(node).run(*streams)
    for target in ("interp", "c"):
        got = sc.compile(sc.to_space(node, n), target=target).run(*blocked(streams, n))
        assert same_bits(flat(got), wanted), target


@pytest.mark.parametrize("n", [1, 2, 8])
def test_layers_in_blocks(n: int) -> None:
    first, second = sc.learn.Conv1D(3, 5, window=3), sc.learn.Conv1D(5, 4, window=2, dilation=3)
    gru, norm = sc.learn.GRU(4, 6), sc.learn.Dense(6, 2)

    @sc.node
    def stack(x: sc.f32[3]) -> sc.f32[2]:
        y = sc.relu(first(first.init(key=0), x))
        y = sc.relu(second(second.init(key=1), y))
        return norm(norm.init(key=3), gru(gru.init(key=2), y))

    same_in_blocks(stack, n)


def test_attention_in_blocks() -> None:
    layer = sc.learn.Attention(8, heads=2, window=5)

    @sc.node
    def decode(x: sc.f32[8]) -> sc.f32[8]:
        return layer(layer.init(key=0), x)

    same_in_blocks(decode, 4)


def test_what_leaves_the_loop() -> None:
    """Of a convolution nothing stays; of a GRU the product with the carried value does."""
    conv, gru = sc.learn.Conv1D(3, 5, window=3), sc.learn.GRU(5, 4)

    @sc.node
    def stack(x: sc.f32[3]) -> sc.f32[4]:
        return gru(gru.init(key=1), sc.relu(conv(conv.init(key=0), x)))

    node = to_space(stack.trace().node, 16)
    (scan,) = [eq.rhs for eq in node.eqs if isinstance(eq.rhs, Scan)]
    inner = [eq for eq in scan.body.eqs if isinstance(eq.rhs, Apply) and eq.rhs.op == "matmul"]
    outer = [
        eq.out.type.shape for eq in node.eqs if isinstance(eq.rhs, Apply) and eq.rhs.op == "matmul"
    ]
    assert [eq.out.type.shape for eq in inner] == [(1, 12)]
    assert outer == [(16, 5), (16, 12)]


@pytest.mark.parametrize(("n", "latency"), [(1, 3), (2, 2), (3, 1), (4, 1), (12, 1)])
def test_look_ahead_across_blocks(n: int, latency: int) -> None:
    """Three ticks ahead are ceil(3 / n) blocks; where the input ends, each look takes its own final value."""

    @sc.node
    def ahead(x: sc.f32) -> sc.f32:
        y = sc.post(x, -1.0)
        y = sc.post(2.0 * y, -2.0)
        return sc.post(y + 1.0, -3.0) + x

    same_in_blocks(ahead, n, 24)
    assert sc.compile(sc.to_space(ahead, n)).latency == latency


def test_clocks_inside_a_block() -> None:
    @sc.node
    def sparse(x: sc.f32, c: sc.bool_) -> sc.f32:
        with sc.every(c):
            total = sc.state(0.0)
            total.next = total + x
            with sc.every(x > 0):
                best = sc.state(0.0)
                best.next = sc.maximum(best, x)
            kept = sc.hold(best.next, -1.0)
        return sc.hold(total.next + kept, 0.0)

    same_in_blocks(sparse, 6)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_what_a_sub_clock_has_goes_from_loop_to_loop(n: int) -> None:
    """A slow value of a first loop, read in a second one: between the two is what runs for all rows at once."""

    @sc.node
    def slow(x: sc.f32, on: sc.bool_) -> sc.f32:
        total = sc.state(0.0)
        total.next = total + x
        often = sc.fby(False, on)
        rare = sc.when(sc.fby(False, on ^ often), often)
        first = sc.when(total, often)
        wide = sc.when(sc.exp(-abs(total)), often)
        last = sc.fby(first, wide, reset=rare)
        seldom = sc.when(first, rare) + sc.when(last, rare)
        return sc.merge(
            often,
            sc.merge(rare, seldom, sc.when(last, rare, on=False)),
            sc.when(x, often, on=False),
        )

    same_in_blocks(slow, n)


def test_resets_inside_a_block_and_at_its_first_row() -> None:
    @sc.node
    def inside(x: sc.f32, r: sc.bool_) -> sc.f32:
        return ema(x, 0.5, reset=r) + sc.fby(1.0, x, reset=r)

    same_in_blocks(inside, 4)

    @sc.node
    def at_blocks(xs: sc.f32[4], r: sc.bool_) -> sc.f32[4]:
        return sc.to_space(ema, 4)(xs, np.full(4, 0.5, np.float32), reset=r)

    got = sc.compile(at_blocks).run(np.ones((3, 4), "float32"), np.array([False, False, True]))
    assert same_bits(got[2], got[0]) and not same_bits(got[1], got[0])


def test_frames_in_a_block() -> None:
    @sc.node
    def totals(x: sc.f32) -> sc.f32:
        with sc.frame(max=5) as fr:
            total, rows = fr.sum(x), fr.stack(x)
        return sc.hold(total + sc.sum(rows), 0.0)

    same_in_blocks(totals, 3)


def test_memory_is_carried_over_time() -> None:
    @sc.node
    def rows(x: sc.f32[6], r: sc.f32) -> sc.f32[6]:
        return sc.over_time(lambda one: ema(one, r), carry=True)(x)

    x = normal(4, 6)
    got = sc.compile(rows).run(x, np.full(4, 0.25, "float32"))
    assert same_bits(flat(got), sc.compile(ema).run(flat(x), np.full(24, 0.25, "float32")))


def test_blocks_of_lanes_and_lanes_of_blocks() -> None:
    @sc.node
    def lane(x: sc.f32) -> sc.f32:
        return ema(x, 0.5) + sc.fby(0.0, x)

    @sc.node
    def lanes(x: sc.f32[3]) -> sc.f32[3]:
        return sc.over_space(lane, 3)(x)

    @sc.node
    def of_blocks(x: sc.f32[3, 4]) -> sc.f32[3, 4]:
        return sc.over_space(sc.to_space(lane, 4), 3)(x)

    x = normal(12, 3)
    wanted = sc.compile(lanes).run(x)
    assert same_bits(flat(sc.compile(sc.to_space(lanes, 4)).run(*blocked([x], 4))), wanted)
    turned = np.ascontiguousarray(blocked([x], 4)[0].swapaxes(1, 2))
    assert same_bits(
        flat(np.ascontiguousarray(sc.compile(of_blocks).run(turned).swapaxes(1, 2))), wanted
    )


def test_linear_recurrences_as_parallel_scans() -> None:
    """In fast arithmetic; close, not equal. Gradients too."""

    @sc.node
    def filters(x: sc.f64[3], a: sc.f64[3]) -> sc.f64[3]:
        s = sc.state(np.ones(3), format=sc.f64)
        s.next = (a * s - x) * 0.9 + (s + x)
        return s.next - 2.0 * s

    rng = np.random.default_rng(0)
    x, a = rng.normal(size=(24, 3)), rng.uniform(-0.5, -0.1, (24, 3))
    wanted = sc.compile(filters).run(x, a)
    wide = sc.to_space(filters, 8, arithmetic="fast")
    assert not any(isinstance(eq.rhs, Scan) for eq in wide.trace().node.eqs)
    np.testing.assert_allclose(flat(sc.compile(wide).run(*blocked([x, a], 8))), wanted, rtol=1e-10)
    node = filters.trace().node
    cts = rng.normal(size=(24, 3))
    slow = oracle.evaluate(api.vjp(node, (0, 1)), [x, a, cts])
    fast = oracle.evaluate(api.vjp(to_space(node, 8, fast=True), (0, 1)), blocked([x, a, cts], 8))
    for (_, one), (_, other) in zip(slow, fast, strict=True):
        np.testing.assert_allclose(flat(other), one, rtol=1e-8)


def test_training_over_spread_rows() -> None:
    """Loss and gradient through whole tensors are those through the loop; the products with the input leave it."""
    gru = sc.learn.GRU(3, 4)

    def learner(apart: bool) -> Node:
        def loss(w, xs):
            return sc.sum(sc.over_time(lambda x: gru(w, x), spread=apart)(xs) ** 2)

        @sc.node
        def step(xs: sc.f32[6, 3]) -> sc.f32:
            w = sc.state(gru.init(key=0))
            value, dw = sc.value_and_grad(lambda w: loss(w, xs))(w)
            w.next = {k: w[k] - 0.1 * dw[k] for k in dw}
            return value

        return step.trace().node

    x = normal(5, 6, 3)
    node = learner(False)
    wanted = program_of(node).run(x)[0]
    for wide in (learner(True), spread(node)):
        verify(wide)
        got = program_of(wide, CProgram).run(x)[0]
        assert same_bits(got[0], wanted[0])
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    shapes = [
        eq.out.type.shape
        for eq in learner(True).eqs
        if isinstance(eq.rhs, Apply) and eq.rhs.op == "matmul"
    ]
    assert (6, 12) in shapes and (3, 12) in shapes


# gather, scatter, window.


@TARGETS
@pytest.mark.parametrize("ticks", [0, 1, 11, 12, 13])
def test_scatter_undoes_gather(target: Target, ticks: int) -> None:
    @sc.node
    def there_and_back(x: sc.f32[2]) -> sc.f32[2]:
        return sc.scatter(sc.gather(x, 4))

    program = program_of(there_and_back.trace().node, target)
    assert program.latency == (3,)
    x = normal(ticks, 2)
    assert same_bits(program.run(x)[0], x)


@pytest.mark.parametrize(("n", "hop"), [(1, 1), (3, 1), (4, 2), (2, 5), (3, 3)])
def test_windows_slide(n: int, hop: int) -> None:
    @sc.node
    def slides(x: sc.f32[2]) -> sc.f32[n, 2]:
        return sc.window(x, n, hop)

    x = normal(17, 2)
    got = sc.compile(slides, target="c").run(x)
    wanted = np.lib.stride_tricks.sliding_window_view(x, n, axis=0)[::hop].swapaxes(1, 2)
    assert got.ticks.tolist() == list(range(n - 1, 17, hop))
    assert same_bits(got.values, np.ascontiguousarray(wanted))


# What cannot be done, and why.


def code_of(node, *args) -> str:
    with pytest.raises(SeicheError) as raised:
        sc.compile(node, *args)
    return str(raised.value)


def test_a_result_that_some_instances_lack() -> None:
    @sc.node
    def lanes(x: sc.f32[2]):
        return sc.over_space(lambda one: sc.when(one, one > 0), 2)(x)

    assert "SE604" in code_of(lanes) and "different ticks in different instances" in code_of(lanes)


def test_blocks_of_blocks_and_of_methods() -> None:
    class Filter:
        rate = 0.5

        @sc.node
        def step(self, x: sc.f32, gain: float = 1.0) -> sc.f32:
            return ema(x, self.rate) * gain

        rows = sc.to_space(step, 4)

    filters, x = Filter(), normal(24)
    wanted = sc.compile(filters.step, gain=2.0).run(x)
    nested = sc.to_space(sc.to_space(filters.step, 4), 2)
    assert same_bits(sc.compile(nested, gain=2.0).run(x.reshape(3, 2, 4)).ravel(), wanted)
    assert same_bits(sc.compile(filters.rows, gain=2.0).run(x.reshape(6, 4)).ravel(), wanted)


def test_the_tape_of_instances_side_by_side_is_cut_too() -> None:
    """Rows go from the forward scan to the backward one in the order that both have: there is a pair for a budget to cut."""

    @sc.node
    def learner(xs: sc.f32[64]) -> sc.f32:
        w = sc.state(0.5)

        def loss(w: sc.Stream) -> sc.Stream:
            return sc.over_time(lambda x: sc.square(sc.tanh(ema(w * x, 0.5)) - 0.1))(xs).mean()

        value, dw = sc.value_and_grad(loss)(w)
        w.next = w - 0.1 * dw
        return value

    @sc.node
    def learners(xs: sc.f32[3, 64]) -> sc.f32[3]:
        return sc.over_space(learner, 3)(xs)

    xs = normal(4, 3, 64)
    whole = sc.compile(learners)
    small = sc.compile(learners, memory=3 * whole.report().plan.struct_bytes // 5, target="c")
    wanted = whole.run(xs)
    assert same_bits(small.run(xs), wanted)
    assert same_bits(wanted[:, 1], sc.compile(learner).run(xs[:, 1]))


def test_too_many_instances_with_frames_of_their_own() -> None:
    @sc.node
    def lanes(r: sc.f32[65], d: sc.bool_[65]):
        return sc.over_space(lambda r, d: episode(r, d)[0], 65)(r, d)

    said = code_of(lanes)
    assert "SE604" in said and "65 instances close at different ticks" in said


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (lambda x: sc.when(x, x > 0), "not every row of a block has it"),
        (lambda x: sc.scatter(sc.gather(x, 3)), "earlier blocks"),
    ],
)
def test_what_blocks_cannot_give(body, why: str) -> None:
    @sc.node
    def odd(x: sc.f32):
        return body(x)

    said = code_of(sc.to_space(odd, 4))
    assert "SE604" in said and why in said


def test_look_ahead_inside_a_recurrence_is_refused() -> None:
    @sc.node
    def knot(x: sc.f32) -> sc.f32:
        s = sc.state(0.0)
        late = sc.fby(0.0, s)
        s.next = sc.post(late, 0.0) + x
        return s

    assert sc.compile(knot).run(normal(5)).shape == (5,)
    assert "looks ahead inside a recurrence" in code_of(sc.to_space(knot, 4))


def test_arguments_of_another_length() -> None:
    @sc.node
    def lanes(x: sc.f32[3]) -> sc.f32[2]:
        return sc.over_space(lambda one: one, 2)(x)

    assert "SE201" in code_of(lanes)
    for make in (sc.over_space, sc.to_space):
        with pytest.raises(SeicheError, match="SE604"):
            make(ema, 0)


# Streams of frames, in blocks that frames fill.


@sc.node
def shaped(x: sc.f32, r: sc.f32):
    """Frames of four ticks: a costate, a state of its own, a parameter that is learnt from frame to frame."""
    w = sc.state(1.0)
    with sc.frame(max=4) as fr:
        ahead = sc.costate(0.0)
        ahead.prev = x + 0.5 * ahead * w
        s = sc.state(0.0)
        s.next = s + x
        y = ahead.prev + s.next
        total = fr.sum(y * r)
    w.next = 0.9 * w + 0.01 * total
    return y, sc.hold(total, 0.0), 2 * y


@TARGETS
@pytest.mark.parametrize("n", [4, 12])
def test_frames_that_fill_a_block_return_within_it(target: Target, n: int) -> None:
    x, r = normal(24), normal(24, seed=1)
    wanted = sc.compile(shaped).run(x, r)
    program = program_of(sc.to_space(shaped, n).trace().node, target)
    for a, b in zip(wanted, program.run(*blocked([x, r], n)), strict=True):
        assert same_bits(a, flat(b))
    assert program.lowered.latency == (0, 0, 0)


def test_what_is_scattered_in_blocks() -> None:
    @sc.node
    def centred(x: sc.f32) -> sc.f32:
        rows = sc.gather(x, 3)
        return sc.scatter(rows - sc.mean(rows))

    x = normal(18)
    got = sc.compile(sc.to_space(centred, 6)).run(x.reshape(3, 6))
    assert same_bits(flat(got), sc.compile(centred).run(x))


def test_gradients_of_frames_in_blocks() -> None:
    """A derivative inside of the frame, its rows returning to their ticks."""

    @sc.node
    def slopes(x: sc.f32) -> sc.f32:
        with sc.frame(max=5):
            return sc.grad(lambda w: ema(x, w))(sc.constant(0.3)) + sc.grad(lambda v: ema(v, 0.3))(
                x
            )

    x = normal(20)
    got = sc.compile(sc.to_space(slopes, 10)).run(x.reshape(2, 10))
    assert same_bits(flat(got), sc.compile(slopes).run(x))


@pytest.mark.parametrize("n", [2, 6])
def test_frames_that_do_not_fill_a_block(n: int) -> None:
    with pytest.raises(SeicheError, match=f"4 ticks, which do not divide a block of {n}") as error:
        sc.compile(sc.to_space(shaped, n))
    assert error.value.code == "SE604"


def test_frames_that_data_close() -> None:
    @sc.node
    def returns(x: sc.f32, done: sc.bool_) -> sc.f32:
        with sc.frame(max=4, until=done):
            ahead = sc.costate(0.0)
            ahead.prev = x + ahead
            return ahead.prev

    with pytest.raises(SeicheError, match="at ticks that are not known beforehand") as error:
        sc.compile(sc.to_space(returns, 4))
    assert error.value.code == "SE604"


def test_the_period_of_a_condition() -> None:
    def found(closes, most: int = 10) -> int | None:
        @sc.node
        def tick(x: sc.f32) -> sc.bool_:
            n = sc.state(0)
            n.next = n + 1
            return closes(n, x)

        node = tick.trace().node
        return period(node, node.outputs[0], most)

    def every(k: int):
        at = sc.state(0)
        at.next = sc.where(at == k - 1, 0, at + 1)
        return at == k - 1

    assert found(lambda n, x: every(3)) == 3
    assert found(lambda n, x: every(1)) == 1
    assert found(lambda n, x: every(3), most=2) is None
    assert found(lambda n, x: n % 3 == 2) is None, "the count goes on: nothing starts again"
    assert found(lambda n, x: every(3) & (x > 0)) is None
    assert found(lambda n, x: every(2) & every(3)) == 6
