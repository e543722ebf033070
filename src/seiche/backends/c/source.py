"""Writes a program's C files to a folder, all or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from seiche.backends.c.printer import Sources, print_c
from seiche.backends.program import Program
from seiche.schedule.machine import schedule


def sources_of(program: Program) -> Sources:
    """The C of a program, whatever target it was compiled for."""
    return print_c(schedule(program.lowered).machine)


def write_sources(program: Program, directory: Path) -> list[Path]:
    """Writes NAME.h, NAME.c and, where there are constants, NAME_weights.c; the files written."""
    sources = sources_of(program)
    texts = {f"{sources.name}.h": sources.header, f"{sources.name}.c": sources.source}
    if sources.weights is not None:
        texts[f"{sources.name}_weights.c"] = sources.weights
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text)
        for name in texts:
            os.replace(Path(folder) / name, directory / name)
    return [directory / name for name in texts]
