"""How the examples speak: a title, facts in a column, lines of blocks, and at the end what to look at."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def title(text: str) -> None:
    """What the example is."""
    print(text)
    print("─" * len(text))


def fact(name: str, value: object) -> None:
    """One result."""
    print(f"  {name:<53} {value}")


def look(*places: str) -> None:
    """Where to look next."""
    print("Look at:")
    for place in places:
        print(f"  {place}")


def line(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """Numbers as a line of blocks between low and high.

    >>> line([0.0, 1.0, 2.0, 7.0])
    '▁▂▃█'
    """
    low = min(values) if low is None else low
    high = max(values) if high is None else high
    scale = (len(BLOCKS) - 1) / (high - low or 1.0)
    return "".join(BLOCKS[min(max(round((v - low) * scale), 0), len(BLOCKS) - 1)] for v in values)
