"""The page: one HTML file that replays drives side by side, with learning curves and scorecard; it asks nothing of a network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from examples.driving import facts, health, road, sensing, traffic, world
from examples.driving.replay import charts, scorecard
from examples.driving.replay.charts import Curve
from examples.driving.replay.episode import FIELDS, NOT_USED, TOLD, Array, Episode, Mark, Run
from examples.driving.replay.scorecard import Scores

HERE = Path(__file__).parent
TITLE = "The car that remembers"
LEAD = "Signs and arrows can be read for a moment, and count for long. Each driver is, with its world, one reactive program."
ABOUT = {
    "memoryless": "acts on what its sensors read now",
    "latched": "remembers the facts that its sensors once read",
    "shielded": "remembers, and a shield checks each of its decisions",
    "oracle": "is told the truth, as far as it can be read ahead",
    "rule": "a rule of thumb with the remembered facts",
    "random": "does anything",
    "brake": "always brakes",
}
"""What drivers are, in a line."""
MEMORY = {"memoryless": NOT_USED, "random": NOT_USED, "brake": NOT_USED, "oracle": TOLD}
"""What they do with facts; the others remember what they read."""
LEGEND = (
    ("stroke own", "speed"),
    ("stroke", "limit in force"),
    ("stroke dots", "limit remembered"),
    ("overtime", "over the limit"),
    ("fault", "sensors fail"),
    ("tick", "override by the shield"),
    ("turn", "wrong turn"),
    ("sight", "readable from here"),
    *((mode, mode) for mode in health.MODES),
)
"""Marks of the drives: their classes, and what they stand for."""


@dataclass(frozen=True)
class Page:
    """What is on the page: drives on one clock, and what there is of curves, of scores, and of facts to be told in a table."""

    runs: Sequence[Run]
    curves: Sequence[Curve] = ()
    scores: Scores = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def run_of(driver: str, record: Mapping[str, Array], name: str = "", about: str = "") -> Run:
    """A driver's record, as it is shown: by the driver's name, and with a line on the driver, or by what else is said here."""
    said = about or ABOUT.get(driver, "")
    return Run(name or driver, driver, said, Episode(record), MEMORY.get(driver, ""))


def write(page: Page, path: Path) -> None:
    """Writes the file and, where it is missing, its folder; raises ValueError where the page has no run, or two of one name."""
    if not page.runs:
        raise ValueError("a replay needs at least one run")
    if len({run.name for run in page.runs}) < len(page.runs):
        raise ValueError("two runs of a replay have the same name")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(page), encoding="utf-8")


def text(page: Page) -> str:
    """The page as HTML."""
    ticks = max(run.episode.ticks for run in page.runs)
    return Template(_part("replay.html")).substitute(
        title=html.escape(TITLE),
        lead=html.escape(LEAD),
        style=_part("replay.css"),
        script="\n".join(map(_part, ("road.js", "replay.js"))),
        choices="".join(_choice(run) for run in page.runs),
        runs="".join(_run(run, ticks) for run in page.runs),
        legend="".join(f'<span><i class="{mark}"></i>{said}</span>' for mark, said in LEGEND),
        last=ticks - 1,
        length=f"{(ticks - 1) // 60}:{(ticks - 1) % 60:02}",
        curves=_curves(page.curves),
        scorecard=_card(
            "Scorecard",
            f'<div class="wide">{scorecard.markup(page.scores)}</div>' if page.scores else "",
        ),
        facts=_card("The program", _facts(page.facts)),
        heads="".join(
            f'<th scope="col" data-driver="{html.escape(r.driver)}">{html.escape(r.name)}</th>'
            for r in page.runs
        ),
        data=_json({"world": _world(), "runs": [_data(run) for run in page.runs]}),
    )


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _choice(run: Run) -> str:
    """What shows a drive, or hides it."""
    driver, name = html.escape(run.driver), html.escape(run.name)
    return f'<button type="button" data-driver="{driver}" aria-pressed="true">{name}</button>'


def _run(run: Run, ticks: int) -> str:
    """A drive before it is filled in by the script: its time line is whole."""
    return Template(_part("run.html")).substitute(
        name=html.escape(run.name),
        driver=html.escape(run.driver),
        about=html.escape(run.about),
        unused="" if run.knows else " unused",
        memory=html.escape(run.memory or "remembered"),
        line=charts.timeline(run.episode, ticks),
    )


def _card(heading: str, body: str) -> str:
    return f'<section class="card"><h2>{heading}</h2>{body}</section>' if body else ""


def _curves(shown: Sequence[Curve]) -> str:
    if not shown:
        return ""
    said = "Mean return of the episodes between two points; bands are 95 % intervals over seeds."
    return _card("How they learnt", f'<p>{said}</p><div class="wide">{charts.curves(shown)}</div>')


def _facts(told: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(k)}</th><td>{html.escape(v)}</td></tr>'
        for k, v in told.items()
    )
    return f'<table class="plain">{rows}</table>' if rows else ""


def _world() -> dict[str, Any]:
    """What the script must know of the world, in its units."""
    return {
        "ring": traffic.RING, "length": traffic.LENGTH, "width": traffic.WIDTH, "lanes": traffic.LANES,
        "laneWidth": traffic.LANE_WIDTH, "reach": sensing.REACH, "signSeen": road.SIGN_SEEN, "arrowSeen": road.ARROW_SEEN,
        "far": facts.FAR, "modes": health.MODES, "actions": world.ACTIONS,
    }  # fmt: skip


def _data(run: Run) -> dict[str, Any]:
    """A drive as JSON: all that was recorded, and what follows from it."""
    drive = run.episode
    return {
        "name": run.name,
        "memory": run.memory,
        "knows": run.knows,
        "ticks": drive.ticks,
        "crashed": drive.crashed,
        "fields": {name: plain(drive[name]) for name in FIELDS},
        "returned": [round(x, 4) for x in drive.returned.tolist()],
        "signs": _pairs(drive.signs()),
        "junctions": _pairs(drive.junctions()),
        "signRead": drive.last_read("sign").tolist(),
        "arrowRead": drive.last_read("arrow").tolist(),
    }


def _pairs(marks: Sequence[Mark]) -> list[tuple[float, float]]:
    return [(round(mark.at, 2), mark.said) for mark in marks]


def plain(values: Array) -> Any:
    """Arrays as lists for JSON: the shortest decimals that give the same float32 again; null where there is no number.

    >>> plain(np.float32([[0.1, np.nan]]))
    [[0.1, None]]
    """
    if values.ndim > 1:
        return [plain(row) for row in values]
    if values.dtype.kind != "f":
        return values.tolist()
    return [float(str(x)) if np.isfinite(x) else None for x in values]


def _json(data: object) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
