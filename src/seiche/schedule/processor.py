"""What the processor that Seiche runs on says of itself: the width and number of its vector registers, its caches.

Only the speed of what is compiled for the host depends on it, never a bit of a result.
"""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20}


class Facts(TypedDict, total=False):
    """Keys of a target; those that are not known are absent."""

    vector: int
    registers: int
    dots: int
    caches: tuple[int, ...]
    line: int


@lru_cache(maxsize=1)
def facts() -> Facts:
    """Of this machine."""
    return {**vectors(platform.machine().lower(), _flags()), **caches(FOLDER)}


def vectors(machine: str, flags: frozenset[str]) -> Facts:
    """Of a processor by its architecture and the features that it names; nothing for one that is not known.

    >>> vectors("x86_64", frozenset({"avx2", "fma"}))
    {'vector': 32, 'registers': 16, 'dots': 4}
    """
    if machine in ("aarch64", "arm64"):
        return {"vector": 16, "registers": 32}
    if machine not in ("x86_64", "amd64"):
        return {}
    if {"avx512f", "avx512dq", "avx512vl"} <= flags:
        return {"vector": 64, "registers": 32, "dots": 4}
    return {"vector": 32 if "avx2" in flags else 16, "registers": 16, "dots": 4}


def caches(folder: Path) -> Facts:
    """The first two levels of data caches and their line, as Linux shows them."""
    sizes: dict[int, int] = {}
    line = 0
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
            found = re.fullmatch(r"(\d+)([KM]?)", size)
            if kind != "Instruction" and int(level) <= 2 and found:
                sizes[int(level)] = int(found[1]) * SUFFIXES[found[2]]
                line = int(_read(index / "coherency_line_size"))
        except (OSError, ValueError):
            continue
    if not line:
        return {}
    return {"caches": tuple(sizes[level] for level in sorted(sizes)), "line": line}


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _flags() -> frozenset[str]:
    """Of x86, as Linux shows them; elsewhere every processor of this century has the least of them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
