"""Text that every Python has: its own library's sources, as symbols of 97 characters."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

SYMBOLS = "\n" + "".join(map(chr, range(32, 127))) + "¿"
"""Newline, printable ASCII, and one for all others."""
MODULES = [
    "random",
    "textwrap",
    "heapq",
    "statistics",
    "shutil",
    "string",
    "calendar",
    "fractions",
    "json/decoder",
    "json/encoder",
    "csv",
    "queue",
    "bisect",
]

Array = np.ndarray[Any, Any]


def library(characters: int) -> Array:
    """The first so many characters of these modules, i32."""
    root = Path(sysconfig.get_paths()["stdlib"])
    text = "".join((root / f"{name}.py").read_text(encoding="utf-8") for name in MODULES)
    return encoded(text[:characters])


def encoded(text: str) -> Array:
    """Characters as symbols."""
    place = {c: i for i, c in enumerate(SYMBOLS)}
    return np.array([place.get(c, len(SYMBOLS) - 1) for c in text], np.int32)


def decoded(symbols: Array) -> str:
    """Symbols as characters.

    >>> decoded(encoded("if x > 0:"))
    'if x > 0:'
    """
    return "".join(SYMBOLS[int(i)] for i in symbols)


def unigram_bits(train: Array, test: Array) -> float:
    """Bits per character of `test` by the frequencies of `train` (each counted once more): the model to beat."""
    count = np.bincount(train, minlength=len(SYMBOLS)) + 1.0
    return float(-np.log2(count[test] / count.sum()).mean())
