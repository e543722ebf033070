"""Targets: what the planner and the back ends must know of a machine, read from data files that a user can add to."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.errors import NOWHERE, fail
from seiche.ir.op import OPS
from seiche.numbers import formats
from seiche.schedule import processor

FOLDER = Path(__file__).parent / "targets"
Rule: TypeAlias = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what it is to be."""


@dataclass(frozen=True)
class Target:
    """A machine. Sizes are in bytes; `tables` holds what only back ends read (compilers, emulators), by name of the table.

    `vector` is the width of a vector register (0: it has none), `registers` how many accumulators fit in registers: vectors
    where there are any, else scalars. `floats` are the formats that hardware computes; others cost calls. `dots`: how many products
    of small integers an instruction adds to a sum of 32 bits (per lane, where it has vectors); 0 where it has none for that. `unroll`:
    how many terms of a sum are written out where there are no vectors.
    """

    name: str
    title: str
    pointer: int
    vector: int
    registers: int
    caches: tuple[int, ...]
    line: int
    floats: tuple[str, ...]
    ram: int | None = None
    flash: int | None = None
    dots: int = 0
    unroll: int = 1
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any], hash=False)


def names() -> tuple[str, ...]:
    """The targets that come with Seiche.

    >>> "host" in names()
    True
    """
    return tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))


def target(name: str) -> Target:
    """A target by its name, or by the path of a user's `.toml` file, which is read again each time; raises SE904.

    >>> target("host").pointer
    8
    """
    return _read(name) if name.endswith(".toml") else _own(name)


@lru_cache(maxsize=64)
def _own(name: str) -> Target:
    """A target that comes with Seiche."""
    found = _read(str(FOLDER / f"{name}.toml"), name)
    return replace(found, **processor.facts()) if name == "host" else found


def _read(file: str, asked: str = "") -> Target:
    path = Path(file)
    if not path.is_file():
        hint = f"the targets are {', '.join(names())}, or the path of a .toml file"
        raise fail("SE904", f"there is no target {asked or file!r}", NOWHERE, hint=hint)
    return parse(path.stem, path.read_text(encoding="utf-8", errors="replace"))


def host() -> Target:
    """This machine: what the data file says, but for what the processor says of itself.

    >>> host().pointer, host().vector in (16, 32, 64)
    (8, True)
    """
    return target("host")


def _whole(least: int) -> Rule:
    said = f"a whole number from {least} up"
    return (lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= least), said


def _list(kind: type, said: str) -> Rule:
    return (lambda x: isinstance(x, list | tuple) and all(type(item) is kind for item in x)), said  # pyright: ignore


TEXT: Rule = (lambda x: isinstance(x, str)), "text"
VALUES: dict[str, Rule] = {
    "title": TEXT,
    "pointer": ((lambda x: type(x) is int and x in (4, 8)), "4 or 8"),
    "vector": ((lambda x: type(x) is int and x in (0, 8, 16, 32, 64)), "0, 8, 16, 32 or 64"),
    "registers": _whole(1),
    "caches": _list(int, "a list of bytes"),
    "line": _whole(1),
    "floats": ((lambda x: isinstance(x, tuple) and set(x) <= {"f32", "f64"}), "a list of f32, f64"),  # pyright: ignore
    "ram": _whole(1),
    "flash": _whole(1),
    "dots": ((lambda x: type(x) is int and x in (0, 2, 4)), "0, 2 or 4"),
    "unroll": _whole(1),
}
"""What the values of a file's keys must be."""
WORDS = _list(str, "a list of texts")
TABLES: dict[str, dict[str, Rule]] = {
    "zig": {"flags": WORDS},
    "gcc": {"command": TEXT, "flags": WORDS},
    "qemu": {"command": TEXT, "arguments": WORDS},
}
"""What the tables of tools must hold."""
REFUSED: dict[str, Callable[[str], bool]] = {"formats": formats.known, "ops": OPS.__contains__}


def _values(plain: Mapping[str, Any]) -> Iterator[str]:
    """The keys whose values no planner can use."""
    for key, value in plain.items():
        holds, said = VALUES.get(key, (lambda _: True, ""))
        if not holds(value):
            yield f"`{key}` is {said}"


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What tables lack, and what `[refuse]` names that does not exist."""
    for name in TABLES.keys() & tables.keys():
        for key, (holds, said) in TABLES[name].items():
            if not holds(tables[name].get(key)):
                yield f"`{key}` of [{name}] is {said}"
    for key, given in tables.get("refuse", {}).items():
        if key not in REFUSED or not WORDS[0](given):
            yield "[refuse] holds lists of texts: `formats` and `ops`"
        else:
            yield from (f"[refuse] names {x!r}, which is none of the {key}" for x in given if not REFUSED[key](x))  # fmt: skip


def parse(name: str, text: str) -> Target:
    """A target from the text of its file; raises SE904, naming the key."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise fail(
            "SE904", f"the file of target {name!r} is not TOML", NOWHERE, str(error)
        ) from error
    tables = {k: v for k, v in data.items() if isinstance(v, dict)}
    plain: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k not in tables
    }
    known = {f.name for f in fields(Target)} - {"name", "tables"}
    needed = known - {"ram", "flash", "dots", "unroll"}
    faults = [f"`{k}` is no key" for k in plain.keys() - known]
    faults += [f"`{k}` is missing" for k in needed - plain.keys()]
    faults += [*_values(plain), *_tables(tables)]
    if faults:
        raise fail(
            "SE904", f"the file of target {name!r} is wrong", NOWHERE, "; ".join(sorted(faults))
        )
    return Target(name, **plain, tables=tables)
