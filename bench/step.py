"""One streaming step of a GRU, an LSTM and a keyword spotter, beside JAX, LiteRT, ONNX Runtime and C written by hand.

A streaming step uses each weight once, so the floor is the time to read the weights from the cache that holds them.
"""

from __future__ import annotations

from bench.cells import Cell
from bench.keyword import Keyword
from bench.race import JAX, LITERT, ONNX, Race, run_race
from bench.report import Bench, Result

RACES = (
    Race(Keyword(), 1.3, {LITERT: 1 / 4, JAX: 1 / 4, ONNX: 1 / 4}),
    Race(Cell("gru", 40, 128), 1.15, {JAX: 1 / 4, ONNX: 1 / 3.5, LITERT: 1 / 1.2}),
    Race(Cell("lstm", 40, 256), 1.1, {LITERT: 1.0, JAX: 1.0, ONNX: 1.0}),
)


def run(bench: Bench) -> Result:
    result = Result("step")
    for race in RACES[: bench.pick(len(RACES), 1)]:
        run_race(bench, result, race)
    return result
