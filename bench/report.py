"""What a bench hands back: tables for the eye, figures with their bars, data for the JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Figure:
    """One claim: what is measured, the bar it must clear, what was measured. `met` is None where there is no bar."""

    figure: str
    bar: str
    measured: str
    met: bool | None


@dataclass
class Result:
    """The outcome of one bench."""

    name: str
    figures: list[Figure] = field(default_factory=list[Figure])
    data: dict[str, Any] = field(default_factory=dict[str, Any])

    def claim(self, figure: str, bar: str, measured: str, met: bool | None) -> None:
        self.figures.append(Figure(figure, bar, measured, met))

    def save(self, folder: Path = FOLDER) -> Path:
        """Writes `<folder>/<name>.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        whole = {"machine": machine(), "figures": [asdict(f) for f in self.figures], **self.data}
        path.write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")
        return path


@dataclass(frozen=True)
class Bench:
    """How a bench runs: where it prints, and whether it only shows that it works (`tiny`), with numbers that mean nothing."""

    console: Console
    tiny: bool = False

    def pick(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full

    @contextmanager
    def status(self, title: str) -> Iterator[Any]:
        """A line that says what is being done; yields the function that changes it."""
        if not self.console.is_terminal:
            self.console.print(f"{title} ...")
        with self.console.status(f"{title} ...") as line:
            yield lambda text: line.update(f"{title}: {text}")

    def track(self, items: Iterable[T], title: str, total: int) -> Iterator[T]:
        """The items, with a bar; where the output is no terminal, with a line now and then."""
        if self.console.is_terminal:
            yield from track(items, title, total, console=self.console)
            return
        for k, item in enumerate(items, 1):
            if k % max(1, total // 10) == 0:
                self.console.print(f"{title}: {k} of {total}")
            yield item

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Prints a table; columns after the first are aligned to the right."""
        shown = Table(title=title, title_justify="left", title_style="bold")
        for k, name in enumerate(columns):
            shown.add_column(name, justify="right" if k else "left")
        for row in rows:
            shown.add_row(*map(str, row))
        self.console.print(shown)


def machine() -> dict[str, Any]:
    """The processor, the load and the versions: what a figure is worth without."""
    import numpy as np

    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            x
            for x in cpuinfo.read_text(encoding="utf-8").splitlines()
            if x.startswith("model name")
        ]
        model = names[0].partition(":")[2].strip() if names else ""
    load = [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {
        "processor": model or platform.processor(), "cores": os.cpu_count(), "load": load,
        "system": platform.system(), "python": platform.python_version(), "numpy": np.__version__,
    }  # fmt: skip


def mark(met: bool | None) -> str:
    """For a table."""
    return {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[met]


def number(x: float, digits: int = 3) -> str:
    """A few significant digits.

    >>> number(1234.567), number(0.0123456), number(float("nan"))
    ('1230', '0.0123', '-')
    """
    if x != x:
        return "-"
    return f"{float(f'{x:.{digits}g}'):g}"
