"""Writes a program's C files to a folder, all or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from seiche.backends.c.printer import Sources, print_c
from seiche.backends.program import Program
from seiche.errors import NOWHERE, fail
from seiche.schedule.machine import schedule

MARK = "ritten by Seiche"


def sources_of(program: Program) -> Sources:
    """The C of a program, whatever target it was compiled for."""
    return print_c(schedule(program.lowered).machine)


def files_of(sources: Sources) -> dict[str, str]:
    """NAME.h, NAME.c and, where there are constants, NAME_weights.c: file names and texts."""
    files = {f"{sources.name}.h": sources.header, f"{sources.name}.c": sources.source}
    weights = sources.weights
    return files if weights is None else {**files, f"{sources.name}_weights.c": weights}


def write_sources(program: Program, directory: Path) -> list[Path]:
    """Writes NAME.h, NAME.c and, where there are constants, NAME_weights.c; the files written."""
    sources = sources_of(program)
    return write_files(files_of(sources), directory, [f"{sources.name}_weights.c"])


def write_files(texts: Mapping[str, str], directory: Path, stale: Iterable[str] = ()) -> list[Path]:
    """Writes files into a folder, which is made if need be; the files written. `stale` are names of ours that go if they are not written.

    All are written beside their places before the first is moved there: a full disk leaves everything as it was. Raises SE914 where
    a file of somebody else's would be overwritten.
    """
    _in_the_way(texts, directory)
    made = [p for p in (directory, *directory.parents) if not p.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as folder:
            for name, text in texts.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            for name in texts:
                os.replace(Path(folder) / name, directory / name)
        for path in (directory / name for name in stale if name not in texts):
            if _ours(path):
                path.unlink()
    except OSError:
        for p in made:
            if p.is_dir() and not any(p.iterdir()):
                p.rmdir()
        raise
    return [directory / name for name in texts]


def _in_the_way(names: Iterable[str], directory: Path) -> None:
    """Raises SE914 where something that Seiche did not write has the name of a file."""
    paths = [directory / name for name in names]
    found = [p for p in paths if p.exists() and not _ours(p)]
    if found:
        what = (
            f"the folder {directory.name} holds files that Seiche did not write and would overwrite"
        )
        hint = "choose a folder of its own, such as one inside your project"
        raise fail("SE914", what, NOWHERE, *(p.name for p in found), hint=hint)


def _ours(path: Path) -> bool:
    """Whether a file says that Seiche wrote it; tables for tools cannot, and go by their names."""
    if not path.is_file():
        return False
    if path.suffix == ".json":
        return True
    with path.open(encoding="utf-8", errors="replace") as file:
        return MARK in file.read(400)
