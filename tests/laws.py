"""The laws that every program is judged by: one meaning for the oracle, the interpreter and C, in bits; bytes as predicted."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Sequence

import numpy as np

from seiche.backends.c.binding import CProgram
from seiche.backends.program import Program, Sparse
from seiche.errors import SeicheError
from seiche.ir.core import Node
from tests import oracle
from tests.agreement import expect, program_of, same_bits
from tests.programs import random_inputs


class Disagreement(Exception):
    """A law that a program breaks."""

    def __init__(self, law: str, what: str) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law


def judge(node: Node, seed: int) -> str:
    """ "ok", or "overflow" where a frame overflows alike everywhere; raises Disagreement."""
    ticks = int(np.random.default_rng((seed, 2)).integers(1, 24))
    inputs = random_inputs(node, seed, ticks)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        interpreted = _step("interpreter", lambda: program_of(node))
        compiled = _step("C is generated", lambda: program_of(node, CProgram))
        try:
            wanted = oracle.evaluate(node, inputs)
        except oracle.Failed as failed:
            return _both_fail(failed, inputs, interpreted, compiled)
        mine = _step("interpreter", lambda: interpreted.run(*inputs))
        _law("interpreter = oracle", lambda: expect(mine, wanted, ticks, "interpreter"))
        theirs = _step("C runs", lambda: compiled.run(*inputs))
        _law("C = interpreter", lambda: _equal(mine, theirs))
        _law("C's states = the interpreter's", lambda: _states(interpreted, compiled))
        _law("bytes as predicted", lambda: _bytes(compiled))
    return "ok"


def _both_fail(failed: oracle.Failed, inputs: Sequence[np.ndarray], *programs: Program) -> str:
    said: list[str] = []
    for program in programs:
        try:
            program.run(*inputs)
        except SeicheError as error:
            said.append(str(error))
    if (
        len(said) < 2
        or said[0] != said[1]
        or failed.code not in said[0]
        or f"tick {failed.tick}" not in said[0]
    ):
        raise Disagreement("failures agree", f"oracle {failed}, programs {said}")
    return "overflow"


def _equal(mine: Sequence[np.ndarray | Sparse], theirs: Sequence[np.ndarray | Sparse]) -> None:
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if isinstance(a, Sparse) and isinstance(b, Sparse):
            assert a.ticks.tolist() == b.ticks.tolist(), (k, a.ticks, b.ticks)
            a, b = a.values, b.values
        assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        assert same_bits(a, b), f"output {k}: {a}\nis not\n{b}"


def _states(interpreted: Program, compiled: Program) -> None:
    mine, theirs = dict(interpreted.state), dict(compiled.state)
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert same_bits(mine[name], theirs[name]), (
            f"state {name}: {mine[name]}\nis not\n{theirs[name]}"
        )


def _bytes(compiled: Program) -> None:
    executor = compiled.executor
    assert isinstance(executor, CProgram)
    library = executor.library
    measured = (ctypes.c_uint64 * 4).in_dll(library.dll, f"{library.sources.name}_sizes")[0]
    predicted = library.scheduled.plan.struct_bytes
    assert measured == predicted, f"sizeof is {measured}, predicted {predicted}"


def _law(name: str, check: object) -> None:
    try:
        check()  # type: ignore[operator]
    except AssertionError as broken:
        raise Disagreement(name, str(broken)) from None


def _step(name: str, job: object) -> Program:
    try:
        return job()  # type: ignore[operator,no-any-return]
    except SeicheError as error:
        raise Disagreement(name, str(error)) from error
    except Exception as error:
        raise Disagreement(name, f"{type(error).__name__}: {error}") from error
