"""Rectifiers and other choices, computed on vectors where a product is stored; their argument is read twice and needs no memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c import build
from seiche.backends.c.binding import Instance, Library
from seiche.backends.c.printer import print_c
from seiche.backends.interp import Interpreter
from seiche.ir.builder import Builder
from seiche.ir.core import Var
from seiche.numbers.formats import Type, f32, f64
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from tests.agreement import same_bits
from tests.test_c_printer import COMPILERS
from tests.test_loop_schedules import PROCESSORS, aimed


@pytest.mark.parametrize("on", PROCESSORS)
def test_a_rectifier_reads_its_argument_where_the_product_is_stored(on: str) -> None:
    """Both of its sides read the sum; what two others read afterwards is the rectified value alone."""

    @sc.node
    def dense(x: sc.f32[20, 32], w: sc.f32[32, 64], c: sc.f32[64]) -> Any:
        y = sc.relu((sc.matmul(x, w) + c) * 2.0)
        return y, sc.sum(y, axis=0)

    found = schedule(lower(dense.trace().node), aimed(PROCESSORS[on]))
    assert found.plan.products[0].into and not found.plan.scratch_bytes


def test_a_rectifier_is_a_choice_in_lanes() -> None:
    @sc.node
    def dense(x: sc.f32[1, 32], w: sc.f32[32, 64], c: sc.f32[64]) -> sc.f32[1, 64]:
        return sc.relu(sc.matmul(x, w) + c)

    text = print_c(schedule(lower(dense.trace().node), aimed(PROCESSORS["avx512"])).machine).source
    assert text.count("= SEICHE_CHOOSE(") == 4 and "float tile" not in text


@pytest.mark.cc
@pytest.mark.parametrize("command", COMPILERS, ids=lambda c: c[0].rpartition("/")[2])
@pytest.mark.parametrize("form", [(), ("-DSEICHE_NO_VECTORS",)], ids=["vectors", "arrays"])
def test_choices_in_lanes_have_the_bits_of_choices(
    command: tuple[str, ...], form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN, infinities and both zeros, on either side of each comparison, in f32 and f64."""
    checked = ("-std=c99", "-O1", "-ffp-contract=off", "-fPIC", "-shared", *build.WARNINGS, *form)
    monkeypatch.setattr(build, "flags", lambda compiler, arithmetic="strict": checked)
    monkeypatch.setenv("CC", " ".join(command))
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5])
    b, inputs, outputs = Builder(), list[Var](), list[Var]()
    for format in (f32, f64):
        x, y, w = (
            Var(n, Type(format, s)) for n, s in (("x", (8, 1)), ("y", (64,)), ("w", (1, 64)))
        )
        inputs += [x, y, w]
        for compare in (b.lt, b.le, b.gt, b.ge, b.eq, b.ne):
            # Two terms: a product over one is no kernel.
            sums = b.apply("matmul", b.concat(x, x, axis=1), b.concat(w, w, axis=0))
            other = b.broadcast(y, shape=(8, 64))
            outputs.append(b.select(compare(sums, other), sums, b.add(other, sums)))
        for extreme in (b.maximum, b.minimum):
            sums = b.apply("matmul", b.concat(x, x, axis=1), b.concat(w, w, axis=0))
            outputs.append(extreme(sums, b.broadcast(y, shape=(8, 64))))
    lowered = lower(b.node("choices", tuple(inputs), tuple(outputs)))
    scheduled = schedule(lowered, aimed(PROCESSORS["avx2"]))
    assert print_c(scheduled.machine).source.count("= SEICHE_CHOOSE(") > 16
    given = [
        x.astype(format.dtype)
        for format in (f32, f64)
        for x in (special[:, None], np.tile(special, 8), np.full((1, 64), 0.5))
    ]
    instance = Instance(Library(scheduled))
    for view, x in zip(instance.inputs, given, strict=True):
        view[...] = x
    assert instance.tick() == 0
    for mine, theirs in zip(instance.outputs, Interpreter(lowered).step(given), strict=True):
        assert theirs is not None and same_bits(mine, theirs)
