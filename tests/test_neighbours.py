"""Neighbours in memory that are named together: which are found, and that it changes no bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seiche.backends.c import build
from seiche.backends.c.binding import Instance, Library
from seiche.backends.c.neighbours import LEAST, MOST, run
from seiche.backends.c.printer import print_c
from seiche.backends.interp import Interpreter
from seiche.ir.loops import Buffer, Const, Expr, Let, Load, Name, Note, integer
from seiche.numbers.formats import f32, i32
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from seiche.schedule.target import target
from tests.agreement import same_bits
from tests.machines import gru
from tests.test_c_printer import COMPILERS

K, J = Name("k", i32), Name("j", i32)
MATRIX = Buffer("w", f32[40, 60], "weights")


def lets(*columns: Expr | int, row: Expr = K, of: Buffer = MATRIX) -> list[Let]:
    return [Let(Name(f"v{n}", f32), Load(of, (row, integer(at)))) for n, at in enumerate(columns)]


def test_neighbours_follow_each_other() -> None:
    assert len(run(lets(J, J + 1, J + 2, J + 3))) == 4
    assert len(run(lets(5, 6, 7))) == 3
    assert len(run(lets(J, J + 1, J + 2, J + 4))) == 3
    assert len(run([*lets(J, J + 1, J + 2), Note("between"), *lets(J + 3)])) == 3
    assert len(run(lets(*(J + n for n in range(40))))) == MOST
    assert len(run(lets(*range(LEAST - 1)))) == 0


@pytest.mark.parametrize(
    "others",
    [
        lets(J, J + 2, J + 4),
        lets(J, J, J),
        lets(J, K + 1, J + 2),
        [*lets(J), *lets(J + 1, row=J), *lets(J + 2)],
        [*lets(J), *lets(J + 1, of=Buffer("other", f32[40, 60], "weights")), *lets(J + 2)],
        lets(*range(9), of=Buffer("i", i32[40, 60], "weights")),
        [Let(Name("x", f32), Const(0.0, f32)), *lets(J, J + 1)],
    ],
)
def test_what_lies_elsewhere_is_loaded_apart(others: list[Let]) -> None:
    assert run(others) == []


def test_a_product_for_a_processor_without_vectors_names_its_weights_together() -> None:
    source = print_c(schedule(lower(gru(5, 12)), target("cortex-m4f")).machine).source
    assert "SEICHE_LOAD_12(weights->w" in source and "vldmia" in source


@pytest.mark.cc
@pytest.mark.parametrize("command", COMPILERS, ids=lambda c: c[0].rpartition("/")[2])
@pytest.mark.parametrize("size", [4, 12, 19])
def test_the_same_bits_without_that_instruction(
    size: int, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = ("-std=c99", "-O1", "-ffp-contract=off", "-fPIC", "-shared", *build.WARNINGS)
    monkeypatch.setattr(build, "flags", lambda compiler, arithmetic="strict": checked)
    monkeypatch.setenv("CC", " ".join(command))
    lowered = lower(gru(5, size))
    plain = replace(target("host"), vector=0, registers=16)
    instance, interpreter = Instance(Library(schedule(lowered, plain))), Interpreter(lowered)
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = rng.normal(size=5).astype(np.float32)
        instance.inputs[0][...] = x
        assert instance.tick() == 0
        (wanted,) = interpreter.step([x])
        assert wanted is not None and same_bits(instance.outputs[0], wanted)
