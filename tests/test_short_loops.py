"""Short loops in vectors, sweeps in registers and sums in lanes: the interpreter's bits in every form of C."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c import build
from seiche.backends.c.binding import Instance, Library
from seiche.backends.c.printer import print_c
from seiche.backends.interp import Interpreter
from seiche.ir.core import Node
from seiche.ir.loops import Assign, Store
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from tests.agreement import same_bits
from tests.machines import loops
from tests.test_c_printer import COMPILERS
from tests.test_loop_schedules import PROCESSORS, aimed

N = 13
"""On AVX2 a vector of 8, one of 4 and one element."""
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.5, 3e9, 1e-42]


@sc.node
def mixed(
    x: sc.f32[N], y: sc.f32[N], k: sc.i32[N], u: sc.u32[N], t: sc.bool_[N], on: sc.bool_
) -> tuple[sc.Stream, ...]:
    """Floats, integers, words and truth values in the same loops; what is looked up; what is the same at all rows."""
    there = sc.take(x, k)
    nearer = (there < y) | (~t & (k > 2)) & on
    far = sc.where(nearer, there - 5.0, sc.where(on, x, y * 0.25))
    count = sc.where(t == nearer, k * 1_000_003 - 7, -k)
    drift = sc.where(sc.take(t, count), sc.absolute(far), -far)
    return (
        nearer, far, count, drift, t.to(sc.f32) + count.to(sc.f32), (u ^ 12345) + u * 3,
        sc.maximum(x, y), sc.minimum(far, drift), ~nearer, k != 3,
    )  # fmt: skip


@sc.node
def swept(x: sc.f32[N], y: sc.f32[7]) -> tuple[sc.Stream, ...]:
    """Whose rows find the nearest: states of a scan that stay in registers."""

    def look(there: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
        row = sc.state(0)
        row.next = row + 1
        best, who = sc.state(np.full(N, 1e30, np.float32)), sc.state(np.zeros(N, np.int32))
        closer = sc.absolute(x - there) < best
        best.next = sc.where(closer, sc.absolute(x - there), best)
        who.next = sc.where(closer, row, who)
        return best.next, who.next

    found, whose = sc.over_time(look)(y)
    return found[-1], whose[-1]


@sc.node
def folded(x: sc.f32[5, 8], y: sc.f32[107], z: sc.f64[40]) -> tuple[sc.Stream, ...]:
    """Folds over lanes that lie side by side, with and without terms that are left."""
    return (
        sc.absolute(x).sum(), y.max(), y.min(), (y * y).sum(), z.sum(), (-z).prod(), x.sum(axis=0),
    )  # fmt: skip


def given(node: Node) -> list[np.ndarray]:
    """Values of each input, the special ones first."""
    rng = np.random.default_rng(0)
    made: list[np.ndarray] = []
    for var in node.inputs:
        kind = np.dtype(var.type.format.dtype)
        if kind.kind == "f":
            x = rng.normal(size=var.type.size)
            if var.type.size == N:
                x[: len(SPECIAL)] = rng.permutation(SPECIAL)
        else:
            least, most = {"b": (0, 2), "i": (-12, 28), "u": (0, 1 << 32)}[kind.kind]
            x = rng.integers(least, most, var.type.size)
        made.append(x.reshape(var.type.shape).astype(kind))
    return made


@pytest.mark.cc
@pytest.mark.parametrize("command", COMPILERS, ids=lambda c: c[0].rpartition("/")[2])
@pytest.mark.parametrize("form", [(), ("-DSEICHE_NO_VECTORS",)], ids=["vectors", "arrays"])
def test_vectors_have_the_bits_of_loops(
    command: tuple[str, ...], form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = ("-std=c99", "-O1", "-ffp-contract=off", "-fPIC", "-shared", *build.WARNINGS, *form)
    monkeypatch.setattr(build, "flags", lambda compiler, arithmetic="strict": checked)
    monkeypatch.setenv("CC", " ".join(command))
    for traced in (mixed, swept, folded):
        lowered = lower(traced.trace().node)
        wanted = Interpreter(lowered)
        scheduled = schedule(lowered, aimed(PROCESSORS["avx2"]))
        instance = Instance(Library(scheduled))
        for _ in range(3):
            inputs = given(lowered.node)
            for view, x in zip(instance.inputs, inputs, strict=True):
                view[...] = x
            assert instance.tick() == 0
            for k, (mine, theirs) in enumerate(
                zip(instance.outputs, wanted.step(inputs), strict=True)
            ):
                assert same_bits(mine, theirs), f"{traced.__name__}, {k}: {mine} is not {theirs}"


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_what_is_mixed_leaves_no_loop(lanes: int) -> None:
    """Every kind of element and every operator above is written in vectors."""
    processor = replace(aimed(PROCESSORS["avx2"]), vector=4 * lanes)
    assert not loops(schedule(lower(mixed.trace().node), processor).machine.step)


def test_a_sweep_touches_no_state_in_memory() -> None:
    machine = schedule(lower(swept.trace().node), aimed(PROCESSORS["avx2"])).machine
    (row,) = [x for x in loops(machine.step) if x.stop.value == 7]
    assert not any(isinstance(s, Store) for s in row.body)
    assert any(isinstance(s, Assign) and s.value.lanes > 1 for s in row.body)


def test_a_long_loop_stays_one() -> None:
    @sc.node
    def long(x: sc.f32[1000]) -> sc.Stream:
        return sc.where(x > 0.0, x, 2.0 * x)

    machine = schedule(lower(long.trace().node), aimed(PROCESSORS["avx2"])).machine
    assert [x.stop.value for x in loops(machine.step)] == [1000]
    assert "SEICHE_CHOOSE" not in print_c(machine).source
