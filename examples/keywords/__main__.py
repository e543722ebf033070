"""`python -m examples.keywords`: makes speech, trains the spotter in space, and lets it listen in time."""

from __future__ import annotations

import shutil
import time

import numpy as np

import seiche as sc
from examples import show
from examples.keywords.speech import LENGTH, RATE, WORDS, utterances
from examples.keywords.spotter import HOP, HOPS, parameters, spotter, trainer, whole
from examples.trained import weights
from seiche import f32

TRAINING, PASSES, TEST = 450, 4, 150
CLASSES = (*WORDS, "other")


def main() -> None:
    """Runs it."""
    show.title("A causal convolutional keyword spotter: trained in space, listening in time")
    samples, word = utterances(TRAINING)
    program = sc.compile(trainer, target="c")
    began = time.perf_counter()
    right = np.concatenate([program.run(samples, word)[1] for _ in range(PASSES)])
    spent = time.perf_counter() - began
    show.fact("speech", "espeak-ng" if shutil.which("espeak-ng") else "formant synthesis")
    show.fact("words", ", ".join(CLASSES))
    show.fact(
        "training",
        f"{TRAINING} utterances of {LENGTH / RATE:.2f} s, {PASSES} passes, {spent:.1f} s",
    )
    show.fact("  right, 0 to 100 %", show.line(right.reshape(-1, 45).mean(1), 0, 1))

    w = weights(program, "w", parameters())
    samples, word = utterances(TEST, seed=1)
    stream = samples.ravel()
    device = sc.compile(spotter, w=w, target="c")
    began = time.perf_counter()
    logits, guess = device.run(stream)
    spent = time.perf_counter() - began
    said = guess.values.reshape(TEST, HOPS)[:, -1]
    show.fact(
        f"new voices, {len(stream) / RATE:.0f} s sample by sample",
        f"{np.mean(said == word):.1%} right",
    )
    for k, name in enumerate(CLASSES):
        heard = said[word == k]
        show.fact(f"  {name}", f"{np.mean(heard == k):.0%} of {len(heard)}")
    show.fact(
        "real time",
        f"{len(stream) / RATE / spent:.0f} times: {spent / len(stream) * 1e6:.2f} µs per sample",
    )
    cost = device.report().as_dict()
    show.fact(
        "memory of an instance, constants",
        f"{cost['struct_bytes']:,} B, {cost['constant_bytes']:,} B",
    )

    part = stream[: 4 * LENGTH]
    at_once = sc.compile(whole, f32[part.shape], w=w).step(part)
    apart = np.abs(logits.values[: 4 * HOPS] - at_once).max()
    show.fact(
        "sample by sample against whole, 128 spectra",
        "the same bits" if apart == 0 else f"differ by {apart:.0e}",
    )
    interpreted = sc.compile(spotter, w=w).run(part[: 8 * HOP])[0].values
    same = interpreted.tobytes() == logits.values[:8].tobytes()
    show.fact("interpreter and C, 1024 samples", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "understand() in examples/keywords/spotter.py: one model for a spectrum in time and for all of them in space;",
        "hear() and hear_whole(): the streaming spectrum, whose only memory is a block of samples.",
    )


if __name__ == "__main__":
    main()
