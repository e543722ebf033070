"""Writes a program's C files to a folder, all or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from seiche.backends.c.printer import Sources, print_c
from seiche.backends.program import Program
from seiche.schedule.machine import schedule


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
    return write_files(files_of(sources_of(program)), directory)


def write_files(texts: Mapping[str, str], directory: Path) -> list[Path]:
    """Writes files into a folder, which is made if need be; the files written.

    All are written beside their places before the first is moved there: a full disk leaves everything as it was.
    """
    made = [p for p in (directory, *directory.parents) if not p.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as folder:
            for name, text in texts.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            for name in texts:
                os.replace(Path(folder) / name, directory / name)
    except OSError:
        for p in made:
            if p.is_dir() and not any(p.iterdir()):
                p.rmdir()
        raise
    return [directory / name for name in texts]
