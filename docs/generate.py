"""Writes the pages of the reference from what the code says: `python -m docs.generate`.

`reference/ops.md` comes from the op table, `reference/language.md`, `reference/learn.md` and `reference/rl.md` from the
docstrings of the public names, `errors/index.md` from the table of error codes. `tests/test_docs.py` checks that they are up to date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import seiche
import seiche.lang
import seiche.learn
from seiche.backends.falsify.search import Counterexample, Falsification
from seiche.backends.program import Program, Sparse
from seiche.backends.program import State as ProgramState
from seiche.backends.recording import Recording, Track
from seiche.errors import CODES, Loc
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Lit, Var
from seiche.ir.op import OPS, NoGradient, Op, Sample, Use, use
from seiche.lang.automata import Mode
from seiche.lang.node import NodeFunction
from seiche.numbers import formats
from seiche.schedule.report import Report

HERE = Path(__file__).parent
WRITTEN = "<!-- Written by `python -m docs.generate`: change the code, not this page. -->\n"

# ------------------------------------------------------------------------------------------ operators

FAMILIES = {
    "pointwise": "Arithmetic, order, choice and logic",
    "math": "Elementary functions",
    "bits": "Bits",
    "integral": "Whole numbers of reals",
    "convert": "Formats",
    "moves": "Shapes and places",
    "reduce": "Reductions",
    "cumulative": "Running along an axis",
    "linalg": "Products and systems",
    "sorting": "Order",
    "random": "Random draws",
}

OPS_HEAD = f"""{WRITTEN}
# Operators

What programs are made of: each entry is one record of the op table, `seiche.ir.op.OPS`, and is tested as it stands here.
You will rarely call one by name; [the functions of the language](language.md) and the operators on streams are made of them.

- **Types** are examples: argument types, static parameters, the type of the result.
- **Operations** are those that `report()` counts.
- **Derivative** gives the cotangent of each argument, where `ct` is that of the result and `out` the result itself; or says
  why there is none; `…` stands for static parameters. *Zero* means that the gradient passes as zero; *missing* that asking for it is an error
  ([SE701](../errors/SE701.md)).
- **Laws** are checked on random values and on extremes, beside the comparison of the interpreter, C and an independent oracle.

Values of small formats are rounded around an operator, never inside it.
"""


def ops_page() -> str:
    """The reference of operators."""
    unknown = {op.family for op in OPS.values()} - set(FAMILIES)
    assert not unknown, f"families without a title in FAMILIES: {unknown}"
    parts = [OPS_HEAD]
    for family, title in FAMILIES.items():
        parts.append(f"## {title}\n")
        parts += [_op(op) for op in OPS.values() if op.family == family]
    return "\n".join(parts)


def _op(op: Op) -> str:
    public = (
        f"In the language: [`sc.{op.name}`](language.md#{op.name}).\n"
        if op.name in seiche.__all__
        else ""
    )
    rows = [("types", "<br>".join(_types(op))), ("operations", _cost(op))]
    rows += [
        ("derivative", _derivative(op)),
        ("laws", "; ".join(law.name for law in op.laws) or "none of its own"),
    ]
    table = "\n".join(f"| {name} | {_cell(text)} |" for name, text in rows)
    return f"### {op.name}\n\n{op.doc}\n{public}\n| | |\n|---|---|\n{table}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _examples(op: Op) -> list[Sample]:
    """Up to three samples that differ in rank, real formats and tensors first."""
    chosen: dict[Any, Sample] = {}

    def preferred(s: Sample) -> tuple[bool, bool]:
        return not any(t.shape for t in s.types), not any(t.format.is_float for t in s.types)

    for sample in sorted(op.samples, key=preferred):
        chosen.setdefault(tuple(len(t.shape) for t in sample.types), sample)
    return list(chosen.values())[:3]


def _types(op: Op) -> Iterator[str]:
    for sample in _examples(op):
        arguments = ", ".join(map(str, sample.types))
        static = "".join(f", {k}={_static(v)}" for k, v in sample.params.items())
        yield f"`{op.name}({arguments}{static})` → `{use(op.name, sample.types, sample.params).out}`"


def _static(value: Any) -> str:
    return str(value) if isinstance(value, formats.Format) else repr(value)


def _cost(op: Op) -> str:
    uses = [use(op.name, s.types, s.params) for s in op.samples]
    ratios = {op.cost(u) / u.out.size for u in uses if u.out.size}
    if ratios == {0}:
        return "none: it moves or reads"
    if len(ratios) == 1:
        return f"{_plain(ratios.pop())} per element of the result"
    u = max((use(op.name, s.types, s.params) for s in _examples(op)), key=lambda u: u.out.size)
    return f"depends on the types; {op.cost(u):,} for `{', '.join(map(str, u.types))}`"


def _plain(x: float) -> str:
    return str(int(x)) if x == int(x) else f"{x:g}"


def _derivative(op: Op) -> str:
    if isinstance(op.vjp, NoGradient):
        return _absent(op.vjp)
    sample = next(s for s in _examples(op) if any(t.format.is_float for t in s.types))
    found = _cotangents(op, use(op.name, sample.types, sample.params))
    names = _names(len(found))
    return "<br>".join(f"`{n}` ← {text}" for n, text in zip(names, found, strict=True))


def _absent(none: NoGradient) -> str:
    return f"{'zero' if none.zero else 'missing'}: {none.why}"


def _names(count: int) -> list[str]:
    return ["x", "y", "z", "v", "w"][:count] if count <= 5 else [f"x{i}" for i in range(count)]


def _cotangents(op: Op, u: Use) -> list[str]:
    """What the rule builds for these types: an expression where it is short, else the number of its equations."""
    nowhere = Loc("", 0)
    args = tuple(Var(n, t, nowhere, ()) for n, t in zip(_names(len(u.types)), u.types, strict=True))
    out, ct = Var("out", u.out, nowhere, ()), Var("ct", u.out, nowhere, ())
    builder = Builder()
    assert not isinstance(op.vjp, NoGradient)
    results = op.vjp(builder, u, args, out, ct)
    made = {eq.outs[0]: eq for eq in builder.eqs}
    return [_absent(r) if isinstance(r, NoGradient) else _expression(r, made) for r in results]


INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
}


def _expression(var: Var, made: dict[Var, Equation]) -> str:
    """The tree of equations below a Var as a formula; `…` stands for static parameters."""

    def show(v: Var, depth: int = 0) -> str:
        eq = made.get(v)
        if eq is None:
            return v.name
        match eq.rhs:
            case Lit(value) if value.size == 1:
                return f"{value.item():g}" if value.dtype.kind == "f" else str(value.item())
            case Apply("broadcast", (x,)) if isinstance(getattr(made.get(x), "rhs", None), Lit):
                return show(x)
            case Apply(op, (x, y)) if op in INFIX and depth < 6:
                return f"({show(x, depth + 1)} {INFIX[op]} {show(y, depth + 1)})"
            case Apply("neg", (x,)):
                return f"-{show(x, depth + 1)}"
            case Apply(op, operands, params) if depth < 6:
                shown = [_bare(show(x, depth + 1)) for x in operands]
                return f"{op}({', '.join([*shown, *(['…'] if params else [])])})"
            case _:
                return "..."

    text = _bare(show(var))
    return (
        f"`{text}`" if len(text) <= 90 and "..." not in text else f"{_reached(var, made)} equations"
    )


def _bare(text: str) -> str:
    """A formula without the parentheses around the whole of it."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[1:-1] if i and i == len(text) - 1 and text[0] == "(" else text
    return text


def _reached(var: Var, made: dict[Var, Equation]) -> int:
    seen: set[Var] = set()
    todo = [var]
    while todo:
        v = todo.pop()
        if v in made and v not in seen:
            seen.add(v)
            rhs = made[v].rhs
            todo += list(rhs.args) if isinstance(rhs, Apply) else []
    return len(seen)


# ------------------------------------------------------------------------------------------- language

SECTIONS = {
    "seiche.lang.node": "Nodes",
    "seiche.backends.compile": "Compiling and checking",
    "seiche.lang.memory": "Memory",
    "seiche.lang.clocks": "Clocks",
    "seiche.lang.automata": "Modes",
    "seiche.lang.contracts": "Contracts",
    "seiche.backends.falsify.search": "Falsification",
    "seiche.backends.falsify.signals": "Signals",
    "seiche.backends.recording": "Recordings",
    "seiche.lang.frames": "Frames, time and space",
    "seiche.lang.iterators": "Side by side",
    "seiche.lang.grad": "Derivatives",
    "seiche.lang.stream": "Streams",
    "seiche.lang.functions": "Functions on tensors",
    "seiche.lang.indexing": "Places in a tensor",
    "seiche.lang.random": "Random draws",
    "seiche.numbers.random": "Keys",
    "seiche.numbers.formats": "Formats and types",
    "seiche.errors": "Errors",
}
BESIDE: dict[str, tuple[type, ...]] = {
    "seiche.lang.node": (NodeFunction,),
    "seiche.backends.compile": (Program, ProgramState, Sparse, Report),
    "seiche.lang.automata": (Mode,),
    "seiche.backends.falsify.search": (Falsification, Counterexample),
    "seiche.backends.recording": (Recording, Track),
}
"""Classes that users meet without naming them."""

LANGUAGE_HEAD = f"""{WRITTEN}
# The language

The public names of `import seiche as sc`, by topic, with their docstrings; every example is run by the tests. Streams
have numpy's operators and these methods besides: {{methods}}.

Layers, losses and optimisers are on [a page of their own](learn.md); what programs are made of is on [the page of
operators](ops.md).
"""


def language_page() -> str:
    """The reference of the public names."""
    from seiche.lang.functions import METHODS

    parts = [LANGUAGE_HEAD.format(methods=", ".join(f"`{m}`" for m in sorted(METHODS)))]
    places = {**seiche._SURFACE, **seiche._MODULES}
    others = {m: m.rpartition(".")[2] for m in places.values() if m != "seiche.learn"}
    for module, title in (
        SECTIONS | {m: t for m, t in others.items() if m not in SECTIONS}
    ).items():
        names = [n for n, m in places.items() if m == module]
        if not names:
            continue
        parts.append(f"## {title}\n")
        if module in ("seiche.lang.random", "seiche.backends.falsify.signals"):
            parts += [_module(getattr(seiche, names[0]), f"sc.{names[0]}")]
            continue
        if module == "seiche.numbers.formats":
            parts.append(_formats([n for n in names if not callable(getattr(seiche, n))]))
            names = [n for n in names if callable(getattr(seiche, n))]
        parts += [_entry(n, f"sc.{n}", getattr(seiche, n)) for n in names]
        parts += [_entry(c.__name__, "", c) for c in BESIDE.get(module, ())]
    return "\n".join(parts)


def learn_page() -> str:
    """The reference of `seiche.learn`."""
    return _room(seiche.learn, "Learning", "learn", "from seiche import learn")


def rl_page() -> str:
    """The reference of `seiche.learn.rl`."""
    return _room(seiche.learn.rl, "Reinforcement learning", "rl", "from seiche.learn import rl")


def _room(room: ModuleType, title: str, called: str, imported: str) -> str:
    """The public names of a package, grouped by the module that each is from."""
    groups: dict[str, list[str]] = {}
    for name, value in vars(room).items():
        where = getattr(value, "__module__", "")
        if not name.startswith("_") and where.startswith(f"{room.__name__}."):
            groups.setdefault(where, []).append(name)
    parts = [f"{WRITTEN}\n# {title}\n\n{inspect.getdoc(room)} In programs: `{imported}`.\n"]
    for where, names in groups.items():
        doc = _first(inspect.getdoc(inspect.getmodule(getattr(room, names[0]))))
        parts.append(f"## {where.rpartition('.')[2].replace('_', ' ')}\n\n{doc}\n")
        parts += [_entry(n, f"{called}.{n}", getattr(room, n)) for n in names]
    return "\n".join(parts)


def _first(doc: str | None) -> str:
    return (doc or "").partition("\n\n")[0]


def _module(module: ModuleType, prefix: str) -> str:
    functions = [
        f
        for n, f in vars(module).items()
        if isinstance(f, FunctionType) and f.__module__ == module.__name__
    ]
    public = [f for f in functions if not f.__name__.startswith("_")]
    return (
        _doc(module)
        + "\n"
        + "\n".join(_entry(f.__name__, f"{prefix}.{f.__name__}", f) for f in public)
    )


def _entry(name: str, shown: str, value: Any) -> str:
    called = f"```python\n{shown}{_signature(value)}\n```\n\n" if shown else ""
    head = f"### {name}\n\n{called}{_doc(value)}"
    if not isinstance(value, type):
        return head
    methods = [line for n, m in vars(value).items() if (line := _method(n, m))]
    return head + ("\n" + "\n".join(methods) + "\n" if methods else "")


def _method(name: str, value: Any) -> str:
    if name.startswith("_"):
        return ""
    if isinstance(value, property):
        return f"- `.{name}`: {_one_line(value.fget)}" if inspect.getdoc(value.fget) else ""
    function = getattr(value, "__wrapped__", value)
    if not isinstance(function, FunctionType) or not inspect.getdoc(function):
        return ""
    return f"- `.{name}{_signature(function, bound=True)}`: {_one_line(function)}"


def _one_line(value: Any) -> str:
    return " ".join(_first(inspect.getdoc(value)).split())


def _signature(value: Any, bound: bool = False) -> str:
    """The parameters and the result, annotations as they are written."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    found = list(signature.parameters.values())[1 if bound else 0 :]
    text = str(signature.replace(parameters=found))
    text = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", text).replace('"', "")
    text = re.sub(r" -> (None|seiche\.[\w.]+)$", "", text) if isinstance(value, type) else text
    return text.replace("seiche.errors.", "").replace("~", "")


def _doc(value: Any) -> str:
    """A docstring as Markdown: examples are fenced."""
    lines = (inspect.getdoc(value) or "").splitlines()
    out: list[str] = []
    inside = False
    for line in lines:
        if line.startswith(">>> ") and not inside:
            out += [*([] if not out or not out[-1] else [""]), "```pycon"]
            inside = True
        elif inside and not line:
            out.append("```")
            inside = False
        out.append(line)
    return "\n".join([*out, *(["```"] if inside else [])]) + "\n"


def _formats(names: Iterable[str]) -> str:
    rows = ["| name | what it holds | carried as |", "|---|---|---|"]
    for name in names:
        format = getattr(seiche, name)
        rows.append(f"| `sc.{name}` | {_described(format)} | {format.dtype} |")
    return (inspect.getdoc(formats) or "").partition("\n\n")[0] + "\n\n" + "\n".join(rows) + "\n"


def _described(format: formats.Format) -> str:
    match format.kind:
        case "bool":
            return "true or false"
        case "int" | "uint":
            return (
                f"{'signed' if format.kind == 'int' else 'unsigned'} integers of {format.bits} bits"
            )
        case _:
            return f"{format.bits} bits: sign, {format.exponent} of exponent, {format.mantissa} of mantissa"


# --------------------------------------------------------------------------------------------- errors

KINDS = {
    "1": "Tracing", "2": "Shapes and formats", "3": "Clocks", "4": "Causality", "5": "First values", "6": "Frames",
    "7": "Derivatives", "8": "Automata and contracts", "9": "Compiling and running",
}  # fmt: skip

ERRORS_HEAD = f"""{WRITTEN}
# Errors

Each error has a code, and each code a page: what it means, a program that raises it, how to mend it. `seiche explain CODE`
prints the page. A pass reports all that it found at once. `sc.diagnose(node)` gives the diagnostics of a node without raising, warnings included.
"""


def errors_page() -> str:
    """The index of error codes."""
    parts = [ERRORS_HEAD]
    for digit, title in KINDS.items():
        rows = [
            f"| [{code}]({code}.md) | {what} |" for code, what in CODES.items() if code[2] == digit
        ]
        parts.append(f"## {title}\n\n| code | what it says |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "reference/ops.md": ops_page,
    "reference/language.md": language_page,
    "reference/learn.md": learn_page,
    "reference/rl.md": rl_page,
    "errors/index.md": errors_page,
}


def main() -> None:
    for name, page in PAGES.items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(), encoding="utf-8")
        print(f"docs/{name}: written")


if __name__ == "__main__":
    main()
