"""The hand-written programs of `bench/c`: compiled by the compiler that Seiche uses, for this machine, at its highest level."""

from __future__ import annotations

import ctypes
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.workloads import Array

C_SOURCES = Path(__file__).parent / "c"
HEADERS = ("vectors.h", "mlp.h")


def library(files: tuple[str, ...], *extra: str) -> Any:
    """Sources of `bench/c` as a loaded library; `extra` are more arguments for the compiler."""
    from seiche.backends.c import build

    compiler = build.find_compiler()
    arm = platform.machine().lower() in ("aarch64", "arm64")
    native = ("-mcpu=native",) if arm else ("-march=native", "-mprefer-vector-width=512")
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        made = Path(place) / "library.so"
        arguments = [
            "-std=gnu99",
            "-O3",
            "-fno-math-errno",
            *native,
            *extra,
            "-fPIC",
            "-shared",
            "-o",
            made.name,
        ]
        sources = {f: (C_SOURCES / f).read_text(encoding="utf-8") for f in (*files, *HEADERS)}
        build.run_compiler(compiler, arguments, sources, Path(place))
        return ctypes.CDLL(str(made))


def aligned(bytes: int) -> Array:
    """Zeros that start on a cache line, as bytes."""
    whole = np.zeros(bytes + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + bytes]


def pointer(x: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.ctypes.data)


def packed(arrays: list[Array]) -> Array:
    """The bytes of these arrays, one after the other: a struct of 4-byte members."""
    return np.concatenate([np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in arrays])
