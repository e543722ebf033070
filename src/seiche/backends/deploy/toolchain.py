"""Compilers for targets: `ziglang` from a wheel builds every one, a gcc where the machine has it; both as the target's file says."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seiche.backends.c.build import (
    STANDARD,
    STRICT,
    Compiler,
    find_compiler,
    flags,
    kept,
    version_of,
)
from seiche.errors import NOWHERE, SeicheError, fail
from seiche.schedule.target import Target

Make = Literal["zig", "gcc"]
MAKES: tuple[Make, ...] = ("zig", "gcc")
RUNTIME = Path(__file__).parent / "runtime"

BARE = (
    *STANDARD, "-O2", "-fomit-frame-pointer", "-ffunction-sections", "-fdata-sections", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
    *STRICT, "-w", "-Iseiche",
)  # fmt: skip
MAKERS: dict[Make, tuple[str, ...]] = {"zig": ("-fhosted",), "gcc": ("-ffreestanding", "-fbuiltin")}
"""There is no library, yet memcpy must be known: it is how programs take the bits of floats, an instruction and not a call. gcc can be
told both; clang takes our header for a library's.
"""
LINKED = ("-nostartfiles", "-Wl,--gc-sections", "-Wl,-e,reset", "-Wl,-T,seiche/memory.ld")
SHIFT = 7
"""An emulated instruction takes 2^SHIFT ns: longer than two ticks of a timer, so that a timer tells instructions apart."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler and the flags with which it compiles one file for a target."""

    compiler: Compiler
    flags: tuple[str, ...]
    linked: tuple[str, ...] = ()


def toolchain(target: Target, make: Make | None = None) -> Toolchain:
    """The compiler for a target: the one asked for, else the first that runs; raises SE901, or SE904 for a target without one."""
    if is_host(target):
        compiler = find_compiler() if make is None else _first(target, [_known(make)])[1]
        return Toolchain(compiler, tuple(f for f in flags(compiler) if f != "-shared"))
    allowed = MAKES if make is None else (make,)
    asked: list[Make] = [m for m in allowed if m in target.tables]
    if not asked:
        tables = " or ".join(f"[{m}]" for m in allowed)
        what = f"target {target.name!r} names no compiler"
        raise fail("SE904", what, NOWHERE, f"its file has no table {tables}")
    return _with_flags(target, *_first(target, asked))


def _known(make: Make) -> Make:
    if make not in MAKES:
        hint = f"it is {' or '.join(MAKES)}; without one, the host's is that of $CC"
        raise fail("SE904", f"there is no compiler {make!r} for the host", NOWHERE, hint=hint)
    return make


def _first(target: Target, asked: Sequence[Make]) -> tuple[Make, Compiler]:
    """The first of these compilers that runs; raises SE901."""
    for one in asked:
        for command in _commands(target, one):
            version = version_of(command)
            if version is not None:
                return one, Compiler(command, version)
    raise _missing(target, asked)


def is_host(target: Target) -> bool:
    """Whether a target is the machine itself: it names neither a compiler nor a memory map."""
    return not target.tables.keys() & {"memory", *MAKES}


def _commands(target: Target, make: Make) -> list[tuple[str, ...]]:
    """The commands that may be that compiler."""
    if make == "gcc":
        path = shutil.which(_gcc(target))
        return [] if path is None else [(path,)]
    wheel = importlib.util.find_spec("ziglang") is not None
    found = shutil.which("zig")
    return [(sys.executable, "-m", "ziglang", "cc")] * wheel + [(str(found), "cc")] * bool(found)


def _gcc(target: Target) -> str:
    """The command of a target's gcc; the host names none."""
    return str(target.tables.get("gcc", {}).get("command", "gcc"))


def _with_flags(target: Target, make: Make, compiler: Compiler) -> Toolchain:
    own = (*map(str, target.tables[make]["flags"]), *roots(target))
    return Toolchain(
        compiler, (*BARE, *MAKERS[make], *own), (*LINKED, *(["-nolibc"] if make == "gcc" else []))
    )


def roots(target: Target) -> tuple[str, ...]:
    """What tells programs that the target computes square roots.

    >>> from seiche.schedule.target import target
    >>> roots(target("cortex-m4f")), roots(target("cortex-m3"))
    (('-DSEICHE_HW_SQRT_F32',), ())
    """
    return tuple(f"-DSEICHE_HW_SQRT_{f.upper()}" for f in target.floats)


def _missing(target: Target, asked: Sequence[Make]) -> SeicheError:
    names = {"zig": "the wheel `ziglang`, and zig on PATH", "gcc": f"{_gcc(target)} on PATH"}
    hint = '`pip install "seiche[deploy]"` brings a compiler for every target'
    tried = f"tried: {', '.join(names[m] for m in asked)}"
    return fail("SE901", f"no C compiler for {target.name} was found", NOWHERE, tried, hint=hint)


def linked(
    chain: Toolchain, target: Target, sources: Mapping[str, str], defined: Mapping[str, int]
) -> Path:
    """The ELF of these files with the target's start-up code, kept by its content.

    Raises SE905, and SE909 where it is larger than the target's memories.
    """
    files = {**sources, **_runtime(target)}
    counter = int(target.tables.get("qemu", {}).get("counter_ns", 0))
    known = {**defined, "INSTRUCTION_NS": 1 << shift(target), "COUNTER_NS": counter}
    defines = [f"-D{name}={value}u" for name, value in known.items()]
    try:
        return kept(files, chain.compiler, [*chain.flags, *defines, *chain.linked], ".elf")
    except SeicheError as error:
        said = [text for text, _ in error.diagnostics[0].why if "overflowed" in text]
        if not said:
            raise
        what = f"the code does not fit in the memories of {target.name}"
        raise fail("SE909", what, NOWHERE, *said) from None


def shift(target: Target) -> int:
    """Of the emulator's clock: SHIFT where a timer counts, 0 where the processor itself counts instructions."""
    return SHIFT if "counter_ns" in target.tables.get("qemu", {}) else 0


def _runtime(target: Target) -> dict[str, str]:
    """Start-up code, semihosting, the loop over ticks, the linker's script; raises SE904 where the target's file lacks some."""
    _check_memory(target)
    start = f"{target.tables['memory']['start']}.c"
    names = ("board.h", "programs.h", "memory.c", "semihosting.c", "loop.c", start)
    texts = {f"seiche/{name}": runtime(name) for name in names}
    return {**texts, **headers(), "seiche/memory.ld": linker_script(target)}


def _check_memory(target: Target) -> None:
    memory, starts = target.tables.get("memory", {}), ("cortex_m", "riscv32")
    lacks = [f"`{k}` of [memory] is an address" for k in ("flash", "ram") if type(memory.get(k)) is not int]  # fmt: skip
    if memory.get("start") not in starts:
        lacks.append(f"`start` of [memory] is {' or '.join(starts)}")
    lacks += [f"`{k}` is needed" for k in ("ram", "flash") if getattr(target, k) is None]
    if lacks:
        what = f"programs cannot be linked for target {target.name!r}"
        raise fail("SE904", what, NOWHERE, "; ".join(lacks))


def headers() -> dict[str, str]:
    """The part of a C library that programs include, for targets without one."""
    return {"seiche/string.h": runtime("string.h")}


def linker_script(target: Target) -> str:
    """Our sections in the target's memories.

    >>> from seiche.schedule.target import target
    >>> "ORIGIN = 0x20000000, LENGTH = 4194304" in linker_script(target("cortex-m3"))
    True
    """
    memory = target.tables["memory"]
    return runtime("memory.ld").format(
        flash=f"{memory['flash']:#x}", flash_bytes=target.flash,
        ram=f"{memory['ram']:#x}", ram_bytes=target.ram,
    )  # fmt: skip


def runtime(name: str) -> str:
    """A file of the runtime."""
    return (RUNTIME / name).read_text(encoding="utf-8")
