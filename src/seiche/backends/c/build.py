"""Builds C sources into a shared library with whatever compiler the machine has, and keeps the result by its content.

The cache holds one library per (sources, compiler, flags). A library is written beside its place and renamed into it, so that
processes that build the same thing at once do no harm to each other.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from seiche.errors import NOWHERE, SeicheError, fail

Arithmetic = Literal["strict", "fast"]

STANDARD = ("-std=c99",)
STRICT = ("-ffp-contract=off", "-fno-math-errno")
FAST = ("-ffp-contract=fast", "-fno-math-errno", "-DSEICHE_FAST")
"""Products and sums may fuse. Nothing more: `-ffast-math` would fold away the steps by which elementary functions round."""
WARNINGS = (
    "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wdouble-promotion", "-Wshadow", "-Wstrict-prototypes",
    "-Wmissing-prototypes", "-Wvla", "-Wundef", "-Wcast-qual", "-pedantic", "-Werror",
)  # fmt: skip
"""The warnings under which generated programs are clean."""
HARDWARE_SQRT = ("x86_64", "amd64", "aarch64", "arm64")
"""Machines whose compilers turn `__builtin_sqrt` into an instruction."""


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C, and what it says its version is."""

    command: tuple[str, ...]
    version: str

    @property
    def is_clang(self) -> bool:
        return "clang" in self.version.lower()


def candidates() -> list[tuple[str, ...]]:
    """Commands to try: $CC, then the usual names, then the compiler of the `ziglang` wheel."""
    chosen = os.environ.get("CC", "").split()
    if chosen:
        return [tuple(chosen)]
    found: list[tuple[str, ...]] = [
        (path,) for name in ("cc", "gcc", "clang") if (path := shutil.which(name))
    ]
    if importlib.util.find_spec("ziglang") is not None:
        found.append((sys.executable, "-m", "ziglang", "cc"))
    return found


@lru_cache(maxsize=8)
def version_of(command: tuple[str, ...]) -> str | None:
    """What the compiler says of itself; None if it does not run."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=120
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.partition("\n")[0] if done.returncode == 0 else None


def find_compiler() -> Compiler:
    """The first compiler that runs; raises SE901."""
    tried = candidates()
    for command in tried:
        version = version_of(command)
        if version is not None:
            return Compiler(command, version)
    why = (
        f"tried: {', '.join(' '.join(c) for c in tried)}"
        if tried
        else "neither cc nor gcc nor clang is on PATH"
    )
    hint = 'install gcc or clang, or `pip install "seiche[zig]"`, or name a compiler in $CC'
    raise fail("SE901", "no C compiler was found", NOWHERE, why, hint=hint)


def flags(compiler: Compiler, arithmetic: Arithmetic = "strict") -> tuple[str, ...]:
    """The flags of a shared library for this machine."""
    machine = platform.machine().lower()
    native = "-mcpu=native" if machine in ("aarch64", "arm64") else "-march=native"
    # gcc at -O2 vectorises what is cheap only. What -O3 does beyond that pays where short loops are vectors (ADR 0018), and costs no step.
    speed = ("-O2",) if compiler.is_clang else ("-O3",)
    if machine in ("x86_64", "amd64"):
        speed += ("-mprefer-vector-width=512",)
    root = ("-DSEICHE_HW_SQRT",) if machine in HARDWARE_SQRT else ()
    maths = STRICT if arithmetic == "strict" else FAST
    return (*STANDARD, *speed, native, *maths, *root, "-fPIC", "-shared", "-w")


def cache_folder() -> Path:
    """$SEICHE_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("SEICHE_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "seiche"


def build(
    sources: Mapping[str, str], arithmetic: Arithmetic = "strict", compiler: Compiler | None = None
) -> Path:
    """The shared library of these files (name -> text); raises SE901 or SE905.

    The library is built again only if nothing of the same content was built before.
    """
    compiler = compiler or find_compiler()
    return kept(sources, compiler, flags(compiler, arithmetic), ".so")


def loaded(
    sources: Mapping[str, str], symbol: str, arithmetic: Arithmetic = "strict"
) -> tuple[Path, ctypes.CDLL]:
    """The shared library of these files, in memory, with a function of that name; raises SE901 or SE905.

    One that cannot be loaded does not stay in the cache.
    """
    compiler = find_compiler()
    path = build(sources, arithmetic, compiler)
    try:
        dll = ctypes.CDLL(str(path))
        dll[symbol]
    except (OSError, AttributeError) as error:
        path.unlink(missing_ok=True)
        raise refused(compiler, f"what it wrote cannot be loaded: {error}") from None
    return path, dll


def kept(
    sources: Mapping[str, str], compiler: Compiler, arguments: Sequence[str], suffix: str
) -> Path:
    """What a compiler makes of these files with these arguments, in the cache; raises SE905.

    A file that a crash or a full disk has cut off there is made again.
    """
    target = cache_folder() / f"{_digest(sources, compiler, arguments)}{suffix}"
    if not target.exists() or damaged(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
            made = Path(folder) / f"made{suffix}"
            run_compiler(compiler, [*arguments, "-o", str(made)], sources, Path(folder))
            if fault := damaged(made):
                raise refused(compiler, f"what it wrote cannot be loaded: {fault}")
            os.replace(made, target)
    return target


def damaged(path: Path) -> str:
    """What is wrong with an ELF, in short: it is none, or shorter than it says (to load it would end the process); else nothing."""
    if sys.platform != "linux" and path.suffix == ".so":
        return ""
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) < 64 or not head.startswith(b"\x7fELF"):
        return "it is no ELF"
    sections = "<40xQ10xHH" if head[4] == 2 else "<32xI10xHH"
    start, size, count = struct.unpack_from(sections, head)
    return "it is cut off" if path.stat().st_size < start + size * count else ""


def _digest(sources: Mapping[str, str], compiler: Compiler, arguments: Sequence[str]) -> str:
    """The key of the cache. `-march=native` means another thing on another processor."""
    digest = hashlib.sha256()
    for part in (*compiler.command, compiler.version, *arguments, _processor()):
        digest.update(part.encode() + b"\0")
    for name, text in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + text.encode() + b"\0")
    return digest.hexdigest()[:40]


@lru_cache(maxsize=1)
def _processor() -> str:
    """What `native` stands for."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [x for x in file if x.startswith(("flags", "Features", "model name"))]
        return "".join(lines[:2])
    except OSError:
        return platform.processor() + platform.machine()


def run_compiler(
    compiler: Compiler, arguments: Sequence[str], sources: Mapping[str, str], folder: Path
) -> None:
    """Compiles the .c files among the sources, which are written into the folder; raises SE905 with what the compiler said."""
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    files = [name for name in sources if name.endswith(".c")]
    made = arguments[arguments.index("-o") + 1] if "-o" in arguments else ""
    told(compiler, [*arguments, *files], folder, made)


def told(compiler: Compiler, arguments: Sequence[str], folder: Path, made: str) -> str:
    """What a compiler said; raises SE905 where it fails, is killed, or has not written the file `made`."""
    command = [*compiler.command, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder)
    except OSError as error:
        raise refused(compiler, str(error)) from None
    if done.returncode < 0:
        raise refused(compiler, f"it was ended by signal {-done.returncode}\n{done.stderr}")
    if done.returncode != 0:
        raise refused(compiler, done.stderr or f"it ended with status {done.returncode}")
    if made and not (folder / made).is_file():
        raise refused(compiler, f"it wrote no {Path(made).name}\n{done.stderr}")
    return done.stderr


def refused(compiler: Compiler, said: str) -> SeicheError:
    """The error of a compiler that failed, with the first lines of what it said."""
    lines = [line for line in said.splitlines() if line.strip()]
    shown = lines[:12] + (["..."] if len(lines) > 12 else [])
    hint = "this is a fault of Seiche or of the compiler: please report it with the program; $CC chooses another compiler"
    return fail(
        "SE905",
        f"{' '.join(compiler.command)} failed ({compiler.version})",
        NOWHERE,
        *shown,
        hint=hint,
    )


def stack_bytes(name: str, header: str, source: str) -> int | None:
    """A bound on the stack of a step: the frames of all functions that are not inlined (none recurses). None without gcc."""
    compiler = find_compiler()
    if compiler.is_clang:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = {f"{name}.h": header, f"{name}.c": source}
        arguments = [*(f for f in flags(compiler) if f != "-shared"), "-fstack-usage", "-c"]
        run_compiler(compiler, arguments, files, Path(folder))
        said = (Path(folder) / f"{name}.su").read_text(encoding="utf-8")
    frames = dict(line.split("\t")[:2] for line in said.splitlines())
    outside = {f"{name}_{method}" for method in ("init", "reset", "flush")}
    return sum(
        int(size) for where, size in frames.items() if where.rpartition(":")[2] not in outside
    )
