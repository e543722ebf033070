"""A machine as C99: a header, a source, the weights as a source of their own, and (for hosts) a loop over ticks.

The source includes nothing but <stdint.h>, <stddef.h> and <string.h>; it allocates nothing, does not recurse and keeps all memory in
`struct X`, so that several instances run side by side. It is clean under the warnings that `build.WARNINGS` lists.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from seiche.backends.c import neighbours
from seiche.backends.c.calls import TEXT
from seiche.backends.c.dots import ARM, SCALAR, dot_name, dots
from seiche.backends.c.expr import Printer, ctype, literal, stripped, vector
from seiche.backends.c.helpers import NO_VECTORS, PROLOGUE, choices, gathers, helper, nans, vectors
from seiche.ir.loops import (
    Assign,
    Buffer,
    Const,
    Declare,
    Expr,
    For,
    If,
    Invoke,
    Let,
    Load,
    Local,
    Machine,
    Name,
    Note,
    Stmt,
    Store,
    Writer,
)
from seiche.numbers.formats import NAMED, Type
from seiche.schedule.arena import loads, memory_format
from seiche.schedule.layout import (
    POINTER,
    Layout,
    Member,
    arena_name,
    in_layout,
    out_layout,
    self_layout,
    weights_layout,
)
from seiche.schedule.shop import HEADERS, RESERVED

PARALLEL_MIN = 8
"""Iterations from which on a loop is marked for the vectoriser."""
IN_ARRAYS = {f"{kind} in arrays": kind for kind in ("bits", "from_bits")}
"""Helpers that lanes need where there are no vectors."""
SAID = "/* Written by Seiche. */\n"
INCLUDES = "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"


@dataclass(frozen=True)
class Sources:
    """The files of a program. `host` is only for running it from Python."""

    name: str
    header: str
    source: str
    host: str
    machine: Machine = field(compare=False, repr=False)

    @cached_property
    def weights(self) -> str | None:
        """The weights as a source of their own, for deployment; None where there are none."""
        return _weights(self.machine, self.name) if self.machine.weights else None


def print_c(machine: Machine) -> Sources:
    """The C files of a machine."""
    name = machine.name + ("_" if machine.name in RESERVED | HEADERS else "")
    header = _header(machine, name)
    source = _Source(machine, name).text()
    return Sources(name, header, source, _host(machine, name), machine)


# The header.


def _struct(title: str, layout: Layout, name: str, notes: dict[str, str]) -> str:
    lines = [f"struct {title} {{"]
    for m in layout.members:
        note = f"  /* {notes[m.name]} */" if m.name in notes else ""
        lines.append(f"    {_declared(m, name)};{note}")
    return "\n".join([*lines, "};\n"])


def _declared(m: Member, name: str) -> str:
    if m.carrier == "pointer":
        return f"const struct {name}_weights *{m.name}"
    size = "" if m.count is None else f"[{m.count}]"
    return f"{ctype(NAMED[m.carrier])} {m.name}{size}"


def _notes(buffers: Iterable[Buffer]) -> dict[str, str]:
    """What each member holds, its name if that is no identifier, and the user's line."""
    return {b.name: _said(b) for b in buffers}


def _said(b: Buffer) -> str:
    name = f"{b.title}: " if b.title not in ("", b.name) else ""
    what, in_units = b.type, ""
    if b.units is not None:
        what, in_units = Type(b.units, b.type.shape), f" in units of 2^-{b.units.mantissa}"
    return _bare(f"{name}{what}{in_units}, {b.loc}")


HEADER = """\
/* {name}: written by Seiche. One tick of the program is one call of {name}_step. */
#ifndef SEICHE_{guard}_H
#define SEICHE_{guard}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Constants: may lie in read-only memory; one for all instances. */
{weights}
/* All memory of one instance. */
{self}
{inputs}
{outputs}
{blob}/* Before the first tick. The weights must outlive the instance. */
void {name}_init(struct {name} *self, const struct {name}_weights *weights);

/* Back to the state before the first tick. */
void {name}_reset(struct {name} *self);

/* One tick. Returns 0, or the number of the check that failed; from then on nothing happens until the next reset.{checks} */
int32_t {name}_step(struct {name} *self, const struct {name}_in *in, struct {name}_out *out);
{flush}
#ifdef __cplusplus
}}
#endif

#endif
"""

FLUSH = """
/* A tick after the last one: brings out what the program still holds back. */
int32_t {name}_flush(struct {name} *self, struct {name}_in *in, struct {name}_out *out);
"""


def _header(machine: Machine, name: str) -> str:
    blob = f"extern const struct {name}_weights {name}_weights_data;\n\n" if machine.weights else ""
    return HEADER.format(
        name=name,
        guard=name.upper(),
        weights=_struct(
            f"{name}_weights", weights_layout(machine), name, _notes(b for b, _ in machine.weights)
        ),
        self=_struct(name, self_layout(machine), name, _notes(machine.state)),
        inputs=_struct(f"{name}_in", in_layout(machine), name, _notes(machine.inputs)),
        outputs=_struct(f"{name}_out", out_layout(machine), name, _notes(machine.outputs)),
        blob=blob,
        checks=_checks(machine),
        flush=FLUSH.format(name=name) if _ended(machine) else "",
    )


def _checks(machine: Machine) -> str:
    """What the numbers of checks mean; where the tick is."""
    if machine.fault_tick is None:
        return ""
    rows = [f"\n     {k + 1:>3}  {_bare(text)}" for k, text in enumerate(machine.checks)]
    when = "\n   `fault` keeps the number, `fault_tick` the tick, counted from 0 at the reset:"
    return when + "".join(rows)


def _bare(text: str) -> str:
    """Text within a comment."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ")


def _ended(machine: Machine) -> Buffer | None:
    """The hidden input, where there is one."""
    last = machine.inputs[-1] if machine.inputs else None
    return last if machine.ended and last is not None else None


# Constants.


def _array(value: np.ndarray, type: Type, indent: str = "    ") -> str:
    """An initialiser."""
    items = [
        stripped(literal(x.item(), type.format)) for x in np.ascontiguousarray(value).reshape(-1)
    ]
    if not type.shape:
        return items[0]
    rows = [", ".join(items[k : k + 8]) for k in range(0, len(items), 8)]
    return "{\n" + "".join(f"{indent}    {row},\n" for row in rows) + f"{indent}}}"


def _weights(machine: Machine, name: str) -> str:
    values = {b.name: (b, x) for b, x in machine.weights}
    members = [
        f"    .{m.name} = {_array(values[m.name][1], values[m.name][0].type)},\n"
        for m in weights_layout(machine).members
    ]
    text = "".join(members)
    own = "\n".join([f'{SAID}#include "{name}.h"', "", *filter(None, [nans(text)])])
    return f"{own}\nconst struct {name}_weights {name}_weights_data = {{\n{text}}};\n"


# The source.


@dataclass
class _Source:
    machine: Machine
    name: str
    needs: dict[tuple[str, str], None] = field(default_factory=dict["tuple[str, str]", None])
    functions: dict[str, str] = field(default_factory=dict[str, str])
    singly: set[str] = field(default_factory=set[str])
    lines: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        step = self._step()
        reset = self._reset()
        own = ("lanes", "choice", "gather", "loads", *SCALAR)
        plain = [(kind, f) for kind, f in self.needs if kind not in own]
        helpers = [helper(kind, f, ctype(NAMED[f])) for kind, f in plain if kind not in IN_ARRAYS]
        for kind, f in plain:
            if kind in IN_ARRAYS and (IN_ARRAYS[kind], f) not in plain:
                text = helper(IN_ARRAYS[kind], f, ctype(NAMED[f]))
                helpers.append(f"#if {NO_VECTORS}\n{text}#endif\n")
        lanes = vectors([name for kind, name in self.needs if kind == "lanes"])
        lanes += gathers([int(n) for kind, n in self.needs if kind == "gather"])
        choice = choices([name for kind, name in self.needs if kind == "choice"])
        products = dots([(kind, int(n)) for kind, n in self.needs if kind in SCALAR])
        tables = [
            f"static const {ctype(b.type.format)} {b.name}[{b.type.size}] = {_array(x, b.type, '')};\n"
            for b, x in self.machine.tables
        ]
        parts = [
            f'{SAID}#include "{self.name}.h"\n{INCLUDES[len("#include <stddef.h>") + 1 :]}',
            PROLOGUE,
            nans("".join([*helpers, *self.functions.values(), *tables, reset, step])),
            lanes,
            choice,
            neighbours.loads([int(n) for kind, n in self.needs if kind == "loads"]),
            *helpers,
            *map(self._function, self.functions),
            products,
            *tables,
            reset,
            self._init(),
            step,
            self._flush(),
        ]
        return "\n".join(p for p in parts if p)

    def _function(self, name: str) -> str:
        """Its text; where vectors take its place in all calls, for compilers that have none."""
        text = self.functions[name]
        wanted = name not in SCALAR or name in self.singly
        return text if wanted else f"#if {NO_VECTORS}\n{text}#endif\n"

    def _block(self, stmts: list[Stmt], level: int = 1) -> list[str]:
        return used(_Body(self, self._reference).block(stmts, level))

    def _reference(self, buffer: Buffer) -> str:
        """How the elements of a buffer are reached in a method."""
        prefix = {"state": "self->", "weights": "weights->", "in": "in->", "out": "out->"}
        return prefix.get(buffer.storage, "") + buffer.name

    def _init(self) -> str:
        n = self.name
        return (
            f"void {n}_init(struct {n} *self, const struct {n}_weights *weights)\n{{\n"
            f"    self->{POINTER} = weights;\n    {n}_reset(self);\n}}\n"
        )

    def _reset(self) -> str:
        n, body = self.name, self._block(self.machine.reset)
        used = _touched(self.machine.reset, "weights")
        first = [f"    const struct {n}_weights *const weights = self->{POINTER};"] if used else []
        if not body:
            first.append("    (void)self;")
        return "\n".join([f"void {n}_reset(struct {n} *self)", "{", *first, *body, "}", ""])

    def _step(self) -> str:
        n, m = self.name, self.machine
        body = self._block(m.step)
        pointers = [self._pointer(b) for b in m.scratch]
        fault = f"self->{m.fault.name}" if m.fault else "0"
        sticky = (
            [f"    if ({fault} != 0) {{", f"        return {fault};", "    }"] if m.fault else []
        )
        text = "\n".join([*pointers, *sticky, *body])
        unused = [
            f"    (void){p};" for p in ("self", "weights", "in", "out") if f"{p}->" not in text
        ]
        arguments = (
            f"struct {n} *restrict self, const struct {n}_weights *restrict weights,\n"
            f"                    const struct {n}_in *restrict in, struct {n}_out *restrict out"
        )
        inner = [
            f"static int32_t tick({arguments})",
            "{",
            *unused,
            *pointers,
            *sticky,
            *body,
            f"    return {fault};",
            "}",
            "",
        ]
        outer = [
            f"int32_t {n}_step(struct {n} *self, const struct {n}_in *in, struct {n}_out *out)",
            "{",
            f"    return tick(self, self->{POINTER}, in, out);",
            "}",
            "",
        ]
        return "\n".join([*inner, *outer])

    def _pointer(self, b: Buffer) -> str:
        """A scratch buffer's name in the arena."""
        offset = self.machine.offsets[b]
        start = f"self->{arena_name(memory_format(b).name)}" + (f" + {offset}" if offset else "")
        return f"    {ctype(b.type.format)} *const {b.name} = {start};"

    def _flush(self) -> str:
        ended, n = _ended(self.machine), self.name
        if ended is None:
            return ""
        return (
            f"int32_t {n}_flush(struct {n} *self, struct {n}_in *in, struct {n}_out *out)\n{{\n"
            f"    int32_t failed;\n    in->{ended.name} = 1;\n    failed = {n}_step(self, in, out);\n"
            f"    in->{ended.name} = 0;\n    return failed;\n}}\n"
        )

    def need(self, kind: str, f: str) -> None:
        self.needs.setdefault((kind, f))

    def call(self, e: Invoke) -> str:
        """Prints the function once, after those that it calls."""
        if e.lanes == 1:
            self.singly.add(e.name)
        if e.name not in self.functions:
            w = Writer()
            args = [Name(f"x{k}", a.format) for k, a in enumerate(e.args)]
            result = e.body(w, *args)
            body = _Body(self, self._reference)
            lines = used([*body.block(w.block, 1), f"    return {body.printer.typed(result)};"])
            words = set(WORD.findall("\n".join(lines)))
            lines = [*(f"    (void){a.name};" for a in args if a.name not in words), *lines]
            if e.name in SCALAR:
                lines = [f"#if {ARM}", SCALAR[e.name], "#else", *lines, "#endif"]
            parameters = ", ".join(f"{ctype(a.format)} {a.name}" for a in args)
            head = f"static inline {ctype(e.format)} {e.name}({parameters})"
            self.functions[e.name] = "\n".join([head, "{", *lines, "}", ""])
        return e.name


class _Body:
    """Prints the statements of one function."""

    def __init__(self, source: _Source, reference: Callable[[Buffer], str]) -> None:
        self.printer = Printer(reference, source.need, source.call)
        self.need = source.need

    def block(self, stmts: list[Stmt], level: int) -> list[str]:
        lines: list[str] = []
        k = 0
        while k < len(stmts):
            together = neighbours.run(stmts[k:])
            lines += self._named(together, level) if together else self.statement(stmts[k], level)
            k += max(1, len(together))
        return lines

    def _named(self, lets: list[Let], level: int) -> list[str]:
        """Names for neighbours in memory, by one macro."""
        first = lets[0].value
        assert isinstance(first, Load)
        self.need("loads", str(len(lets)))
        names = ", ".join(x.name.name for x in lets)
        place = self.printer.start(first)
        return [f"{'    ' * level}{neighbours.macro(len(lets))}({place}, {names})"]

    def statement(self, stmt: Stmt, level: int) -> list[str]:
        p, pad = self.printer, "    " * level
        match stmt:
            case Let(name, value) | Local(name, value) if name.lanes > 1:
                held = vector(name.format, name.lanes)
                return [f"{pad}{held} {name.name};", self._lanes(pad, name, name, value)]
            case Assign(name, value) if name.lanes > 1:
                return [self._lanes(pad, name, name, value)]
            case Store(buffer, index, value) if value.lanes > 1:
                return [self._lanes(pad, value, Load(buffer, index, value.lanes), value)]
            case Let(name, value):
                self._note_range(name, value)
                return [f"{pad}const {ctype(name.format)} {name.name} = {p.typed(value)};"]
            case Local(name, value):
                return [f"{pad}{ctype(name.format)} {name.name} = {p.typed(value)};"]
            case Declare(buffer):
                return [
                    f"{pad}{ctype(buffer.type.format)} {buffer.name}[{max(1, buffer.type.size)}];"
                ]
            case Assign(name, value):
                return [f"{pad}{name.name} = {p.typed(value)};"]
            case Store(buffer, index, value):
                place = p.element(buffer, index)
                if buffer.storage == "local" and not buffer.type.shape:
                    place += "[0]"
                return [f"{pad}{place} = {p.typed(value)};"]
            case For():
                return self._for(stmt, level)
            case If(cond, yes, no):
                return self._if(cond, yes, no, level)
            case Note(text, loc):
                said = f"{loc}: {text}" if loc.line else text
                return [f"{pad}/* {said.replace('*/', '* /').replace('/*', '/ *')} */"]

    def _lanes(self, pad: str, like: Expr, place: Name | Load, value: Expr) -> str:
        """An assignment to all lanes."""
        p, held = self.printer, vector(like.format, like.lanes)
        p.need("lanes", held)
        if isinstance(value, Invoke):
            assert value.args[0] is place, "products are added to a sum in its place"
            p.need(p.call(value), str(like.lanes))
            args = ", ".join(map(p.value, value.args))
            return f"{pad}SEICHE_LANES({like.lanes}) {dot_name(value.name, like.lanes)}({args});"
        text = stripped(p.spread(value, like.lanes))
        if isinstance(place, Name):
            return f"{pad}SEICHE_LANES({like.lanes}) {p.value(place)} = {text};"
        kept = p.memory(place)
        if place.format.kind == "bool":
            text = f"SEICHE_BYTES({kept}, {text})"
        return f"{pad}SEICHE_LANES({like.lanes}) SEICHE_TO({kept}, {p.start(place)}) = {text};"

    def _note_range(self, name: Name, value: Expr) -> None:
        if name.format.name == "i32":
            found = self.printer.range(value)
            if found is not None:
                self.printer.ranges[name.name] = found

    def _if(self, cond: Expr, yes: list[Stmt], no: list[Stmt], level: int) -> list[str]:
        pad, test = "    " * level, self.printer.condition(cond)
        if not yes:
            test, yes, no = f"!({test})", no, yes
        lines = [f"{pad}if ({test}) {{", *self.block(yes, level + 1)]
        if no:
            lines += [f"{pad}}} else {{", *self.block(no, level + 1)]
        return [*lines, f"{pad}}}"]

    def _for(self, loop: For, level: int) -> list[str]:
        p, pad, i = self.printer, "    " * level, loop.index.name
        start, stop = p.range(loop.start), p.range(loop.stop)
        if start is not None and stop is not None:
            p.ranges[i] = (start[0], max(start[0], stop[1] - 1))
        low, high = stripped(p.index(loop.start)), stripped(p.index(loop.stop))
        if loop.reverse:
            first = str(int(high) - 1) if high.isdigit() else f"{high} - 1"
            head = f"{pad}for (int32_t {i} = {first}; {i} >= {low}; --{i}) {{"
        else:
            head = f"{pad}for (int32_t {i} = {low}; {i} < {high}; ++{i}) {{"
        if start is not None and stop is not None and not (low.isdigit() and high.isdigit()):
            head += f"  /* at most {max(0, stop[1] - start[0])} times */"
        marked = loop.parallel and _innermost(loop.body) and _trips(loop) >= PARALLEL_MIN
        body = self.block(loop.body, level + 1)
        return [*([f"{pad}SEICHE_PARALLEL"] if marked else []), head, *body, f"{pad}}}"]


WORD = re.compile(r"[A-Za-z_]\w*")
DECLARED = re.compile(r"^ *(?!return)(?:const )?\w+ (\w+)(?:\[\d+\])?(?: = .*)?;$")
ASSIGNED = re.compile(r"^ *(\w+) = .*;$")


def used(lines: list[str]) -> list[str]:
    """Without locals that nothing reads. Printing drops what is constant (a position along an axis of size 1, say), and so
    some names lose their last reader; compilers warn of that.
    """
    while True:
        counts = Counter(
            word
            for line in lines
            for word in WORD.findall(line)
            if not line.lstrip().startswith("/*")
        )
        own = [m for line in lines if (m := DECLARED.match(line) or ASSIGNED.match(line))]
        writes = Counter(m.group(1) for m in own)
        declared = {m.group(1) for line in lines if (m := DECLARED.match(line))}
        dead = {name for name in declared if counts[name] == writes[name]}
        if not dead:
            return lines
        lines = [
            x
            for x in lines
            if not ((m := DECLARED.match(x) or ASSIGNED.match(x)) and m.group(1) in dead)
        ]


def _trips(loop: For) -> int:
    if isinstance(loop.start, Const) and isinstance(loop.stop, Const):
        return int(loop.stop.value) - int(loop.start.value)
    return PARALLEL_MIN


def _innermost(body: list[Stmt]) -> bool:
    return not any(isinstance(s, For | If | Declare) for s in body)


def _touched(stmts: list[Stmt], storage: str) -> bool:
    """Whether statements read or write a buffer of that storage."""

    def reads(*exprs: Expr) -> bool:
        return any(b.storage == storage for e in exprs for b in loads(e))

    for s in stmts:
        match s:
            case Let(_, value) | Local(_, value) | Assign(_, value):
                found = reads(value)
            case Store(buffer, index, value):
                found = buffer.storage == storage or reads(value, *index)
            case For(start=start, stop=stop, body=body):
                found = reads(start, stop) or _touched(body, storage)
            case If(cond, yes, no):
                found = reads(cond) or _touched(yes, storage) or _touched(no, storage)
            case Declare() | Note():
                found = False
        if found:
            return True
    return False


# The loop over ticks, for hosts.

HOST = """\
#include "{name}.h"
#include <string.h>

/* sizeof of the structs, to be compared with what was predicted. */
extern const uint64_t {name}_sizes[4];
const uint64_t {name}_sizes[4] = {{
    sizeof(struct {name}), sizeof(struct {name}_in), sizeof(struct {name}_out), sizeof(struct {name}_weights)
}};

/* Runs over columns: inputs[k] and outputs[k] hold a row per tick, flags[k] says where output k is present. Returns the number of ticks
   that ran; `failed` is the number of the check that stopped it, or 0. */
int64_t {name}_run(struct {name} *self, struct {name}_in *in, struct {name}_out *out, int64_t ticks,
                   const char *const *inputs, char *const *outputs, char *const *flags, int32_t *failed);
int64_t {name}_run(struct {name} *self, struct {name}_in *in, struct {name}_out *out, int64_t ticks,
                   const char *const *inputs, char *const *outputs, char *const *flags, int32_t *failed)
{{
    int64_t t;
    (void)inputs;
    (void)outputs;
    (void)flags;
    *failed = 0;
    for (t = 0; t < ticks; ++t) {{
        const size_t row = (size_t)t;
        (void)row;
{feed}        *failed = {name}_step(self, in, out);
        if (*failed != 0) {{
            break;
        }}
{take}    }}
    return t;
}}
"""


def _host(machine: Machine, name: str) -> str:
    given = machine.inputs[:-1] if machine.ended else machine.inputs
    feed = "".join(
        f"        memcpy({_address('in', b)}, inputs[{k}] + row * {b.type.nbytes}u, {b.type.nbytes}u);\n"
        for k, b in enumerate(given)
    )
    take = ""
    for k, b in enumerate(machine.outputs):
        copy = f"memcpy(outputs[{k}] + row * {b.type.nbytes}u, {_address('out', b)}, {b.type.nbytes}u);\n"
        if b in machine.present:
            flag = machine.present[b].name
            take += f"        flags[{k}][row] = (char)out->{flag};\n        if (out->{flag}) {{\n            {copy}        }}\n"
        else:
            take += f"        {copy}"
    return HOST.format(name=name, feed=feed, take=take) + TEXT.format(name=name)


def _address(struct: str, b: Buffer) -> str:
    return f"{struct}->{b.name}" if b.type.shape else f"&{struct}->{b.name}"
