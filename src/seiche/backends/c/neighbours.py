"""Neighbours in memory that get names: one instruction loads them where a processor has it (VLDM of Arm's FPU), else one each.

VLDM takes 1 + n cycles for n values on Cortex-M4, n times VLDR takes 2 n. Compilers load them one by one: the registers
of a VLDM follow each other, and they choose registers later.
"""

from __future__ import annotations

from collections.abc import Sequence

from seiche.ir.loops import Binary, Const, Expr, Let, Load, Stmt
from seiche.schedule.pull import key

LEAST, MOST = 3, 16
"""Neighbours that are loaded together: VLDM names 16 registers at most, here the upper half, which calls preserve."""
FIRST = 16
"""The first of these registers."""

TEXT = """\
/* Names for neighbours in memory. */
#if defined(__GNUC__) && defined(__arm__) && defined(__ARM_FP) && !defined(SEICHE_NO_ASM)
{together}
#else
{apart}
#endif
"""


def run(stmts: Sequence[Stmt]) -> list[Let]:
    """The names at the head of a block that are given to neighbours in memory, in their order; empty where they are too few."""
    found: list[Let] = []
    for stmt in stmts[:MOST]:
        if not isinstance(stmt, Let) or not _follows(found, stmt.value):
            break
        found.append(stmt)
    return found if len(found) >= LEAST else []


def _follows(before: list[Let], e: Expr) -> bool:
    if not isinstance(e, Load) or e.lanes > 1 or e.format.name != "f32" or not e.index:
        return False
    if not before:
        return True
    first = before[0].value
    assert isinstance(first, Load)
    rows = map(key, first.index[:-1]), map(key, e.index[:-1])
    start, step = _parted(first.index[-1]), _parted(e.index[-1])
    here = e.buffer is first.buffer and list(rows[0]) == list(rows[1])
    return here and start[0] == step[0] and step[1] - start[1] == len(before)


def _parted(e: Expr) -> tuple[object, int]:
    """An index as what varies (its key) and what is added to it."""
    match e:
        case Const(value):
            return None, int(value)
        case Binary("+", left, Const(value)):
            return key(left), int(value)
        case _:
            return key(e), 0


def macro(count: int) -> str:
    """What a program calls for so many names.

    >>> macro(12)
    'SEICHE_LOAD_12'
    """
    return f"SEICHE_LOAD_{count}"


def loads(counts: Sequence[int]) -> str:
    """The text of these macros; nothing where there are none."""
    if not counts:
        return ""
    some = sorted(set(counts))
    return TEXT.format(together="\n".join(map(_together, some)), apart="\n".join(map(_apart, some)))


def _together(n: int) -> str:
    names = [f"v{k}" for k in range(n)]
    lines = [
        f"#define {macro(n)}(place, {', '.join(names)})",
        f"    float {', '.join(names)};",
        "    {",
    ]
    lines += [f'        register float r{k} __asm__("s{FIRST + k}");' for k in range(n)]
    outs = ", ".join(f'"=t"(r{k})' for k in range(n))
    lines += [
        f'        __asm__("vldmia %{n}, {{s{FIRST}-s{FIRST + n - 1}}}"',
        f"            : {outs}",
        f'            : "r"(place), "m"(*(const float (*)[{n}])(place)));',
        *(f"        v{k} = r{k};" for k in range(n)),
        "    }",
    ]
    return " \\\n".join(lines)


def _apart(n: int) -> str:
    names = ", ".join(f"v{k}" for k in range(n))
    parts = " ".join(f"const float v{k} = (place)[{k}];" for k in range(n))
    return f"#define {macro(n)}(place, {names}) {parts}"
