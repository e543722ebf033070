"""The spotter: a streaming spectrum, causal convolutions, and the same model over a whole utterance for training.

Every function takes a block of samples (in time) or a whole utterance (in space); what differs is who remembers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import seiche as sc
from examples.keywords.speech import LENGTH, RATE, WORDS
from seiche import f32, i32, learn, node, state

HOP, WINDOW, BANDS = 128, 256, 20
"""Samples between spectra and in each; mel bands of a spectrum."""
HOPS = LENGTH // HOP
CHANNELS = 16
CONVS = (
    learn.Conv1D(BANDS, CHANNELS, 3), learn.Conv1D(CHANNELS, CHANNELS, 3, dilation=2),
    learn.Conv1D(CHANNELS, CHANNELS, 3, dilation=4), learn.Conv1D(CHANNELS, CHANNELS, 3, dilation=6),
)  # fmt: skip
"""They hear 27 hops back: 0.43 s."""
HEAD, ADAM = learn.Dense(CHANNELS, len(WORDS) + 1), learn.Adam(learn.Cosine(0.01, 1600, 0.0005))


def fourier() -> np.ndarray[Any, Any]:
    """`[256, 258]`: the windowed discrete Fourier transform of real samples as one product: cosines, then sines."""
    turns = 2 * np.pi * np.outer(np.arange(WINDOW), np.arange(WINDOW // 2 + 1)) / WINDOW
    return (np.hanning(WINDOW)[:, None] * np.hstack([np.cos(turns), np.sin(turns)])).astype(
        np.float32
    )


def mel() -> np.ndarray[Any, Any]:
    """`[129, 20]`: triangles, evenly spaced on the mel scale from 100 Hz to 4 kHz (Davis & Mermelstein 1980)."""
    low, high = 2595 * np.log10(1 + np.array([100, RATE / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    up, down = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


def loudness(samples: sc.Stream) -> sc.Stream:
    """Log mel spectra `[*, 20]` of windows `[*, 256]`."""
    parts = samples @ fourier()
    half = WINDOW // 2 + 1
    power = sc.square(parts[..., :half]) + sc.square(parts[..., half:])
    return 0.25 * sc.log(power @ mel() + 1e-3)


@node
def hear(block: f32[HOP]) -> sc.Stream:
    """In time: the spectrum of this block and the one before."""
    before = state(np.zeros(HOP))
    before.next = block
    return loudness(sc.concatenate([before, block]))


def hear_whole(samples: sc.Stream) -> sc.Stream:
    """In space: all spectra `[hops, 20]` of the samples `[hops * 128]`."""
    blocks = samples.reshape(samples.shape[0] // HOP, HOP)
    before = sc.concatenate([np.zeros((1, HOP), np.float32), blocks[:-1]])
    return loudness(sc.concatenate([before, blocks], axis=1))


def parameters(seed: int = 0) -> dict[str, Any]:
    """Fresh ones."""
    *convs, head = sc.Key.of(seed).split(len(CONVS) + 1)
    return {
        "convs": tuple(c.init(k) for c, k in zip(CONVS, convs, strict=True)),
        "head": HEAD.init(head),
    }


def understand(w: Any, spectrum: sc.Stream, whole: bool = False) -> sc.Stream:
    """The logits of the words: of what was heard up to this spectrum, or (with `whole`) up to each of many."""
    x = spectrum
    for conv, params in zip(CONVS, w["convs"], strict=True):
        x = sc.relu(conv.in_space(params, x) if whole else conv(params, x))
    return HEAD(w["head"], x)


@node
def spotter(sample: f32, w: Any = None) -> Any:
    """In time, a sample per tick: every 128 ticks the logits of the words, and a new guess."""
    logits = understand(parameters() if w is None else w, hear(sc.gather(sample, HOP)))
    return logits, sc.argmax(logits)


@node
def whole(samples: Any, w: Any = None) -> Any:
    """In space: the logits `[hops, 7]` of samples at once."""
    return understand(parameters() if w is None else w, hear_whole(samples), whole=True)


def objective(w: Any, samples: sc.Stream, word: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """The loss of an utterance's last two hops, and whether the last guess is right."""
    logits = understand(w, hear_whole(samples), whole=True)[-2:]
    loss = learn.cross_entropy(logits, sc.stack([word, word]))
    return loss, sc.argmax(logits[1]) == word


@node
def trainer(samples: f32[LENGTH], word: i32) -> Any:
    """An utterance per tick: the loss and whether the guess was right, then a step."""
    w, moments = state(parameters()), state(ADAM.init(parameters()))
    (loss, right), dw = sc.value_and_grad(objective, has_aux=True)(w, samples, word)
    w.next, moments.next = ADAM.update(dw, moments, w)
    return loss, right
