"""A convolutional network layer by layer and folded over time, one image row per tick: bytes, and equal results.

Five 3 x 3 layers and a dense head on 96 x 96 images, as one tick per image and as one tick per row. Activation bytes are those
of the plans: the scratch arena, in which tensors share memory, and states. `memory` measures that plans are right.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

import seiche as sc
from bench.report import Bench, Result
from seiche.backends.folding import FoldReport

CHANNELS, STRIDES, CLASSES, SHARE = (3, 16, 16, 24, 32, 32), (1, 1, 2, 1, 2), 10, 6
FRAMES = 8


def network(size: int) -> Any:
    """The node over one image; its weights are constants."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3, a, b) for a, b in itertools.pairwise(CHANNELS)]
    weights = [(rng.normal(size=s) / np.sqrt(9 * s[2])).astype(np.float32) for s in shapes]
    biases = [rng.normal(size=s[3]).astype(np.float32) / 10 for s in shapes]
    left = size // int(np.prod(STRIDES))
    dense = (rng.normal(size=(left * left * CHANNELS[-1], CLASSES)) / 100).astype(np.float32)

    @sc.node
    def cnn(image: sc.f32[size, size, CHANNELS[0]]):
        x = image
        for weight, bias, stride in zip(weights, biases, STRIDES, strict=True):
            x = sc.relu(sc.conv(x, weight, padding="same", strides=stride) + bias)
        return x.reshape(-1) @ dense

    return cnn


def run(bench: Bench) -> Result:
    result = Result("fold")
    size = bench.pick(96, 24)
    cnn = network(size)

    @sc.node
    def rows(row: sc.f32[size, CHANNELS[0]]):
        return sc.to_time(cnn, rows=size)(row)

    with bench.status("fold") as say:
        say("plans")
        report = sc.fold_report(cnn)
        say("C")
        whole, folded = sc.compile(cnn, target="c"), sc.compile(rows, target="c")
    frames = (
        np.random.default_rng(1).normal(size=(FRAMES, size, size, CHANNELS[0])).astype(np.float32)
    )
    after = np.zeros((report.latency, size, CHANNELS[0]), np.float32)
    stream = np.concatenate([frames.reshape(-1, size, CHANNELS[0]), after])
    logits, once = _timed(lambda: whole.run(frames), whole)
    folded_logits, row_by_row = _timed(lambda: folded.run(stream).values, folded)
    equal = logits.tobytes() == folded_logits.tobytes()
    _show(bench, report)
    ratio = report.whole_bytes / report.folded_bytes
    said = f"{report.folded_bytes:,} of {report.whole_bytes:,}: 1/{ratio:.1f}"
    result.claim(
        f"activation bytes of a 5-layer CNN on {size} x {size}, folded",
        f"<= 1/{SHARE}",
        said,
        ratio >= SHARE,
    )
    text = "in bits" if equal else f"to {np.abs(logits - folded_logits).max():.1e}"
    result.claim(f"results of {FRAMES} images in a row", "equal", text, equal)
    said = f"{row_by_row / once:.2f} ({row_by_row * 1e3:.2f} ms, {once * 1e3:.2f} ms), {report.latency} ticks later"
    result.claim("time of an image, folded / layer by layer", "-", said, None)
    result.data |= {
        **report.as_dict(),
        "seconds_per_image": {"whole": once, "folded": row_by_row},
        "equal": equal,
    }
    return result


def _timed(task: Any, program: Any) -> tuple[np.ndarray, float]:
    """The result, and the least seconds per image."""
    best = np.inf
    for _ in range(3):
        program.reset()
        began = time.perf_counter()
        value = task()
        best = min(best, (time.perf_counter() - began) / FRAMES)
    return np.asarray(value), float(best)


def _show(bench: Bench, report: FoldReport) -> None:
    columns = ["", "rows", "every", "first at", "layer by layer B", "folded: lines B", "scratch B"]
    cells = [
        [
            x.name,
            x.when.count,
            x.when.every,
            x.when.first,
            f"{x.whole:,}",
            f"{x.state:,}",
            f"{x.scratch:,}",
        ]
        for x in report.layers
    ]
    total = [
        f"{n:,}"
        for n in (report.whole_bytes, report.folded.state_bytes, report.folded.scratch_bytes)
    ]
    bench.table(
        "Bytes by layer (scratch memory is shared)",
        columns,
        [*cells, ["in all", "", "", "", *total]],
    )
