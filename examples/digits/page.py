"""The example's page: one HTML file with its plots inside."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from examples.digits.data import ROWS, Stream
from examples.digits.learner import MODES
from seiche.schedule.picture import figure_of
from seiche.schedule.report import Report

COLORS = ("#dddddd", "#bcd7ee", "#c9e7c1", "#f6c9a8")


@dataclass(frozen=True)
class Results:
    """What the example measured."""

    stream: Stream
    outputs: dict[str, Any]
    report: Report
    seconds: dict[str, float]
    compared_images: int
    identical: bool
    facts: dict[str, str]


def write(results: Results, path: Path) -> None:
    """Writes the page."""
    page = Template((Path(__file__).parent / "page.html").read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        page.substitute(
            facts="".join(
                f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>"
                for k, v in results.facts.items()
            ),
            accuracy=_svg(accuracy_figure(results)),
            samples=_svg(samples_figure(results.stream)),
            cost=_svg(figure_of(results.report)),
            lines=html.escape(str(results.report)),
        )
    )


def accuracy_figure(results: Results) -> Figure:
    """Accuracy of the two models and of both over the stream, on the modes of the automaton."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
    images = np.arange(results.stream.images)
    mode = results.outputs["mode"].values
    edges = [0, *(np.flatnonzero(np.diff(mode)) + 1), len(mode)]
    for low, high in pairwise(edges):
        axes.axvspan(low, high, color=COLORS[mode[low]], lw=0)
    for name, style in (("gru", "-"), ("mlp", "-"), ("both", "-")):
        axes.plot(
            images,
            moving(results.outputs[name].values, 100),
            style,
            lw=2.2 if name == "both" else 1.1,
            label=name,
        )
    for image, what in results.stream.changes:
        axes.axvline(image, color="black", lw=1, ls=":")
        axes.annotate(f" {what}", (image, 1.03), fontsize=11, annotation_clip=False)
    for index, name in enumerate(MODES):
        axes.plot([], [], lw=9, color=COLORS[index], label=f"mode: {name}")
    axes.set_xlim(0, len(mode))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("image (8 ticks each)")
    axes.set_ylabel("accuracy before training,\nlast 100 images")
    figure.legend(loc="outside lower center", ncols=7, fontsize=9, frameon=False)
    return figure


def moving(values: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """The mean of the last `width` values (of all, while there are fewer)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(1, len(values) + 1)
    low = np.maximum(at - width, 0)
    return (total[at] - total[low]) / (at - low)


def samples_figure(stream: Stream) -> Figure:
    """Some images of each part of the stream."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    grid = figure.subplots(len(stream.changes), 12)
    for row, (start, what) in zip(grid, stream.changes, strict=True):
        for column, axes in enumerate(row):
            axes.imshow(stream.image(start + column), cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(str(stream.labels[(start + column) * ROWS]), fontsize=9)
        row[0].set_ylabel(what, fontsize=11)
    return figure


def _svg(figure: Figure) -> str:
    """The figure as an image element that needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
