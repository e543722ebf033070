"""The printed form of nodes: read by people, and read back by `ir.parse`.

    node ema(x: f32 @2, rate: f32 @2) -> (next) @"ema.py":1 {
      zero: f32 @3 = 0.0
      mean: f32 @3 = fby(zero, next)
      gap: f32 @4 = sub(x, mean)
      step: f32 @4 = mul(rate, gap)
      next: f32 @4 = add(mean, step)
    }

An equation is `decl, ... = right-hand side`, a declaration `name: type @line in path/of/instances`.

    1.5      [1, 2]      base64("...")        a literal; one number fills its whole type
    add(x, y)            sum(x, axes=(0, 1))  an op: streams by position, static parameters by name
    fby(i, x)            fby(i, x, reset=r)   pre(x) is fby without i;  post(x, f) alike
    when(x, c)           when(x, !c)          merge(c, yes, no)
    scan(xs[], w, outs=(stack, last), extent=8, length=n) node body(x: f32, w: f32) -> (y, s) { ... }
    frame(x[], w, outs=(stream), extent=8, until=u, reset=r) node body ...
    call(x) node f ...                        a second node is its derivative
    check c "SE602" "text" @5                 after the equations
    check c "SE803" "text" @5 (assumption in a/b from @9 of x)    an instance that line 9 uses

`xs[]` marks a mapped argument. `@5` is a line of the file that the closest node around names. Names hold letters,
digits, `_` and `.`; others stand in backquotes, as do the two reserved words, `node` and `check`, and an op that is called
as a form is. Where a node has several Vars of one name, the second is written `x~1`, and so on; bodies have names of their
own. `#` opens a comment.

Law: print, parse, print is the identity. Literals are exact: shortest decimals that read back, else hexadecimal; a
NaN other than the usual one shows its bits (`nan:0x7fc00001`); what has over 16 elements is base64 of its bytes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, assert_never

import numpy as np

from seiche.errors import NOWHERE, Loc
from seiche.ir import clocks
from seiche.ir.core import (
    Apply,
    Call,
    Check,
    Contract,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    OutKind,
    Post,
    Rhs,
    Scan,
    Var,
    When,
)
from seiche.numbers.formats import Format, Type

INLINE_MAX = 16
"""Literals of more elements are printed as bytes."""

RESERVED = frozenset({"node", "check"})
FORMS = frozenset({"base64", "fby", "pre", "post", "when", "merge", "scan", "frame", "call"})
_PLAIN = re.compile(r"[^\W\d][\w.]*\Z")


def show(node: Node, *, locs: bool = True, with_clocks: bool = False) -> str:
    """The text of a node, with the users' lines (`locs`) and each equation's clock as a comment (`with_clocks`).

    >>> from seiche.ir.core import Equation, Fby, Lit, Node, Var
    >>> from seiche.numbers.formats import f32
    >>> x, zero, y = (Var(name, Type(f32)) for name in ("x", "zero", "y"))
    >>> eqs = [Equation((zero,), Lit(np.float32(0.0))), Equation((y,), Fby(zero, x))]
    >>> print(show(Node("delay", (x,), (y,), eqs)))
    node delay(x: f32) -> (y) {
      zero: f32 = 0.0
      y: f32 = fby(zero, x)
    }
    """
    return "\n".join(_Printer(locs, with_clocks).node(node, NOWHERE.file))


def show_equation(node: Node, eq: Equation) -> str:
    """One equation as it stands in the text of its node, without lines."""
    printer = _Printer(locs=False, with_clocks=False)
    names = _Names(node)
    return "\n".join(printer.equation(eq, names, NOWHERE.file))


class _Names:
    """A printed name for each Var of a node: `x`, `x~1` ..., in the order of appearance."""

    def __init__(self, node: Node) -> None:
        self.given: dict[Var, str] = {}
        self.count: dict[str, int] = {}
        for var in (*node.inputs, *(out for eq in node.eqs for out in eq.outs)):
            self[var]

    def __getitem__(self, var: Var) -> str:
        if var not in self.given:
            seen = self.count.get(var.name, 0)
            self.count[var.name] = seen + 1
            self.given[var] = quote(var.name) + (f"~{seen}" if seen else "")
        return self.given[var]


def quote(name: str, reserved: frozenset[str] = RESERVED) -> str:
    """A name as it is printed.

    >>> quote("mean"), quote("w[0]"), quote("node")
    ('mean', '`w[0]`', '`node`')
    """
    if _PLAIN.match(name) and name not in reserved:
        return name
    return "`" + json.dumps(name)[1:-1].replace('\\"', '"').replace("`", "\\u0060") + "`"


class _Printer:
    def __init__(self, locs: bool, with_clocks: bool) -> None:
        self.locs = locs
        self.with_clocks = with_clocks

    def place(self, loc: Loc, file: str) -> str:
        if not self.locs or loc == NOWHERE:
            return ""
        return f" @{loc.line}" if loc.file == file else f" @{json.dumps(loc.file)}:{loc.line}"

    def declare(self, var: Var, names: _Names, file: str) -> str:
        scope = " in " + "/".join(map(quote, var.scope)) if self.locs and var.scope else ""
        return f"{names[var]}: {var.type}{self.place(var.loc, file)}{scope}"

    def node(self, node: Node, file: str) -> list[str]:
        names = _Names(node)
        here = node.loc.file if self.locs and node.loc != NOWHERE else file
        inputs = ", ".join(self.declare(v, names, here) for v in node.inputs)
        outputs = ", ".join(names[v] for v in node.outputs)
        head = f"node {quote(node.name)}({inputs}) -> ({outputs}){self.place(node.loc, file)} {{"
        known = clocks.infer(node) if self.with_clocks else None
        lines: list[str] = []
        for eq in node.eqs:
            first, *rest = self.equation(eq, names, here)
            remark = f"  # {clocks.show(known[eq.outs[0]])}" if known and eq.outs else ""
            lines += [first + remark, *rest]
        lines += [self.check(check, names, here) for check in node.checks]
        return [head, *("  " + line for line in lines), "}"]

    def check(self, check: Check, names: _Names, file: str) -> str:
        words = ("check", names[check.cond], json.dumps(check.code), json.dumps(check.text))
        return " ".join(words) + self.place(check.loc, file) + self.contract(check.contract, file)

    def contract(self, contract: Contract | None, file: str) -> str:
        if contract is None:
            return ""
        where = " in " + "/".join(map(quote, contract.instance)) if contract.instance else ""
        caller = self.place(contract.caller, file)
        about = " of " + ", ".join(map(quote, contract.about)) if contract.about else ""
        return f" ({contract.role}{where}{' from' + caller if caller else ''}{about})"

    def equation(self, eq: Equation, names: _Names, file: str) -> list[str]:
        outs = ", ".join(self.declare(v, names, file) for v in eq.outs)
        lines = [f"{outs} = {self.head(eq, names)}"]
        for body in _bodies(eq.rhs):
            first, *rest = self.node(body, file)
            lines = [*lines[:-1], f"{lines[-1]} {first}", *rest]
        return lines

    def head(self, eq: Equation, names: _Names) -> str:
        """The right-hand side but for its bodies."""
        rhs = eq.rhs
        match rhs:
            case Lit(value):
                return literal(value, eq.out.type)
            case Apply(op, args, params):
                static = {quote(key): show_value(value) for key, value in params.items()}
                return _call(quote(op, RESERVED | FORMS), (names[a] for a in args), static)
            case Fby(init, arg, reset):
                form, args = ("pre", (arg,)) if init is None else ("fby", (init, arg))
                return _call(form, (names[a] for a in args), _optional(names, reset=reset))
            case Post(arg, final, reset):
                return _call("post", (names[arg], names[final]), _optional(names, reset=reset))
            case When(arg, cond, on):
                return _call("when", (names[arg], ("" if on else "!") + names[cond]), {})
            case Merge(cond, yes, no):
                return _call("merge", (names[cond], names[yes], names[no]), {})
            case Scan(length=length):
                return _call(
                    "scan", _mapped(rhs, names), _rows(rhs) | _optional(names, length=length)
                )
            case Frame(until=until, reset=reset):
                ends = _optional(names, until=until, reset=reset)
                return _call("frame", _mapped(rhs, names), _rows(rhs) | ends)
            case Call(args=args):
                return _call("call", (names[a] for a in args), {})
            case _:
                assert_never(rhs)


def _call(form: str, args: Iterable[str], named: dict[str, str]) -> str:
    return f"{form}({', '.join([*args, *(f'{key}={value}' for key, value in named.items())])})"


def _optional(names: _Names, **vars: Var | None) -> dict[str, str]:
    return {key: names[var] for key, var in vars.items() if var is not None}


def _mapped(rhs: Scan | Frame, names: _Names) -> list[str]:
    rows = (*rhs.mapped, *(False,) * len(rhs.args))
    return [names[a] + ("[]" if each else "") for a, each in zip(rhs.args, rows, strict=False)]


def _rows(rhs: Scan | Frame) -> dict[str, str]:
    kinds: tuple[OutKind, ...] = rhs.outs
    return {"outs": f"({', '.join(kinds)})", "extent": str(rhs.extent)}


def _bodies(rhs: Rhs) -> tuple[Node, ...]:
    match rhs:
        case Scan(body=body) | Frame(body=body):
            return (body,)
        case Call(body=body, vjp=vjp):
            return (body,) if vjp is None else (body, vjp)
        case _:
            return ()


def show_value(value: Any) -> str:
    """A static value: number, string, None, format, type, slice, or a tuple of them.

    >>> from seiche.numbers.formats import f32, fixed
    >>> show_value((1, 0.5, None, "same", f32, f32[3], Type(fixed(4, 12)), slice(1, None)))
    '(1, 0.5, none, "same", f32, f32[3], fixed<4, 12>[], slice(1, none, none))'
    """
    match value:
        case None:
            return "none"
        case bool() | np.bool_():
            return "true" if bool(value) else "false"
        case int() | np.integer():
            return str(int(value))
        case float() | np.floating():
            return repr(float(value))
        case str():
            return json.dumps(value)
        case Format():
            return str(value)
        case Type(format, shape):
            return f"{format}[{', '.join(map(str, shape))}]"
        case slice(start=start, stop=stop, step=step):
            return f"slice({', '.join(map(show_value, (start, stop, step)))})"
        case tuple() | list():
            return f"({', '.join(map(show_value, value))})"
        case _:
            raise TypeError(
                f"a static parameter of type {type(value).__name__} has no printed form"
            )


def literal(value: np.ndarray, type: Type) -> str:
    """A constant of that type; where it does not fit the type, its bytes with dtype and shape.

    >>> from seiche.numbers.formats import f32, i32
    >>> literal(np.array([0.1, -0.0, np.inf], np.float32), f32[3]), literal(np.zeros(9, np.int32), i32[9])
    ('[0.1, -0.0, inf]', '0')
    """
    value = np.asarray(value)
    fits = value.dtype == np.dtype(type.format.dtype) and value.shape == type.shape
    if not fits:
        shape = ", ".join(map(str, value.shape))
        return f'base64("{_encode(value)}", dtype="{value.dtype}", shape=({shape}))'
    if value.size == 0:
        return "[]"
    first = value.flat[0]
    if _bits(value) == _bits(np.full(value.shape, first, value.dtype)):
        return _number(first)
    if value.size > INLINE_MAX:
        return f'base64("{_encode(value)}")'
    return _nested(value)


def _bits(value: np.ndarray) -> bytes:
    return np.ascontiguousarray(value).tobytes()


def _encode(value: np.ndarray) -> str:
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(_bits(little)).decode("ascii")


def _nested(value: np.ndarray) -> str:
    if value.ndim == 0:
        return _number(value[()])
    return f"[{', '.join(_nested(row) for row in value)}]"


def _number(value: Any) -> str:
    """One element, so that reading it in its dtype gives the same bits."""
    if isinstance(value, np.bool_):
        return "true" if value else "false"
    if isinstance(value, np.integer):
        return str(int(value))
    if np.isnan(value):
        same = value.tobytes() == value.dtype.type(np.nan).tobytes()
        return "nan" if same else f"nan:0x{value[()].view(f'u{value.dtype.itemsize}'):x}"
    short = str(value)
    back = value.dtype.type(float(short))
    return short if back.tobytes() == value.tobytes() else float(value).hex()
