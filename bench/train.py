"""One training step of an MLP 784-128-10, online and in batches of 32, beside JAX, LiteRT, ONNX Runtime and C written by hand.

Online, the update is fused into the weights: no memory holds the gradient of the first layer. *Retimed*, it waits as its two factors
until the next tick reads these weights: one sweep over them per tick instead of two.
"""

from __future__ import annotations

from bench import contestants as c
from bench.measure import Entry, Times
from bench.perceptron import HIDDEN, INPUTS, Perceptron
from bench.race import IN_C, JAX, LITERT, ONNX, Race, run_race
from bench.report import Bench, Result

RETIMED_IN_C, RETIMED_BARE = "seiche in C, retimed", "seiche call, retimed"
RETIMED_BY_HAND = "C by hand, retimed"
ONLINE, LATER = Perceptron(1), Perceptron(1, retimed=True)
RACES = (
    Race(
        ONLINE, 1.3, {JAX: 1 / 4, ONNX: 1 / 4, LITERT: 1 / 4},
        (
            Entry(RETIMED_IN_C, c.seiche_in_c, (LATER,)),
            Entry(RETIMED_BARE, c.seiche_call, (LATER,)),
            Entry(RETIMED_BY_HAND, c.hand_in_c, (ONLINE, "retimed")),
        ),
        ((RETIMED_IN_C, RETIMED_BY_HAND, 1.3), (RETIMED_IN_C, IN_C, None)),
        (RETIMED_BARE, 1 / 4),
    ),
    Race(Perceptron(32), 1.5, {ONNX: 1.0, JAX: 1.0, LITERT: 1.0}),
)  # fmt: skip


def run(bench: Bench) -> Result:
    result = Result("train")
    for race in RACES[: bench.pick(len(RACES), 1)]:
        times = run_race(bench, result, race)
        if race.work is ONLINE:
            _buffers(result, times)
    return result


def _buffers(result: Result, times: dict[str, Times]) -> None:
    """A gradient of the first layer would be as large as the layer."""
    scratch = int(times[IN_C].facts["scratch_bytes"])
    layer = 4 * INPUTS * HIDDEN
    result.claim(
        f"{ONLINE.title}: gradient buffers of the first layer ({layer} bytes), with {scratch} bytes of scratch in all",
        "0", str(scratch // layer), scratch < layer,
    )  # fmt: skip
