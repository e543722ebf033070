"""Reads the printed form of `ir.text` back. Needs the extra `text` (lark), which is imported here only.

What it refuses is SE907, with line and column. It does not judge the program: types, clocks and the rest are `check`'s.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, cast

import numpy as np
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from seiche.errors import NOWHERE, Diagnostic, Loc, SeicheError
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
    Role,
    Scan,
    Var,
    When,
)
from seiche.numbers import formats
from seiche.numbers.formats import Format, Type

GRAMMAR = r"""
node: "node" NAME "(" _decls? ")" "->" "(" _names? ")" loc? "{" (equation | check)* "}"
_decls: decl ("," decl)*
_names: NAME ("," NAME)*
decl: NAME ":" type loc? scope?
type: format dims?
format: NAME ("<" NUMBER "," NUMBER ">")?
dims: "[" (NUMBER ("," NUMBER)*)? "]"
loc: "@" (STRING ":")? NUMBER
scope: "in" NAME ("/" NAME)*
equation: _decls? "=" (literal | form)
check: "check" NAME STRING STRING loc? contract?
contract: "(" NAME scope? caller? about? ")"
about: "of" NAME ("," NAME)*
caller: "from" loc
form: NAME "(" (arg ("," arg)*)? ")" node*
arg: NAME                                    -> var
   | NAME "[" "]"                            -> rows
   | "!" NAME                                -> off
   | STRING                                  -> text
   | NAME "=" value                          -> named
value: NUMBER | STRING | type | tuple | slice
tuple: "(" (value ("," value)*)? ")"
slice: NAME "(" value "," value "," value ")"
literal: NUMBER | NAME | list
list: "[" (_element ("," _element)*)? "]"
_element: NUMBER | NAME | list

NAME: /([^\W\d][\w.]*|`[^`\n]*`)(~\d+)?/
NUMBER: /nan:0x[0-9a-f]+|-?0x[0-9a-f.]+p[+-]?\d+|-?\d+(\.\d*)?([eE][+-]?\d+)?|-(inf|nan)/
STRING: /"([^"\\\n]|\\.)*"/
COMMENT: /#[^\n]*/
%ignore COMMENT
%ignore /\s+/
"""

KINDS: tuple[OutKind, ...] = ("stack", "first", "last", "stream")
ROLES: tuple[Role, ...] = ("assumption", "guarantee")


def parse(text: str, file: str = "<text>") -> Node:
    """The node of a printed text; raises SeicheError (SE907).

    >>> print(parse("node f(x: f32) -> (y) { y: f32 = add(x, x) }"))
    node f(x: f32) -> (y) {
      y: f32 = add(x, x)
    }
    """
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as fault:
        raise _unexpected(fault, text, file) from None
    return _Reader(text, file).node(tree, NOWHERE.file)


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, start="node", parser="lalr", propagate_positions=True)


_WORDS = {"NAME": "a name", "NUMBER": "a number", "STRING": "a string", "$END": "the end"}


def _unexpected(fault: UnexpectedInput, text: str, file: str) -> SeicheError:
    """The fault of the grammar: what stands there, and what could."""
    line, column = fault.line, fault.column
    wanted: set[str] = set()
    what = "something else"
    match fault:
        case UnexpectedEOF() | UnexpectedToken(token=Token(type="$END")):
            what, line, column = (
                "the text ends",
                text.count("\n") + 1,
                len(text.split("\n")[-1]) + 1,
            )
            wanted = set(cast("Any", fault).expected)
        case UnexpectedToken(token=token, accepts=accepts, expected=expected):
            what, wanted = f"found `{token}`", set(accepts or expected)
        case UnexpectedCharacters(char=char, allowed=allowed):
            what, wanted = f"found `{char}`", set(allowed or ())
        case _:
            pass
    hint = "expected " + " or ".join(sorted(map(_word, wanted))) if wanted else ""
    return _fault(what, line, column, text, file, hint)


def _word(terminal: str) -> str:
    known = {t.name: f"`{t.pattern.value}`" for t in _parser().terminals if t.pattern.type == "str"}
    return _WORDS.get(terminal, known.get(terminal, terminal.lower()))


def _fault(what: str, line: int, column: int, text: str, file: str, hint: str = "") -> SeicheError:
    where = Loc(file, line)
    lines = text.split("\n")
    shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    why = ((f"the line reads `{shown}`", None),) if shown and not where.source else ()
    return SeicheError([Diagnostic("SE907", f"column {column}: {what}", where, why, hint)])


@dataclass(frozen=True)
class _Args:
    """The arguments of a form, sorted by their kind."""

    form: Token
    vars: tuple[Var, ...]
    mapped: tuple[bool, ...]
    off: tuple[bool, ...]
    named: dict[str, Tree[Token]]
    texts: tuple[str, ...]
    bodies: tuple[Node, ...]


class _Reader:
    """From lark's trees to nodes; `names` holds the Vars of the node that is being read."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.names: dict[str, Var] = {}

    def fault(self, at: Token | Tree[Token], what: str, hint: str = "") -> SeicheError:
        place = at if isinstance(at, Token) else at.meta
        return _fault(what, place.line or 0, place.column or 0, self.text, self.file, hint)

    # -------------------------------------------------------------------- nodes and declarations

    def node(self, tree: Tree[Token], file: str) -> Node:
        outer, self.names = self.names, {}
        head = _Parts(tree)
        loc = self.loc(head.first("loc"), file)
        here = file if loc == NOWHERE else loc.file
        inputs = tuple(self.declare(d, here) for d in head.trees("decl"))
        # Equations are order-free: all names are declared before any right-hand side is read.
        parts = [(eq, _Parts(eq)) for eq in head.trees("equation")]
        outs = [tuple(self.declare(d, here) for d in part.trees("decl")) for _, part in parts]
        eqs = [
            Equation(vars, self.rhs(eq, vars, here))
            for (eq, _), vars in zip(parts, outs, strict=True)
        ]
        checks = tuple(self.check(c, here) for c in head.trees("check"))
        name, *outputs = head.tokens()
        result = Node(_name(name), inputs, tuple(map(self.var, outputs)), eqs, loc, checks)
        self.names = outer
        return result

    def declare(self, tree: Tree[Token], file: str) -> Var:
        """A new Var; a name that is declared again is the same Var, for the checks to judge."""
        parts = _Parts(tree)
        (token,) = parts.tokens()
        if token in self.names:
            return self.names[str(token)]
        path = _names(parts.first("scope"))
        type, loc = self.type(parts.trees("type")[0]), self.loc(parts.first("loc"), file)
        self.names[str(token)] = Var(_name(token), type, loc, path)
        return self.names[str(token)]

    def var(self, token: Token) -> Var:
        if str(token) not in self.names:
            raise self.fault(token, f"`{token}` is declared nowhere in its node")
        return self.names[str(token)]

    def loc(self, tree: Tree[Token] | None, file: str) -> Loc:
        if tree is None:
            return NOWHERE
        *named, line = tree.children
        return Loc(json.loads(str(named[0])) if named else file, int(str(line)))

    def check(self, tree: Tree[Token], file: str) -> Check:
        parts = _Parts(tree)
        cond, code, text = parts.tokens()
        loc = self.loc(parts.first("loc"), file)
        contract = parts.first("contract")
        duty = None if contract is None else self.contract(contract, file)
        return Check(self.var(cond), json.loads(code), json.loads(text), loc, duty)

    def contract(self, tree: Tree[Token], file: str) -> Contract:
        parts = _Parts(tree)
        (token,) = parts.tokens()
        if str(token) not in ROLES:
            raise self.fault(
                token, f"`{token}` is no part of a contract", f"write {' or '.join(ROLES)}"
            )
        caller = parts.first("caller")
        path, about = (_names(parts.first(each)) for each in ("scope", "about"))
        place = NOWHERE if caller is None else self.loc(_Parts(caller).first("loc"), file)
        return Contract(cast("Role", str(token)), path, place, about)

    # ------------------------------------------------------------------------- types and values

    def type(self, tree: Tree[Token]) -> Type:
        parts = _Parts(tree)
        dims = parts.first("dims")
        shape = tuple(self.integer(t) for t in _Parts(dims).tokens()) if dims else ()
        return Type(self.format(parts.trees("format")[0]), shape)

    def format(self, tree: Tree[Token]) -> Format:
        head, *widths = tree.children
        text = f"{head}<{', '.join(map(str, widths))}>" if widths else str(head)
        try:
            return formats.parse(text)
        except ValueError as fault:
            raise self.fault(tree, str(fault)) from None

    def integer(self, token: Token) -> int:
        try:
            return int(token)
        except ValueError:
            raise self.fault(token, f"`{token}` is not an integer") from None

    def value(self, tree: Tree[Token]) -> Any:
        """A static value."""
        (child,) = tree.children
        if isinstance(child, Token):
            return json.loads(child) if child.type == "STRING" else _python_number(child)
        if child.data == "tuple":
            return tuple(self.value(c) for c in _Parts(child).trees("value"))
        if child.data == "slice":
            (word,) = _Parts(child).tokens()
            if word != "slice":
                raise self.fault(word, f"`{word}(...)` is no static value")
            return slice(*(self.value(c) for c in _Parts(child).trees("value")))
        word = _bare(child)
        if word is not None and str(word) in _CONSTANTS:
            return _CONSTANTS[str(word)]
        return (
            self.type(child)
            if _Parts(child).first("dims")
            else self.format(_tree(child.children[0]))
        )

    def literal(self, tree: Tree[Token], type: Type) -> Lit:
        (child,) = tree.children
        if isinstance(child, Token):
            return Lit(np.full(type.shape, self.number(child, type)))
        flat = [self.number(t, type) for t in child.scan_values(lambda t: isinstance(t, Token))]
        if len(flat) != type.size:
            raise self.fault(child, f"{len(flat)} numbers for the {type.size} elements of {type}")
        return Lit(np.array(flat, type.format.dtype).reshape(type.shape))

    def number(self, token: Token, type: Type) -> Any:
        """One element in the carrier of the type."""
        dtype = np.dtype(type.format.dtype)
        try:
            if dtype.kind == "b":
                return np.bool_({"true": True, "false": False}[str(token)])
            if dtype.kind in "iu":
                return dtype.type(int(token))
            if token.startswith("nan:"):
                bits = np.array(int(token[4:], 16), f"u{dtype.itemsize}")
                return bits.view(dtype)[()]
            return dtype.type(float.fromhex(token) if "0x" in token else float(token))
        except (KeyError, ValueError, OverflowError):
            raise self.fault(token, f"`{token}` is no {type.format}") from None

    def bytes(self, args: _Args, type: Type) -> Lit:
        named = {key: self.value(tree) for key, tree in args.named.items()}
        dtype, shape = named.get("dtype", type.format.dtype), named.get("shape", type.shape)
        try:
            flat = np.frombuffer(base64.b64decode(args.texts[0], validate=True), dtype)
            return Lit(flat.reshape(shape))
        except (binascii.Error, ValueError, TypeError, IndexError) as fault:
            raise self.fault(args.form, f"the bytes are no {type}: {fault}") from None

    # ------------------------------------------------------------------------------------- forms

    def rhs(self, eq: Tree[Token], outs: tuple[Var, ...], file: str) -> Rhs:
        parts = _Parts(eq)
        literal = parts.first("literal")
        form = parts.first("form")
        args = self.args(form, file) if form else None
        single = args is None or str(args.form) not in ("scan", "frame", "call")
        if single and len(outs) != 1:
            raise self.fault(eq, f"this form defines one stream, not {len(outs)}")
        if args is None:
            assert literal is not None
            return self.literal(literal, outs[0].type)
        return self.bytes(args, outs[0].type) if args.form == "base64" else self.form(args)

    def args(self, tree: Tree[Token], file: str) -> _Args:
        parts = _Parts(tree)
        (form,) = parts.tokens()
        texts = tuple(json.loads(str(t.children[0])) for t in parts.trees("text"))
        positional = [t for t in parts.all() if t.data in ("var", "rows", "off")]
        named = {_name(_token(t)): _tree(t.children[1]) for t in parts.trees("named")}
        return _Args(
            form=form,
            vars=tuple(self.var(_token(t)) for t in positional),
            mapped=tuple(t.data == "rows" for t in positional),
            off=tuple(t.data == "off" for t in positional),
            named=named,
            texts=texts,
            bodies=tuple(self.node(body, file) for body in parts.trees("node")),
        )

    def form(self, args: _Args) -> Rhs:
        counts = {"pre": 1, "fby": 2, "post": 2, "when": 2, "merge": 3}
        form = str(args.form)
        if form in counts and len(args.vars) != counts[form]:
            raise self.fault(args.form, f"`{form}` takes {counts[form]} streams")
        reset = self.named_var(args, "reset")
        match form:
            case "pre":
                return Fby(None, args.vars[0], reset)
            case "fby":
                return Fby(args.vars[0], args.vars[1], reset)
            case "post":
                return Post(args.vars[0], args.vars[1], reset)
            case "when":
                return When(args.vars[0], args.vars[1], not args.off[1])
            case "merge":
                return Merge(*args.vars)
            case "scan":
                length = self.named_var(args, "length")
                body, outs, extent = self.rows(args)
                return Scan(body, args.vars, args.mapped, outs, extent, length)
            case "frame":
                until = self.named_var(args, "until")
                if until is None:
                    raise self.fault(args.form, "`frame` needs `until=`")
                body, outs, extent = self.rows(args)
                return Frame(body, args.vars, args.mapped, outs, extent, until, reset)
            case "call":
                if not 1 <= len(args.bodies) <= 2:
                    raise self.fault(
                        args.form, "`call` needs a node, and a second for its derivative"
                    )
                return Call(args.bodies[0], args.vars, args.bodies[1] if args.bodies[1:] else None)
            case _:
                params = {key: self.value(tree) for key, tree in args.named.items()}
                return Apply(_name(args.form), args.vars, params)

    def named_var(self, args: _Args, key: str) -> Var | None:
        """The stream that a structural form takes by name."""
        structural = str(args.form) in ("pre", "fby", "post", "scan", "frame")
        if not structural or key not in args.named:
            return None
        word = _bare(args.named[key].children[0])
        if word is None:
            raise self.fault(args.form, f"`{key}=` takes the name of a stream")
        return self.var(word)

    def rows(self, args: _Args) -> tuple[Node, tuple[OutKind, ...], int]:
        """Body, kinds of results and extent of a scan or frame."""
        if len(args.bodies) != 1:
            raise self.fault(args.form, f"`{args.form}` needs one node")
        words: list[Token | None] = []
        if "outs" in args.named:
            values = args.named["outs"].iter_subtrees_topdown()
            words = [
                _bare(t.children[0]) for t in values if t.data == "value" and _bare(t.children[0])
            ]
        extent = self.value(args.named["extent"]) if "extent" in args.named else None
        if not isinstance(extent, int):
            raise self.fault(args.form, f"`{args.form}` needs `extent=` and a number")
        kinds: tuple[OutKind, ...] = tuple(
            kind for word in words for kind in KINDS if kind == str(word)
        )
        if len(kinds) != len(words):
            raise self.fault(args.form, f"`outs=` takes {', '.join(KINDS)}")
        return args.bodies[0], kinds, extent


_CONSTANTS: dict[str, Any] = {
    "none": None, "true": True, "false": False, "inf": float("inf"), "nan": float("nan"),
}  # fmt: skip


class _Parts:
    """The children of a tree by kind."""

    def __init__(self, tree: Tree[Token]) -> None:
        self.children = tree.children

    def all(self) -> list[Tree[Token]]:
        return [c for c in self.children if isinstance(c, Tree)]

    def trees(self, kind: str) -> list[Tree[Token]]:
        return [c for c in self.all() if c.data == kind]

    def first(self, kind: str) -> Tree[Token] | None:
        return next(iter(self.trees(kind)), None)

    def tokens(self) -> list[Token]:
        return [c for c in self.children if isinstance(c, Token)]


def _token(tree: Tree[Token]) -> Token:
    return _Parts(tree).tokens()[0]


def _tree(child: Token | Tree[Token]) -> Tree[Token]:
    assert isinstance(child, Tree)
    return child


def _bare(tree: Token | Tree[Token]) -> Token | None:
    """The name in a `type` that is nothing but a name."""
    if isinstance(tree, Token) or tree.data != "type" or len(tree.children) != 1:
        return None
    tokens = list(chain(tree.scan_values(lambda t: isinstance(t, Token))))
    return tokens[0] if len(tokens) == 1 else None


def _name(token: Token) -> str:
    """The user's name behind a printed one: `x~2` is x."""
    if token.startswith("`"):
        inner = token[1 : token.rindex("`")]
        return json.loads('"' + inner.replace('"', '\\"') + '"')
    return token.partition("~")[0]


def _names(tree: Tree[Token] | None) -> tuple[str, ...]:
    return () if tree is None else tuple(map(_name, _Parts(tree).tokens()))


def _python_number(token: Token) -> int | float:
    try:
        return int(token)
    except ValueError:
        return float(token)
