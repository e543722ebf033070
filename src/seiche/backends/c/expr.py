"""Expressions in C: every value in its own type, explicit conversions, no undefined behaviour.

Integers wrap: signed arithmetic goes through unsigned, but where the ranges of loop indices show that nothing can overflow (so
that compilers see the loops' strides). Promotion to int is undone by a cast after each operation on small integers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from seiche.ir.loops import (
    COMPARISONS,
    Binary,
    Buffer,
    Choose,
    Const,
    Convert,
    Expr,
    Intrinsic,
    Invoke,
    Load,
    Name,
    Unary,
)
from seiche.numbers.formats import Format
from seiche.schedule.pull import flat_index

CTYPES: dict[str, str] = {
    "f32": "float", "f64": "double", "bool": "uint8_t",
    **{f"i{b}": f"int{b}_t" for b in (8, 16, 32, 64)},
    **{f"u{b}": f"uint{b}_t" for b in (8, 16, 32, 64)},
}  # fmt: skip

Range: TypeAlias = tuple[int, int]
CALL = re.compile(r"[A-Za-z_]\w*\(")


def ctype(format: Format) -> str:
    """The C type of a format's carrier."""
    return CTYPES[format.carrier]


LANE = "SEICHE_LANE"


def vector(format: Format, lanes: int) -> str:
    """The C type of lanes of a carrier; truth values are as wide as f32.

    >>> from seiche.numbers.formats import bool_, f32
    >>> vector(f32, 16), vector(bool_, 8)
    ('SEICHE_F32X16', 'SEICHE_I32X8')
    """
    if format.kind == "bool":
        return f"SEICHE_I32X{lanes}"
    return f"SEICHE_{format.carrier.upper()}X{lanes}"


def literal(value: float | int | bool, format: Format) -> str:
    """A constant with exactly that value.

    >>> from seiche.numbers.formats import f32, f64, i32, u64
    >>> literal(0.1, f32), literal(0.5, f64), literal(-2147483648, i32), literal(7, u64)
    ('0x1.99999ap-4f', '0.5', '(-2147483647 - 1)', 'UINT64_C(7)')
    """
    name = format.carrier
    if name in ("f32", "f64"):
        return _real(
            float(np.float32(value)) if name == "f32" else float(value),
            "f" if name == "f32" else "",
        )
    number = int(value)
    if name in ("u32", "u64"):
        return f"{number}u" if name == "u32" else f"UINT64_C({number})"
    if name == "i64":
        return f"(-INT64_C({-number - 1}) - 1)" if number < 0 else f"INT64_C({number})"
    if number == -(1 << 31):
        return "(-2147483647 - 1)"
    return f"({number})" if number < 0 else str(number)


def _real(x: float, suffix: str) -> str:
    if math.isnan(x):
        return _nan(x, suffix)
    if math.isinf(x):
        return f"({'-' if x < 0 else ''}1.0{suffix} / 0.0{suffix})"
    short = repr(abs(x))
    if len(short) <= 6 and float(short) * 64 == int(float(short) * 64):
        text = short
    else:
        head, exponent = abs(x).hex().split("p")
        text = f"{head.rstrip('0').rstrip('.') if '.' in head else head}p{exponent}"
    return f"(-{text}{suffix})" if math.copysign(1.0, x) < 0 else f"{text}{suffix}"


def _nan(x: float, suffix: str) -> str:
    """By its bits: the sign of 0.0 / 0.0 is the processor's or the compiler's own."""
    bits = int(np.float32(x).view(np.uint32) if suffix else np.float64(x).view(np.uint64))
    payload = bits & ((1 << (22 if suffix else 51)) - 1)
    text = f'SEICHE_NAN{suffix.upper()}("{payload:#x}")'
    return f"(-{text})" if math.copysign(1.0, x) < 0 else text


@dataclass
class Printer:
    """Prints expressions. `reference(buffer)` is how its elements are reached; `need(kind, carrier)` asks for a helper;
    `call(invoke)` is the name of its function.
    """

    reference: Callable[[Buffer], str]
    need: Callable[[str, str], None]
    call: Callable[[Invoke], str]
    ranges: dict[str, Range] = field(default_factory=dict[str, Range])

    def value(self, e: Expr) -> str:
        """As an operand. A bool may come as int: see `typed`."""
        match e:
            case Const(value, format):
                return literal(value, format)
            case Name(name):
                return f"{name} {LANE}" if e.lanes > 1 else name
            case Load(buffer, index):
                return self.lanes(e) if e.lanes > 1 else self.element(buffer, index)
            case Unary("!", arg) if e.lanes > 1:
                return f"({self.value(arg)} == 0)"
            case Unary(op, arg):
                return self._unary(op, arg)
            case Binary() if e.lanes > 1:
                return self._binary_lanes(e)
            case Binary():
                return self._binary(e)
            case Choose(cond, yes, no) if e.lanes > 1:
                return self._choice(e.lanes, cond, yes, no)
            case Choose(cond, yes, no):
                text = f"({self.value(cond)} ? {self.value(yes)} : {self.value(no)})"
                return f"({ctype(e.format)}){text}" if _small(e.format) else text
            case Convert() if e.lanes > 1:
                return self._convert_lanes(e)
            case Convert(arg, format):
                return self._convert(arg, format)
            case Intrinsic(_, arg) if e.lanes > 1:
                held = vector(e.format, e.lanes)
                self.need("lanes", held)
                return f"SEICHE_AS({held}, {self._intrinsic(e)}, {stripped(self.value(arg))})"
            case Intrinsic(_, arg):
                return f"{self._intrinsic(e)}({self.value(arg)})"
            case Invoke(_, _, args):
                return f"{self.call(e)}({', '.join(map(self.typed, args))})"
            case _:
                raise AssertionError(e)

    def typed(self, e: Expr) -> str:
        """A value of exactly its C type."""
        text = self.value(e)
        if (
            e.format.kind == "bool"
            and e.lanes == 1
            and not isinstance(e, Const | Name | Load | Invoke)
        ):
            return f"(uint8_t){text}"
        return stripped(text)

    def condition(self, e: Expr) -> str:
        return stripped(self.value(e))

    def element(self, buffer: Buffer, index: tuple[Expr, ...]) -> str:
        """A place in a buffer."""
        if not buffer.type.shape:
            return self.reference(buffer)
        return f"{self.reference(buffer)}[{stripped(self.index(flat_index(index, buffer.type.shape)))}]"

    def lanes(self, place: Load) -> str:
        """Elements side by side, from a place in a buffer on, or at a place for each lane."""
        held = vector(place.format, place.lanes)
        self.need("lanes", held)
        truth = place.format.kind == "bool"
        if any(i.lanes > 1 for i in place.index):
            self.need("gather", str(place.lanes))
            found = f"SEICHE_GATHER_{place.lanes}({held}, {self.reference(place.buffer)}, {self._flat(place)})"
        else:
            kept = self.memory(place)
            found = f"SEICHE_AT({kept}, {self.start(place)})"
        return f"SEICHE_TRUE({held}, {found})" if truth else found

    def memory(self, place: Load) -> str:
        """The type of lanes as they lie in memory."""
        truth = place.format.kind == "bool"
        kept = f"SEICHE_U8X{place.lanes}" if truth else vector(place.format, place.lanes)
        self.need("lanes", kept)
        return kept

    def _flat(self, place: Load) -> str:
        return stripped(self.index(flat_index(place.index, place.buffer.type.shape)))

    def start(self, place: Load) -> str:
        """A pointer to a place in a buffer."""
        at = self._flat(place)
        return f"{self.reference(place.buffer)}{'' if at == '0' else f' + {at}'}"

    def index(self, e: Expr) -> str:
        """Index arithmetic, which stays in range by construction."""
        if isinstance(e, Binary) and (exact := _known(e)) is not None:
            return str(exact)
        if isinstance(e, Binary) and e.op in "+-*/%":
            return f"({self.index(e.left)} {e.op} {self.index(e.right)})"
        return self.value(e)

    def _intrinsic(self, e: Intrinsic) -> str:
        """The name of its function."""
        which = e.format.name if e.name == "from_bits" else e.arg.format.name
        self.need(e.name if e.lanes == 1 else f"{e.name} in arrays", which)
        return f"{e.name}_{which}"

    def _choice(self, lanes: int, cond: Expr, yes: Expr, no: Expr) -> str:
        """Lane by lane."""
        held = vector(yes.format, lanes)
        self.need("choice", held)
        sides = [self.spread(x, lanes) for x in (yes, no)]
        return f"SEICHE_CHOOSE({held}, {self.condition(cond)}, {', '.join(map(stripped, sides))})"

    def spread(self, e: Expr, lanes: int) -> str:
        """A value in lanes; a scalar in all of them."""
        if e.lanes > 1:
            return self.value(e)
        how = "SEICHE_MASK" if e.format.kind == "bool" else "SEICHE_ALL"
        return f"{how}({vector(e.format, lanes)}, {self.typed(e)})"

    def _unary(self, op: str, arg: Expr) -> str:
        x, f = self.value(arg), arg.format
        if op == "!" or f.is_float:
            return f"({op}{x})"
        if op == "~":
            return f"({ctype(f)})~{x}" if _small(f) or f.kind == "int" else f"(~{x})"
        if f.kind == "uint" and not _small(f):
            return f"(0u - {x})"
        return f"({ctype(f)})({_unsigned(f, '0')} - {_unsigned(f, x)})"

    def _binary(self, e: Binary) -> str:
        op, f = e.op, e.left.format
        a, b = self.value(e.left), self.value(e.right)
        if f.name == "i32" and op in "+-*" and (exact := _known(e)) is not None:
            return literal(exact, f)
        if a == b and op in COMPARISONS and not f.is_float:
            return "1" if op in ("==", "<=", ">=") else "0"
        if op in COMPARISONS or f.is_float or f.kind == "bool":
            if (
                op in "&|" and e.lanes == 1 and CALL.search(b)
            ):  # clang takes `x & f(y)` of truth values for a slip
                a = f"(int32_t){a}"
            return f"({a} {op} {b})"
        if f.name == "i32" and op in "+-*/%" and self.range(e) is not None:
            return f"({a} {op} {b})"
        if op in "/%":
            return self._divide(e, a, b)
        if op in ("<<", ">>"):
            return self._shift(e, a, b)
        if op in "&|^":
            return f"({ctype(f)})({a} {op} {b})" if _small(f) else f"({a} {op} {b})"
        if f.kind == "uint" and not _small(f):
            return f"({a} {op} {b})"
        return f"({ctype(f)})({_unsigned(f, a)} {op} {_unsigned(f, b)})"

    def _binary_lanes(self, e: Binary) -> str:
        """Lane by lane: a scalar operand is the same in all; comparisons are masks."""
        op, f = e.op, e.left.format
        if f.kind == "bool":
            a, b = self._truth(e.left, e.lanes), self._truth(e.right, e.lanes)
        elif f.kind == "int" and op in "+-*":
            held, wide = vector(f, e.lanes), f"SEICHE_U{f.bits}X{e.lanes}"
            self.need("lanes", held)
            self.need("lanes", wide)
            a, b = (
                f"SEICHE_CAST({wide}, uint{f.bits}_t, {stripped(self.value(x))})"
                if x.lanes > 1
                else _unsigned(f, self.value(x))
                for x in (e.left, e.right)
            )
            return f"SEICHE_CAST({held}, int{f.bits}_t, {a} {op} {b})"
        else:
            a, b = self.value(e.left), self.value(e.right)
        return f"({a} {op} {b})"

    def _truth(self, e: Expr, lanes: int) -> str:
        """As a mask."""
        held = vector(e.format, lanes)
        self.need("lanes", held)
        return self.value(e) if e.lanes > 1 else f"SEICHE_MASK({held}, {self.typed(e)})"

    def _convert_lanes(self, e: Convert) -> str:
        held, x = vector(e.format, e.lanes), stripped(self.value(e.arg))
        self.need("lanes", held)
        if e.format.kind == "bool":
            return f"({x} != 0)" if _closed(x) else f"(({x}) != 0)"
        x = f"SEICHE_ONES({x})" if e.arg.format.kind == "bool" else x
        return f"SEICHE_CONVERT({held}, {ctype(e.format)}, {x})"

    def _divide(self, e: Binary, a: str, b: str) -> str:
        f = e.left.format
        if isinstance(e.right, Const) and int(e.right.value) not in (0, -1):
            return f"({ctype(f)})({a} {e.op} {b})" if _small(f) else f"({a} {e.op} {b})"
        kind = "divide" if e.op == "/" else "remainder"
        self.need(kind, f.name)
        return f"{kind}_{f.name}({stripped(a)}, {stripped(b)})"

    def _shift(self, e: Binary, a: str, b: str) -> str:
        """The count modulo the width; a right shift of a negative number keeps its sign, as all common compilers have it."""
        f = e.left.format
        known = isinstance(e.right, Const) and 0 <= int(e.right.value) < f.bits
        count = (
            str(int(e.right.value))
            if known and isinstance(e.right, Const)
            else f"({b} & {literal(f.bits - 1, e.right.format)})"
        )
        if e.op == "<<" and (f.kind == "int" or _small(f)):
            return f"({ctype(f)})({_unsigned(f, a)} << {count})"
        return f"({ctype(f)})({a} {e.op} {count})" if _small(f) else f"({a} {e.op} {count})"

    def _convert(self, arg: Expr, format: Format) -> str:
        x = self.value(arg)
        if format.kind == "bool":
            return f"({x} != {literal(0, arg.format)})"
        return f"({ctype(format)}){x if _closed(x) else f'({x})'}"

    # Ranges of i32 expressions.

    def range(self, e: Expr) -> Range | None:
        """Bounds of an i32 expression that cannot overflow on the way, if they are known."""
        match e:
            case Const(value) if e.format.is_integer:
                return int(value), int(value)
            case Name(name):
                return self.ranges.get(name)
            case Binary(op, left, right) if (
                op in ("+", "-", "*", "/", "%") and e.format.name == "i32"
            ):
                a, b = self.range(left), self.range(right)
                return None if a is None or b is None else _combined(op, a, b)
            case Choose(cond, yes, no):
                return self._chosen(cond, yes, no)
            case _:
                return None

    def _chosen(self, cond: Expr, yes: Expr, no: Expr) -> Range | None:
        """Of a choice, in particular one that clamps: x < n ? x : n - 1."""
        whole = (-(1 << 31), (1 << 31) - 1)
        branches: list[Range] = []
        for branch, holds in ((yes, True), (no, False)):
            known = self.range(branch)
            if known is None and isinstance(branch, Name) and branch.format.name == "i32":
                known = whole
            limit = _limit(cond, branch, holds)
            if known is None:
                return None
            branches.append((max(known[0], limit[0]), min(known[1], limit[1])))
        low, high = min(b[0] for b in branches), max(b[1] for b in branches)
        return None if (low, high) == whole else (low, high)


def _limit(cond: Expr, branch: Expr, holds: bool) -> Range:
    """What a comparison with a constant says about a name."""
    low, high = -(1 << 31), (1 << 31) - 1
    if not (
        isinstance(cond, Binary) and isinstance(cond.right, Const) and isinstance(branch, Name)
    ):
        return low, high
    if not (isinstance(cond.left, Name) and cond.left.name == branch.name) or cond.op not in "<>":
        return low, high
    n = int(cond.right.value)
    if cond.op == "<":
        return (low, n - 1) if holds else (n, high)
    return (n + 1, high) if holds else (low, n)


def _known(e: Expr) -> int | None:
    """The value of non-negative index arithmetic on constants."""
    match e:
        case Const(value):
            return int(value)
        case Binary(op, left, right):
            a, b = _known(left), _known(right)
            if a is None or b is None:
                return None
            found = _combined(op, (a, a), (b, b))
            return None if found is None or found[0] < 0 else found[0]
        case _:
            return None


def _combined(op: str, a: Range, b: Range) -> Range | None:
    match op:
        case "+":
            low, high = a[0] + b[0], a[1] + b[1]
        case "-":
            low, high = a[0] - b[1], a[1] - b[0]
        case "*":
            corners = [x * y for x in a for y in b]
            low, high = min(corners), max(corners)
        case "/" if a[0] >= 0 and b[0] > 0:
            low, high = a[0] // b[1], a[1] // b[0]
        case "%" if a[0] >= 0 and b[0] > 0:
            low, high = 0, min(a[1], b[1] - 1)
        case _:
            return None
    return (low, high) if -(1 << 31) < low and high < 1 << 31 else None


def _small(format: Format) -> bool:
    """Whether C would promote it to int."""
    return format.is_integer and format.bits < 32


def _unsigned(format: Format, text: str) -> str:
    """An operand as the unsigned type in which arithmetic wraps."""
    wide = "uint64_t" if format.bits == 64 else "uint32_t"
    return f"({wide}){text if _closed(text) else f'({text})'}"


def _closed(text: str) -> bool:
    """Whether a cast may stand right before it."""
    if text.startswith("(") and _whole(text):
        return True
    return text.replace("_", "a").replace("->", "a").replace(".", "a").isalnum()


def _whole(text: str) -> bool:
    """Whether the first parenthesis closes at the end."""
    level = 0
    for k, c in enumerate(text):
        level += (c == "(") - (c == ")")
        if level == 0:
            return k == len(text) - 1
    return False


def stripped(text: str) -> str:
    """Without needless outer parentheses.

    >>> stripped("(a + b)"), stripped("(a) + (b)")
    ('a + b', '(a) + (b)')
    """
    return text[1:-1] if text.startswith("(") and _whole(text) else text
