"""Law 5: print, parse, print is the identity, on hand-written nodes and on random ones."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from seiche.errors import NOWHERE, Loc, SeicheError
from seiche.ir.core import (
    Apply,
    Call,
    Check,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    Post,
    Scan,
    Var,
    When,
)
from seiche.ir.parse import parse
from seiche.ir.text import literal, quote, show, show_equation
from seiche.numbers.formats import NAMED, Type, bool_, f32, f64, fixed, float_, i8, i32, u64

EMA = """\
node ema(x: f32 @2, rate: f32 @2) -> (next) @"ema.py":1 {
  zero: f32 @3 = 0.0
  mean: f32 @3 = fby(zero, next)
  gap: f32 @4 = sub(x, mean)
  step: f32 @4 = mul(rate, gap)
  next: f32 @4 = add(mean, step)
}"""

EVERYTHING = """\
node all(x: f32[3], c: bool, `w[0]`: f32, n: i32) -> (y, total, z, m) @"a/b c.py":1 {
  k: f32[3] = [0.1, -0.0, inf]
  k~1: f32[3] = [nan, nan:0x7fc00001, -inf]
  t: bool = true
  big: f32[2, 2] = 0.0
  p: f32[3] = pre(x, reset=c)
  s: f32[3] @4 in enc/gru = fby(k, x, reset=c)
  a: f32[3] @"other.py":7 in `enc 0`/gru = post(x, k, reset=t)
  a~1: f32[3] = post(x, k)
  y: f32[3] = when(x, c)
  y~1: f32[3] = when(x, !c)
  m: f32[3] = merge(c, y, y~1)
  r: f32 = sum(x, axes=(0), wide=f64, to=f32[2, 3], how="a, \\"b\\"", none=none, q=fixed<4, 12>, yes=true, e=-1e-05)
  cut: f32 = index(x, at=(slice(0, none, 2), 1))
  total: f32, all: f32[3] = scan(x[], `w[0]`, outs=(last, stack), extent=3, length=n) node cell(x: f32, w: f32) -> (s, s) {
    s: f32 = fby(w, t)
    t: f32 = add(s, x)
  }
  z: f32 = frame(r[], outs=(stream), extent=8, until=c, reset=t) node back(r: f32) -> (a) @9 {
    zero: f32 @10 = 0.0
    e: f32 @11 = add(r, a)
    a: f32 @12 = post(e, zero)
  }
  u: f32 = call(r) node f(x: f32) -> (x) {
  } node f_vjp(x: f32, ct: f32) -> (ct) {
  }
  check c "SE602" "a frame is full" @5
  check t "SE903" "" @"other.py":6
}"""


@pytest.mark.parametrize("text", [EMA, EVERYTHING])
def test_text_is_a_fixed_point(text):
    assert show(parse(text)) == text


def test_structure_survives():
    node = parse(EVERYTHING)
    assert same(node, parse(show(node)))
    assert [v.name for v in node.inputs] == ["x", "c", "w[0]", "n"]
    defs = {eq.outs[0].name: eq for eq in reversed(node.eqs)}
    assert isinstance(defs["p"].rhs, Fby) and defs["p"].rhs.init is None
    assert defs["s"].out.loc == Loc("a/b c.py", 4) and defs["s"].out.scope == ("enc", "gru")
    assert defs["a"].out.scope == ("enc 0", "gru")
    scan = defs["total"].rhs
    assert isinstance(scan, Scan) and scan.mapped == (True, False) and scan.length is node.inputs[3]
    frame = defs["z"].rhs
    assert (
        isinstance(frame, Frame)
        and frame.outs == ("stream",)
        and frame.body.eqs[1].out.loc.line == 11
    )
    call = defs["u"].rhs
    assert isinstance(call, Call) and call.vjp is not None and call.vjp.name == "f_vjp"
    assert defs["r"].rhs.params["how"] == 'a, "b"'
    assert defs["r"].rhs.params["q"] == fixed(4, 12) and defs["r"].rhs.params["to"] == f32[2, 3]


def test_lines_can_be_left_out():
    bare = show(parse(EMA), locs=False)
    assert "@" not in bare and show(parse(bare)) == bare


def test_clocks_are_comments():
    node = parse("node f(x: f32, c: bool) -> (y) { y: f32 = when(x, c) }")
    text = show(node, with_clocks=True)
    assert "y: f32 = when(x, c)  # base on c" in text
    assert show(parse(text)) == show(node)


def test_node_prints_itself():
    assert str(parse(EMA)) == EMA


def test_one_equation_is_shown_with_its_neighbours_names():
    node = parse("node f(x: f32) -> (x~1) { x~1: f32 = add(x, x) }")
    assert show_equation(node, node.eqs[0]) == "x~1: f32 = add(x, x)"


# ---------------------------------------------------------------------------------------- literals


@pytest.mark.parametrize("format", list(NAMED.values()) + [fixed(4, 12), float_(4, 7)], ids=str)
@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (5, 7), (0, 3)], ids=str)
def test_literals_are_exact(format, shape):
    rng = np.random.default_rng(3)
    type = Type(format, shape)
    dtype = np.dtype(format.dtype)
    bits = rng.integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8)
    value = bits.view(dtype)[..., 0] if dtype.kind != "b" else bits[..., 0] > 127
    assert back(value, type).tobytes() == np.asarray(value).tobytes()


EXTREMES = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    -np.nan,
    5e-324,
    1e-45,
    3.4028235e38,
    1 / 3,
    16777217.0,
]


@pytest.mark.parametrize("x", EXTREMES)
@pytest.mark.parametrize("format", [f32, f64], ids=str)
def test_extremes_are_exact(x, format):
    with np.errstate(over="ignore"):
        value = np.array([x, 1.0], format.dtype)
    assert back(value, format[2]).tobytes() == value.tobytes()
    assert back(value[0], Type(format)).tobytes() == value[0].tobytes()


def test_integers_at_their_ends():
    for type, x in ((Type(u64), 2**64 - 1), (Type(i8), -128), (Type(i32), -(2**31))):
        value = np.array(x, type.format.dtype)
        assert literal(value, type) == str(x)
        assert back(value, type) == value


def test_equal_elements_are_written_once():
    assert literal(np.zeros((100, 100), np.float32), f32[100, 100]) == "0.0"
    assert literal(np.array([0.0, -0.0], np.float32), f32[2]) == "[0.0, -0.0]"


def test_a_literal_that_fits_no_type_keeps_its_dtype():
    wrong = np.arange(6.0).reshape(2, 3)
    x = Var("x", f32[5])
    node = Node("f", (), (x,), [Equation((x,), Lit(wrong))])
    again = parse(show(node)).eqs[0].rhs
    assert (
        isinstance(again, Lit) and again.value.dtype == wrong.dtype and (again.value == wrong).all()
    )


def back(value: Any, type: Type) -> np.ndarray:
    """The value, printed as a literal of a node and read again."""
    x = Var("x", type)
    node = Node("f", (), (x,), [Equation((x,), Lit(np.asarray(value)))])
    rhs = parse(show(node)).eqs[0].rhs
    assert isinstance(rhs, Lit)
    assert rhs.value.dtype == np.dtype(type.format.dtype) and rhs.value.shape == type.shape
    return rhs.value


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["x", "_", "a.b", "é", "w[0]", "", "node", "check", "a`b", 'a"b', "a\\", '\\"', "\n", "x~1", "1", "fby", "true", "in"])  # fmt: skip
def test_any_name_survives(name):
    x = Var(name, Type(f32), Loc("f", 1), (name, name))
    y = Var(name, Type(f32))
    node = Node(name, (x,), (y,), [Equation((y,), Apply(name, (x,), {name: 1}))])
    again = parse(show(node))
    assert same(node, again) and again.outputs[0].name == name
    assert show(again) == show(node)


def test_quoting():
    assert quote("gru.w") == "gru.w" and quote("0") == "`0`"


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 1, 1, "the text ends"),
        ("node f(x: f32) -> (y) {\n  y: f32 = add(x\n}", 3, 1, "found `}`"),
        ("node f(x: f32) -> (y) {\n  y: f32 = add(x, q)\n}", 2, 19, "`q` is declared nowhere"),
        ("node f(x: f32) -> (z) { }", 1, 20, "`z` is declared nowhere"),
        ("node f(x: f33) -> (x) { }", 1, 11, "unknown format 'f33'"),
        ("node f(x: f32) -> (x) { ? }", 1, 25, "found `?`"),
        ("node f() -> (y) { y: i8 = 300 }", 1, 27, "`300` is no i8"),
        ("node f() -> (y) { y: bool = 1 }", 1, 29, "`1` is no bool"),
        ("node f() -> (y) { y: f32[3] = [1, 2] }", 1, 31, "2 numbers for the 3 elements"),
        ('node f() -> (y) { y: f32[3] = base64("AA") }', 1, 31, "the bytes are no f32[3]"),
        ("node f(x: f32) -> (y) { y: f32 = fby(x) }", 1, 34, "`fby` takes 2 streams"),
        ("node f(x: f32) -> (y) { y: f32 = frame(x[], outs=(stream), extent=8) node b(x: f32) -> (x) { } }", 1, 34, "needs `until=`"),
        ("node f(x: f32) -> (y) { y: f32 = scan(x, outs=(all), extent=8) node b(x: f32) -> (x) { } }", 1, 34, "`outs=` takes"),
        ("node f(x: f32) -> (y) { y: f32 = scan(x, outs=(last)) node b(x: f32) -> (x) { } }", 1, 34, "needs `extent=`"),
        ("node f(x: f32) -> (y) { y: f32 = scan(x, extent=2) }", 1, 34, "needs one node"),
        ("node f(x: f32) -> (y) { y: f32 = call(x) }", 1, 34, "`call` needs a node"),
        ("node f(x: f32) -> (y) { y: f32 = pre(x, reset=1) }", 1, 34, "`reset=` takes the name"),
        ("node f(x: f32) -> (y) { y: f32, z: f32 = pre(x) }", 1, 25, "defines one stream, not 2"),
        ("node f(x: f32[1.5]) -> (x) { }", 1, 15, "`1.5` is not an integer"),
        ("node f(x: f32) -> (y) { y: f32 = op(x, at=cut(1, 2, 3)) }", 1, 43, "`cut(...)` is no static value"),
    ],
)  # fmt: skip
def test_faults_name_line_and_column(text, line, column, says):
    with pytest.raises(SeicheError) as error:
        parse(text)
    (fault,) = error.value.diagnostics
    assert fault.code == "SE907"
    assert fault.where == Loc("<text>", line)
    assert fault.what.startswith(f"column {column}: ") and says in fault.what, fault.what


def test_a_fault_says_what_could_stand_there():
    with pytest.raises(SeicheError, match=r"hint: expected .*`->`"):
        parse("node f(x: f32) (y) { }")


# ------------------------------------------------------------------------------------ random nodes

NAMES = ["x", "x", "y", "mean", "fby", "w[0]", "node", "x~1", "a.b", "true"]
TYPES = [Type(f32), f32[3], f64[2, 2], Type(bool_), Type(i32), fixed(4, 12)[5], f32[20]]
PARAMS: list[Any] = [
    1, -3, 0.1, 1e300, True, None, "s\n", (), (1,), (0, (1, 2)), f32, fixed(4, 12), f32[3], Type(f32),
    slice(None), slice(1, None, -1), float("inf"),
]  # fmt: skip


class Dice:
    """A random node: any forms over any Vars, well-typed or not (the text does not judge)."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.np = np.random.default_rng(seed)

    def loc(self) -> Loc:
        return self.r.choice([NOWHERE, Loc("a.py", self.r.randrange(99)), Loc('b "c".py', 1)])

    def var(self) -> Var:
        scope = tuple(self.r.choices(["enc", "w 0", "in"], k=self.r.randrange(3)))
        return Var(self.r.choice(NAMES), self.r.choice(TYPES), self.loc(), scope)

    def node(self, depth: int = 0) -> Node:
        inputs = [self.var() for _ in range(self.r.randrange(4))] or [self.var()]
        sizes = [
            1 if depth == 2 else self.r.randrange(1, 3)
            for _ in range(self.r.randrange((10, 4, 2, 1)[depth]))
        ]
        outs = [tuple(self.var() for _ in range(n)) for n in sizes]
        pool = inputs + [v for vs in outs for v in vs]
        eqs = [self.equation(vs, pool, depth) for vs in outs]
        outputs = tuple(self.r.choices(pool, k=self.r.randrange(3)))
        checks = [
            Check(self.r.choice(pool), "SE602", 'say "x"', self.loc())
            for _ in range(self.r.randrange(2))
        ]
        return Node(self.r.choice(NAMES), tuple(inputs), outputs, eqs, self.loc(), tuple(checks))

    def equation(self, outs: tuple[Var, ...], pool: list[Var], depth: int) -> Equation:
        def v() -> Var:
            return self.r.choice(pool)

        def maybe() -> Var | None:
            return self.r.choice([None, v()])

        args = tuple(v() for _ in range(self.r.randrange(1, 4)))
        mapped = tuple(self.r.random() < 0.5 for _ in args)
        extent = self.r.randrange(1, 100)
        if len(outs) > 1 or (self.r.random() < 0.3 and depth < 2):
            kinds = tuple(self.r.choices(["stack", "first", "last"], k=len(outs)))
            body = self.node(depth + 1)
            match self.r.randrange(3):
                case 0:
                    return Equation(outs, Scan(body, args, mapped, kinds, extent, maybe()))
                case 1:
                    streams = tuple(self.r.choice([kind, "stream"]) for kind in kinds)
                    return Equation(outs, Frame(body, args, mapped, streams, extent, v(), maybe()))
                case _:
                    vjp = self.node(depth + 1) if self.r.random() < 0.5 else None
                    return Equation(outs, Call(body, args, vjp))
        params = {
            self.r.choice(["axes", "a b", "until"]): self.r.choice(PARAMS)
            for _ in range(self.r.randrange(3))
        }
        forms = [
            Lit(self.value(outs[0].type)), Apply("add", args, params), Fby(maybe(), v(), maybe()),
            Post(v(), v(), maybe()), When(v(), v(), self.r.random() < 0.5), Merge(v(), v(), v()),
        ]  # fmt: skip
        return Equation(outs, self.r.choice(forms))

    def value(self, type: Type) -> np.ndarray:
        dtype = np.dtype(type.format.dtype)
        value = self.np.integers(-2, 3, type.shape) * self.np.choice([1.0, 1 / 3, 1e-40])
        with np.errstate(all="ignore"):
            return np.where(
                self.np.random(type.shape) < 0.1, np.inf if dtype.kind == "f" else 1, value
            ).astype(dtype)


@pytest.mark.parametrize("seed", range(150))
def test_random_nodes_survive(seed):
    node = Dice(seed).node()
    text = show(node)
    again = parse(text)
    assert same(node, again), text
    assert show(again) == text
    bare = show(node, locs=False)
    assert show(parse(bare)) == bare


def same(a: Node, b: Node) -> bool:
    """Whether two nodes are equal up to the identity of their Vars."""
    twin: dict[Var, Var] = {}

    def var(x: Var | None, y: Var | None) -> bool:
        if x is None or y is None:
            return x is y
        alike = (x.name, x.type, x.loc, x.scope) == (y.name, y.type, y.loc, y.scope)
        return alike and twin.setdefault(x, y) is y

    def vars(xs: tuple[Var, ...], ys: tuple[Var, ...]) -> bool:
        return len(xs) == len(ys) and all(map(var, xs, ys))

    def rhs(x: Any, y: Any) -> bool:
        if type(x) is not type(y):
            return False
        for field in vars_of(x):
            p, q = getattr(x, field), getattr(y, field)
            if isinstance(p, Var) or isinstance(q, Var):
                ok = var(p, q)
            elif field == "args":
                ok = vars(p, q)
            elif isinstance(p, Node) and isinstance(q, Node):
                ok = same(p, q)
            elif field == "value":
                ok = p.dtype == q.dtype and p.shape == q.shape and p.tobytes() == q.tobytes()
            else:
                ok = p == q
            if not ok:
                return False
        return True

    return (
        (a.name, a.loc) == (b.name, b.loc)
        and vars(a.inputs, b.inputs)
        and len(a.eqs) == len(b.eqs)
        and all(
            vars(p.outs, q.outs) and rhs(p.rhs, q.rhs) for p, q in zip(a.eqs, b.eqs, strict=True)
        )
        and vars(a.outputs, b.outputs)
        and len(a.checks) == len(b.checks)
        and all(
            var(p.cond, q.cond) and (p.code, p.text, p.loc) == (q.code, q.text, q.loc)
            for p, q in zip(a.checks, b.checks, strict=True)
        )
        and len(set(twin.values())) == len(twin)
    )


def vars_of(x: Any) -> list[str]:
    return list(type(x).__dataclass_fields__)
