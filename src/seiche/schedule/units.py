"""Fixed point as integers, before a lowered node is scheduled for C: every value is held in units of its last place.

    x: fixed(i, f)   |-   2^f x, in the narrowest of i8, i16, i32
    z = x + y        |-   requantise(convert(x, i32) + convert(y, i32), fraction=f, to=fixed(i, f))
    z = x * y        |-   requantise(convert(x, i32) * convert(y, i32), fraction=2 f, to=fixed(i, f))

Moves, choices, orders, states and rows take the integers as they are. Sums and products are exact in i32 or i64, as they are in the
f64 of the interpreter, and rounded once. An op that has no rule is computed in f64 and rounded, as the interpreter does; functions of one
argument are tables or computed in f32 where all their results are known (`schedule.curves`). So the pass is total, and changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from seiche.ir import core
from seiche.ir.clocks import infer
from seiche.ir.core import Apply, Equation, Lit, Node, Scan, Var, operands, substitute
from seiche.ir.op import AnyArray, SignatureError, use
from seiche.numbers.formats import Format, Type, bool_, f32, f64, fixed, i32, i64
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest
from seiche.numbers.units import held, units
from seiche.schedule.curves import TABLE_BITS_MAX, exceptions, is_curve, results
from seiche.schedule.lower import Lowered

EXACT_BITS = 53
"""Of f64, in which the interpreter sums: beyond, its sums round on the way."""


@dataclass(frozen=True)
class InUnits:
    """A lowered node over integers; `formats` says of what format's units the Vars are that took the place of fixed point."""

    lowered: Lowered
    formats: dict[Var, Format]


def in_units(lowered: Lowered, floats: tuple[str, ...] = ()) -> InUnits:
    """The lowered node with integers in place of fixed point; itself where there is none. `floats`: what a target computes itself.

    >>> import seiche as sc
    >>> @sc.node
    ... def scaled(x: sc.fixed(4, 12)) -> sc.Stream:
    ...     return x * x
    >>> [(v.name, v.type) for eq in in_units(sc.compile(scaled).lowered).lowered.node.eqs for v in eq.outs]
    [('convert', i32), ('mul', i32), ('out', i16)]
    """
    if not any(is_fixed(v) for node in core.walk(lowered.node) for v in _vars(node)):
        return InUnits(lowered, {})
    formats: dict[Var, Format] = {}
    node = _Rewriting(lowered.node, formats, floats).run()
    return InUnits(replace(lowered, node=node, clocks=infer(node)), formats)


def is_fixed(var: Var) -> bool:
    return var.type.format.kind == "fixed"


def _vars(node: Node) -> tuple[Var, ...]:
    return (*node.inputs, *(v for eq in node.eqs for v in eq.outs))


@dataclass
class _Rewriting:
    """One node, or body, being rewritten. `made` are its equations; `eq` is the one that is served."""

    node: Node
    formats: dict[Var, Format]
    floats: tuple[str, ...]
    made: list[Equation] = field(default_factory=list["Equation"])
    integers: dict[Var, Var] = field(default_factory=dict["Var", Var])
    reals: dict[Var, Var] = field(default_factory=dict["Var", Var])
    wide: dict[tuple[Var, Format], Var] = field(default_factory=dict["tuple[Var, Format]", Var])

    def run(self) -> Node:
        self.defs = self.node.definitions()
        inputs = tuple(map(self.units, self.node.inputs))
        for eq in self.node.eqs:
            self.eq = eq
            self._equation(eq)
        outputs = tuple(map(self.units, self.node.outputs))
        return core.live(replace(self.node, inputs=inputs, outputs=outputs, eqs=self.made))

    def _equation(self, eq: Equation) -> None:
        rhs = eq.rhs
        match rhs:
            case Scan():
                body = _Rewriting(rhs.body, self.formats, self.floats).run()
                self.define(replace(rhs, body=body, args=tuple(map(self.units, rhs.args))))
            case _ if not any(map(is_fixed, (*eq.outs, *operands(rhs)))):
                self.made.append(eq)
            case Lit(value):
                self.define(Lit(units(value, eq.out.type.format)))
            case Apply():
                RULES.get(rhs.op, in_reals)(self, rhs)
            case _:
                self.define(substitute(rhs, self.units))

    def units(self, var: Var) -> Var:
        """The Var that holds a value: an integer for one of fixed point."""
        if not is_fixed(var):
            return var
        if var not in self.integers:
            type = Type(held(var.type.format), var.type.shape)
            made = Var(var.name, type, var.loc, var.scope)
            self.integers[var], self.formats[made] = made, var.type.format
        return self.integers[var]

    def real(self, var: Var) -> Var:
        """A value of fixed point in f64."""
        if var not in self.reals:
            rhs = self.defs[var].rhs if var in self.defs else None
            if isinstance(rhs, Lit) and (rhs.value == rhs.value.flat[:1]).all():
                made = self.new(Lit(rhs.value), Type(f64, var.type.shape), var.name)
            else:
                fraction = var.type.format.mantissa
                made = self.apply("dequantise", self.units(var), fraction=fraction, format=f64)
            self.reals[var] = made
        return self.reals[var]

    def define(self, rhs: core.Rhs) -> None:
        """The results of the equation that is served."""
        self.made.append(Equation(tuple(map(self.units, self.eq.outs)), rhs))

    def result(self, op: str, *args: Var, **params: Any) -> None:
        """The result of the equation that is served, by another op."""
        self.define(Apply(op, args, params))

    def new(self, rhs: core.Rhs, type: Type, name: str) -> Var:
        like = self.eq.outs[0]
        var = Var(name, type, like.loc, like.scope)
        self.made.append(Equation((var,), rhs))
        return var

    def apply(self, op: str, *args: Var, **params: Any) -> Var:
        """A value on the way; raises SignatureError."""
        out = use(op, tuple(a.type for a in args), params).out
        return self.new(Apply(op, args, params), out, op)

    def converted(self, var: Var, format: Format) -> Var:
        """The same integer in another format."""
        if var.type.format == format:
            return var
        if (var, format) not in self.wide:
            self.wide[var, format] = self.apply("convert", var, format=format)
        return self.wide[var, format]


Rule: TypeAlias = Callable[[_Rewriting, Apply], None]
"""Writes what takes the place of the equation that is served."""


# ------------------------------------------------------------------------------------ ops without a rule


def in_reals(m: _Rewriting, rhs: Apply) -> None:
    """In f64, then rounded; as a table, or in f32, where that is known to be the same."""
    if _as_curve(m, rhs):
        return
    args = tuple(m.real(v) if is_fixed(v) else v for v in rhs.args)
    out = m.eq.out
    try:
        type = use(rhs.op, tuple(a.type for a in args), rhs.params).out
    except SignatureError:  # it wants fixed point
        args = tuple(
            m.apply("convert", a, format=v.type.format) if is_fixed(v) else a
            for v, a in zip(rhs.args, args, strict=True)
        )
        type = out.type
    if not is_fixed(out):
        m.define(Apply(rhs.op, args, rhs.params))
        return
    real = m.new(Apply(rhs.op, args, rhs.params), type, rhs.op)
    m.result("quantise", real, to=out.type.format)


def _as_curve(m: _Rewriting, rhs: Apply) -> bool:
    """By what is known of the results at each value that the only argument may have."""
    if not is_curve(rhs):
        return False
    params, format, out = tuple(rhs.params.items()), rhs.args[0].type.format, m.eq.out.type.format
    if format.bits <= TABLE_BITS_MAX:
        _tabled(m, rhs, results(rhs.op, params, format, out))
        return True
    found = exceptions(rhs.op, params, format) if out == format else None
    if found is None or (found and "f64" in m.floats):
        return False
    _in_singles(m, rhs, found)
    return True


def _tabled(m: _Rewriting, rhs: Apply, results: AnyArray) -> None:
    """The result is looked up."""
    out, arg = m.eq.out.type.format, m.units(rhs.args[0])
    kept = Type(held(out) if out.kind == "fixed" else out, results.shape)
    table = m.new(Lit(results), kept, f"{rhs.op}_table")
    index = m.converted(arg, i32)
    half = np.full(arg.type.shape, len(results) // 2, np.int32)
    place = m.apply("add", index, m.new(Lit(half), index.type, "half"))
    m.result("take", table, place, axis=0)


def _in_singles(m: _Rewriting, rhs: Apply, found: tuple[tuple[int, int], ...]) -> None:
    """In f32, and put right where that rounds otherwise."""
    (arg,), to = rhs.args, m.eq.out.type.format
    x = m.apply("dequantise", m.units(arg), fraction=to.mantissa, format=f32)
    y = m.apply(rhs.op, x, **rhs.params)
    if not found:
        m.result("quantise", y, to=to)
        return
    at, right = (tuple(column) for column in zip(*found, strict=True))
    m.result("except_at", m.units(arg), m.apply("quantise", y, to=to), at=at, to=right)


# -------------------------------------------------------------------------------------------------- rules


def alike(m: _Rewriting, rhs: Apply) -> None:
    """The same op: the order of units is that of the values, and an element that moves is the same."""
    m.define(substitute(rhs, m.units))


def padded(m: _Rewriting, rhs: Apply) -> None:
    """The value that is put around is one of the format."""
    format = m.eq.out.type.format
    fill = round_nearest(NUMPY, np.float64(rhs.params.get("value", 0)), format)
    around = int(units(fill, format))
    m.result("pad", *map(m.units, rhs.args), **{**rhs.params, "value": around})


@dataclass(frozen=True)
class Exact:
    """The same op on wide integers, then rounded once.

    No result is larger than `terms(rhs)` times the product of the largest values of `factors` arguments (one argument as often as
    there are factors). `narrow`: the op itself takes narrow integers, and sums in the format that `accumulate` says.
    """

    factors: int
    terms: Callable[[Apply], int]
    narrow: bool = False

    def __call__(self, m: _Rewriting, rhs: Apply) -> None:
        wide, fraction = self._wide(m, rhs)
        if wide is None:
            in_reals(m, rhs)
            return
        params = {**rhs.params, "accumulate": wide} if self.narrow else rhs.params
        args = [self._argument(m, v, wide) for v in rhs.args]
        try:
            total = m.apply(rhs.op, *args, **params)
        except SignatureError:  # stated loops that fit reals
            in_reals(m, rhs)
            return
        m.result("requantise", total, fraction=fraction, to=m.eq.out.type.format)

    def _argument(self, m: _Rewriting, var: Var, wide: Format) -> Var:
        if not is_fixed(var) or self.narrow:
            return m.units(var)
        return m.converted(m.units(var), wide)

    def _wide(self, m: _Rewriting, rhs: Apply) -> tuple[Format | None, int]:
        """The integers that hold all sums, None where f64 would not; the place of their last bit."""
        formats = [v.type.format for v in rhs.args if is_fixed(v)]
        formats = (formats * self.factors)[: self.factors] if self.factors > 1 else formats[:1]
        most = self.terms(rhs) << sum(f.bits - 1 for f in formats)
        fraction = sum(f.mantissa for f in formats)
        if not is_fixed(m.eq.out) or most > 1 << EXACT_BITS:
            return None, fraction
        return (i32 if most < 1 << 31 else i64), fraction


def _reduced(rhs: Apply) -> int:
    """Terms of a sum over axes."""
    x = rhs.args[0].type
    return int(np.prod([x.shape[i] for i in rhs.params["axes"]], dtype=np.int64))


def _summed(rhs: Apply) -> int:
    """Terms of an element of a matrix product."""
    return rhs.args[0].type.shape[-2 if rhs.params.get("trans_a") else -1]


def whole(m: _Rewriting, rhs: Apply) -> None:
    """Rounded down to a whole number: the bits of the fraction are cleared."""
    arg = m.units(rhs.args[0])
    mask = np.full(arg.type.shape, -(1 << rhs.args[0].type.format.mantissa), arg.type.format.dtype)
    m.result("bit_and", arg, m.new(Lit(mask), arg.type, "mask"))


def up(m: _Rewriting, rhs: Apply) -> None:
    """Rounded up: minus what is rounded down."""
    below = m.apply("neg", m.converted(m.units(rhs.args[0]), i32))
    format = rhs.args[0].type.format
    mask = m.new(
        Lit(np.full(below.type.shape, -(1 << format.mantissa), np.int32)), below.type, "mask"
    )
    total = m.apply("neg", m.apply("bit_and", below, mask))
    m.result("requantise", total, fraction=format.mantissa, to=format)


def to_whole(of: Callable[[Format], Format]) -> Rule:
    """Rounded to a whole number by a conversion to a format of those."""

    def rule(m: _Rewriting, rhs: Apply) -> None:
        format = rhs.args[0].type.format
        found = m.apply("requantise", m.units(rhs.args[0]), fraction=format.mantissa, to=of(format))
        m.result("requantise", found, fraction=0, to=format)

    return rule


def divided(m: _Rewriting, rhs: Apply) -> None:
    """A quotient, or a reciprocal: the units cancel."""
    *above, below = (m.units(v) for v in rhs.args)
    format = m.eq.out.type.format
    one = 1 << format.mantissa
    wide = i32 if format.mantissa + max(format.bits, format.mantissa + 1) < 32 else i64
    y = m.converted(below, wide)
    if above:
        x = m.converted(above[0], wide)
    else:
        x = m.new(Lit(np.full(y.type.shape, one, wide.dtype)), y.type, "one")
    m.result("ratio", x, y, to=format)


def sign(m: _Rewriting, rhs: Apply) -> None:
    """-1, 0 or 1 as far as the format has them."""
    found = m.apply("sign", m.units(rhs.args[0]))
    m.result("requantise", found, fraction=0, to=m.eq.out.type.format)


def convert(m: _Rewriting, rhs: Apply) -> None:
    """Between formats of fixed point, integers and machine floats."""
    (arg,), to = rhs.args, m.eq.out.type.format
    source, x = arg.type.format, m.units(arg)
    if source.kind == "fixed":
        if to.kind == "fixed" or to.is_integer:
            m.result("requantise", x, fraction=source.mantissa, to=to)
        elif to in (f32, f64):
            m.result("dequantise", x, fraction=source.mantissa, format=to)
        elif to == bool_:
            m.result("convert", x, format=to)
        else:
            in_reals(m, rhs)
    elif source.is_float:
        m.result("quantise", x, to=to)
    elif source.kind == "uint" and source.bits == 64:
        in_reals(m, rhs)
    else:
        wide = i64 if source.bits == 64 or (source.kind == "uint" and source.bits == 32) else i32
        m.result("requantise", m.converted(x, wide), fraction=0, to=to)


ALIKE = (
    "reshape", "transpose", "broadcast", "slice", "concat", "index", "dynamic_slice", "take", "take_along", "update", "patches",
    "select", "stop_gradient", "pipeline_register", "minimum", "maximum", "max", "min", "cummax", "cummin", "argmax", "argmin",
    "sort", "argsort", "eq", "ne", "lt", "le", "gt", "ge",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(ALIKE, alike),
    "pad": padded,
    "convert": convert,
    "floor": whole,
    "ceil": up,
    "trunc": to_whole(lambda format: i32),
    "round": to_whole(lambda format: fixed(min(format.bits - format.mantissa + 1, 26), 0)),
    "div": divided,
    "reciprocal": divided,
    "sign": sign,
    "neg": Exact(1, lambda rhs: 1),
    "abs": Exact(1, lambda rhs: 1),
    "add": Exact(1, lambda rhs: 2),
    "sub": Exact(1, lambda rhs: 2),
    "sum": Exact(1, _reduced),
    "cumsum": Exact(1, lambda rhs: rhs.args[0].type.shape[rhs.params["axis"]]),
    "scatter_add": Exact(1, lambda rhs: 1 + rhs.args[1].type.size),
    "square": Exact(2, lambda rhs: 1),
    "mul": Exact(2, lambda rhs: 1),
    "matmul": Exact(2, _summed, narrow=True),
}
"""What takes the place of each op on fixed point; `in_reals` of all others."""
