"""Targets: what the planner and the back ends must know of a machine, read from data files that a user can add to."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from seiche.errors import NOWHERE, fail
from seiche.schedule import processor

FOLDER = Path(__file__).parent / "targets"


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


@lru_cache(maxsize=64)
def target(name: str) -> Target:
    """A target by its name, or by the path of a user's `.toml` file; raises SE904.

    >>> target("host").pointer
    8
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        hint = f"the targets are {', '.join(names())}, or the path of a .toml file"
        raise fail("SE904", f"there is no target {name!r}", NOWHERE, hint=hint)
    found = parse(path.stem, path.read_text(encoding="utf-8"))
    return replace(found, **processor.facts()) if name == "host" else found


def host() -> Target:
    """This machine: what the data file says, but for what the processor says of itself.

    >>> host().pointer, host().vector in (16, 32, 64)
    (8, True)
    """
    return target("host")


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
    if faults:
        raise fail(
            "SE904", f"the file of target {name!r} is wrong", NOWHERE, "; ".join(sorted(faults))
        )
    return Target(name, **plain, tables=tables)
