"""What a compiler makes of a program's own files: bytes of code and constants, and the stack of a step. Nothing is linked."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seiche.backends.c.build import refused, told
from seiche.backends.deploy.elf import Elf, read_elf
from seiche.backends.deploy.toolchain import Toolchain, headers

FRAME = re.compile(r"stack frame size \((\d+)\) exceeds limit \(0\) in '(\w+)'")
STACK = {True: ("-Wframe-larger-than=0",), False: ("-fstack-usage",)}


@dataclass(frozen=True)
class Objects:
    """The sections of each compiled file, by its name without suffix, and the bytes of stack of each function."""

    files: Mapping[str, Elf]
    frames: Mapping[str, int]

    def stack_bytes(self, name: str) -> int:
        """A bound on the stack of `NAME_step`: the frames of all functions that are not inlined (none recurses)."""
        outside = {f"{name}_{method}" for method in ("init", "reset", "flush")}
        return sum(size for function, size in self.frames.items() if function not in outside)


def objects(chain: Toolchain, sources: Mapping[str, str]) -> Objects:
    """Compiles each .c file by itself; raises SE905 where the compiler refuses one."""
    with tempfile.TemporaryDirectory(prefix="seiche-") as folder:
        where = Path(folder)
        for name, text in {**sources, **headers()}.items():
            (where / name).parent.mkdir(exist_ok=True)
            (where / name).write_text(text, encoding="utf-8")
        frames: dict[str, int] = {}
        files: dict[str, Elf] = {}
        for name in (n for n in sources if n.endswith(".c")):
            said = _compile(chain, where, name)
            stem = name.removesuffix(".c")
            files[stem] = _read(chain, where / f"{stem}.o")
            frames |= _frames(said, where / f"{stem}.su")
    return Objects(files, frames)


def _read(chain: Toolchain, made: Path) -> Elf:
    """What the compiler wrote; raises SE905 where that is no ELF."""
    try:
        return read_elf(made)
    except ValueError as error:
        raise refused(chain.compiler, f"{made.name}: {error}") from None


def _compile(chain: Toolchain, folder: Path, name: str) -> str:
    """Compiles one file; what the compiler said."""
    stack = STACK[chain.compiler.is_clang or "zig" in " ".join(chain.compiler.command)]
    flags = [f for f in chain.flags if f != "-w"]
    made = f"{name.removesuffix('.c')}.o"
    return told(chain.compiler, [*flags, *stack, "-c", name, "-o", made], folder, made)


def _frames(said: str, listed: Path) -> dict[str, int]:
    """Bytes of stack by function: gcc lists them in a file, clang warns of frames above a limit."""
    if listed.exists():
        rows = [line.split("\t") for line in listed.read_text(encoding="utf-8").splitlines()]
        return {row[0].rpartition(":")[2]: int(row[1]) for row in rows}
    return {function: int(size) for size, function in FRAME.findall(said)}
