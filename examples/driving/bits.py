"""The same training in the interpreter, in C on this machine, and on emulated microcontrollers: the same bits everywhere."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

import seiche as sc
from examples.driving.drivers import drive
from examples.driving.training import TRAINING, chance
from seiche.backends.program import Program
from seiche.errors import SeicheError

BOARDS = ("cortex-m7", "cortex-m4f")
DRIVER = "shielded"
MISSING = ("SE901", "SE911")
"""No compiler for a target, no emulator."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ran:
    """A training on a machine: `digest` is of every output of every decision and of all states afterwards.

    `same` says whether that is what C on this machine came to, `remark` what else there is to say; without a digest, why it did not run.
    """

    where: str
    decisions: int
    digest: str = ""
    same: bool = True
    remark: str = ""


def digest(arrays: Iterable[Array]) -> str:
    """A short hash of arrays' bits.

    >>> digest([np.float32([1.0])]) == digest([np.float32([1.0])]) != digest([np.float32([-1.0])])
    True
    """
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:12]


@lru_cache(maxsize=1)
def _compiled(decisions: int) -> Program:
    return sc.compile(drive, target="c", driver=DRIVER, steps=decisions)


def _inputs(decisions: int) -> tuple[Array, Array]:
    return np.ones(decisions, np.bool_), chance(0, TRAINING, decisions)


def _trained(program: Program, decisions: int) -> str:
    """The digest of a training from the first tick on."""
    program.reset()
    outputs: Any = program.run(*_inputs(decisions))
    *plain, facts = outputs
    return digest([*plain, *facts, *dict(program.state).values()])


def here(decisions: int, interpreted: int) -> list[Ran]:
    """In C on this machine; and so many decisions of it in the interpreter too."""
    compiled = _compiled(decisions)
    meant = _trained(sc.compile(drive, driver=DRIVER, steps=decisions), interpreted)
    short, machine = _trained(compiled, interpreted), f"C, {platform.machine()}"
    return [
        Ran("interpreter", interpreted, meant, meant == short),
        Ran(machine, interpreted, short),
        Ran(machine, decisions, _trained(compiled, decisions)),
    ]


def emulated(decisions: int, board: str) -> Ran:
    """On an emulated microcontroller, beside C on this machine: outputs and states are compared one by one.

    Where this machine has no emulator or no compiler for it, the remark says so.
    """
    compiled, where = _compiled(decisions), f"emulated {board}"
    try:
        ran = sc.emulate(compiled, *_inputs(decisions), target=board, against="c")
    except SeicheError as error:
        if error.code not in MISSING:
            raise
        lacks = error.diagnostics[0]
        return Ran(where, decisions, remark=f"NOT RUN: {lacks.what}; {lacks.hint}")
    if not ran.agrees:
        return Ran(where, decisions, "differs", False, str(ran.difference))
    told = f"{ran.instructions:,.0f} instructions each"
    return Ran(where, decisions, _trained(compiled, decisions), True, told)
