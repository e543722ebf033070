"""What the tests of the checks share: programs as text, and what is said of them."""

from __future__ import annotations

from seiche.check import Facts, verify
from seiche.errors import Diagnostic, SeicheError
from seiche.ir.parse import parse


def program(equations: str, inputs: str = "x: f32, c: bool, d: bool", outputs: str = "y") -> str:
    """The text of a node; lines of equations are its lines in the file f.py from 2 on."""
    return f'node f({inputs}) -> ({outputs}) @"f.py":1 {{\n{equations}\n}}'


def facts(equations: str, **kwargs: str) -> Facts:
    return verify(parse(program(equations, **kwargs)))


def faults(equations: str, **kwargs: str) -> tuple[Diagnostic, ...]:
    """The errors of a program; () if there is none."""
    try:
        facts(equations, **kwargs)
    except SeicheError as error:
        return error.diagnostics
    return ()


def codes(equations: str, **kwargs: str) -> list[str]:
    return [fault.code for fault in faults(equations, **kwargs)]


def only(equations: str, code: str, **kwargs: str) -> Diagnostic:
    """The one error of a program."""
    found = faults(equations, **kwargs)
    assert [fault.code for fault in found] == [code], "\n".join(map(str, found))
    return found[0]
