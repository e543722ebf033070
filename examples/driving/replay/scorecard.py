"""The scorecard: a row per driver, means over seeds with their 95 % intervals; for the terminal and for the page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from examples.driving.training import COLUMNS, Score, spread

Scores = Mapping[str, Sequence[Score]]
"""What drivers came to: by the driver's name, a score per seed."""
DIGITS = {"returns": 1, "crashes": 3, "over": 1, "wrong": 2, "pace": 2, "overrides": 1}
"""How many digits follow the point."""


def cell(scores: Sequence[Score], column: str) -> tuple[str, str]:
    """The mean of a column over seeds, and half of its 95 % interval ("" for one seed).

    >>> low, high = (Score(value, 0.0, 0.0, 0.0, 1.0, 0.0) for value in (98.0, 99.0))
    >>> cell([low, high], "returns"), cell([low], "returns")
    (('98.5', '6.4'), ('98.0', ''))
    """
    mean, half = spread([getattr(score, column) for score in scores])
    digits = DIGITS[column]
    return f"{mean:.{digits}f}".replace("-", "−"), f"{half:.{digits}f}" if len(scores) > 1 else ""


def table(scores: Scores) -> Table:
    """The scorecard for the terminal; it fits 80 columns."""
    units = "; ".join(f"{heading}: {unit}" for heading, unit in COLUMNS.values())
    shown = Table(
        title=caption(scores), caption=units, title_justify="left", caption_justify="left"
    )
    shown.box, shown.padding, shown.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    shown.add_column("driver", style="bold", no_wrap=True)
    for heading, _ in COLUMNS.values():
        shown.add_column(heading, justify="right", no_wrap=True)
    for driver, each in scores.items():
        cells = (cell(each, column) for column in COLUMNS)
        shown.add_row(
            driver, *(f"{mean}\n[dim]± {half}[/]" if half else mean for mean, half in cells)
        )
    return shown


def markup(scores: Scores) -> str:
    """The scorecard as an HTML table, whole without any script."""
    heads = "".join(
        f'<th scope="col">{html.escape(heading)}<small>{html.escape(unit)}</small></th>'
        for heading, unit in COLUMNS.values()
    )
    rows = "".join(_row(driver, each) for driver, each in scores.items())
    return (
        f'<table class="scorecard"><caption>{caption(scores)}</caption>'
        f'<thead><tr><th scope="col">driver</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def caption(scores: Scores) -> str:
    """What the figures are."""
    counts = {len(each) for each in scores.values()}
    if max(counts, default=1) < 2:
        return "Of one seed"
    alone = "; one seed where there is no ±" if 1 in counts else ""
    return f"Mean of {max(counts)} seeds ± half of its 95 % interval{alone}"


def _row(driver: str, scores: Sequence[Score]) -> str:
    name = html.escape(driver)
    cells = (cell(scores, column) for column in COLUMNS)
    shown = "".join(
        f"<td>{mean}<small>{f'± {half}' if half else ''}</small></td>" for mean, half in cells
    )
    return f'<tr data-driver="{name}"><th scope="row">{name}</th>{shown}</tr>'
