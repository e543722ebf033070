"""The contestant "C by hand" of `bptt`: `c/gru_bptt.c`, with a full tape.

`Entry("C by hand", by_hand, (parameters, xs, ys, judge))` joins a contest; `judge` gets the readout's parameters after `checked`
training steps and returns their error.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.by_hand import aligned, library, packed, pointer
from bench.measure import Job
from bench.workloads import Array, Parameters

NAMES = ("input", "recurrent", "bias", "recurrent_bias")


def by_hand(
    cell: Parameters, out: Array, xs: Array, ys: Array, judge: Callable[[Array], float], checked: int = 3
) -> Job:  # fmt: skip
    """A training step of a GRU of 64 with a readout `out [64, outputs]`, on inputs [ticks, inputs] and targets [ticks, outputs]."""
    (ticks, inputs), outputs = xs.shape, ys.shape[1]
    sizes = (f"-DTICKS={ticks}", f"-DINPUTS={inputs}", f"-DOUTPUTS={outputs}")
    made = library(("gru_bptt.c",), *sizes)
    bytes = (ctypes.c_uint64 * 2).in_dll(made, "gru_bptt_bytes")
    values, rows = packed([*(cell[name] for name in NAMES), out]), packed([xs, ys])
    if len(values) != bytes[0]:
        raise ValueError(f"{len(values)} bytes of weights for a struct of {bytes[0]}")
    weights, self, given, loss = (aligned(n) for n in (bytes[0], bytes[1], len(rows), 4))
    weights[:], given[:] = values, rows
    made.gru_bptt_init(pointer(self), pointer(weights))
    arguments = (pointer(self), pointer(given), pointer(loss))
    step = made.gru_bptt_step

    def run(n: int) -> None:
        for _ in range(n):
            step(*arguments)

    run(checked)
    readout = weights.view(np.float32)[-out.size :].reshape(out.shape)
    facts: dict[str, Any] = {"struct_bytes": int(bytes[1])}
    return Job(run, judge(readout.copy()), facts, keep=(self, weights, given, loss))
