"""Words to listen to: by espeak-ng where it is installed, else by a small formant synthesiser.

The synthesiser adds up the harmonics of a voice, each as loud as the resonances of the mouth make it at that moment, and
noise in a band of its own for s, f, t and p. Resonances glide from sound to sound (Klatt 1980, in the frequency domain).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from typing import Any

import numpy as np

RATE, LENGTH = 8000, 4096
"""Samples per second, and of an utterance: half a second."""

Array = np.ndarray[Any, Any]

WORDS = {
    "yes": "j e s",
    "no": "n o u",
    "stop": "s t a p",
    "go": "g o u",
    "left": "l e f t",
    "right": "r a i t",
}
SOUNDS: dict[str, tuple[float, ...]] = {
    # ms, voice, formants 1, 2, 3 (Hz), noise, its centre and width (Hz)
    "j": (50, 0.7, 280, 2200, 2900, 0, 0, 1), "e": (110, 1.0, 560, 1800, 2500, 0, 0, 1), "a": (120, 1.0, 740, 1150, 2500, 0, 0, 1),
    "o": (110, 1.0, 500, 900, 2400, 0, 0, 1), "u": (70, 0.8, 330, 820, 2300, 0, 0, 1), "i": (80, 0.9, 300, 2250, 3000, 0, 0, 1),
    "n": (70, 0.5, 260, 1350, 2500, 0, 0, 1), "l": (60, 0.6, 360, 1200, 2700, 0, 0, 1), "r": (60, 0.6, 380, 1150, 1600, 0, 0, 1),
    "g": (40, 0.2, 250, 1900, 2300, 0.4, 1800, 500), "s": (100, 0.0, 400, 1700, 2600, 1.0, 3500, 500),
    "f": (80, 0.0, 350, 1100, 2300, 0.3, 2200, 2500), "t": (45, 0.0, 350, 1750, 2600, 0.8, 3000, 900),
    "p": (45, 0.0, 350, 900, 2300, 0.5, 900, 700),
}  # fmt: skip


def utterances(count: int, seed: int = 0, voice: str = "auto") -> tuple[Array, Array]:
    """`(samples [count, 4096], word [count])`: a word by some voice, somewhere in noise; word 6 is any other sound."""
    rng = np.random.default_rng(seed)
    speak = (
        spoken
        if voice == "espeak" or (voice == "auto" and shutil.which("espeak-ng"))
        else synthesised
    )
    label = rng.integers(0, len(WORDS) + 1, count).astype(np.int32)
    return np.stack([placed(speak(int(k), rng), rng) for k in label]), label


def synthesised(word: int, rng: np.random.Generator) -> Array:
    """A word, or other sounds in any order, by a voice of random pitch, size and speed."""
    if word < len(WORDS):
        sounds = list(WORDS.values())[word].split()
    else:
        sounds = list(rng.choice(list(SOUNDS), rng.integers(1, 4)))
    pitch, size, speed = rng.uniform(90, 220), rng.uniform(0.88, 1.15), rng.uniform(0.8, 1.2)
    steps = np.array([SOUNDS[s] for s in sounds]) * rng.uniform(0.93, 1.07, (len(sounds), 8))
    lengths = (steps[:, 0] * speed * RATE / 1000).astype(int)
    middle = np.cumsum(lengths) - lengths / 2
    time = np.arange(lengths.sum())
    voiced, f1, f2, f3, noisy = (np.interp(time, middle, steps[:, k]) for k in (1, 2, 3, 4, 5))
    tone = (pitch * (1.1 - 0.25 * time / len(time))).astype(np.float32)
    turn = np.exp(2j * np.pi * np.cumsum(tone, dtype=float) / RATE).astype(np.complex64)
    sound, voice_now = np.zeros(len(time)), np.ones(len(time), np.complex64)
    mouth = [
        (f.astype(np.float32) * size, g, b)
        for f, g, b in ((f1, 1.0, 60), (f2, 0.6, 90), (f3, 0.3, 140))
    ]
    for harmonic in range(1, int(RATE / 2 / tone.max())):
        voice_now *= turn
        sound += (
            voice_now.imag
            * voiced
            * sum(g / (1 + np.square((harmonic * tone - f) / b)) for f, g, b in mouth)
        )
    for k, (centre, width) in enumerate(steps[:, 6:]):
        if steps[k, 5] > 0:
            sound += (
                0.3
                * noisy
                * np.exp(-(((time - middle[k]) / (0.4 * lengths[k])) ** 4))
                * hiss(len(time), centre, width, rng)
            )
    return sound


def hiss(ticks: int, centre: float, width: float, rng: np.random.Generator) -> Array:
    """Noise in a band of frequencies, of variance 1."""
    spectrum = np.fft.rfft(rng.normal(size=ticks))
    spectrum *= np.exp(-(((np.fft.rfftfreq(ticks, 1 / RATE) - centre) / width) ** 2))
    noise = np.fft.irfft(spectrum, ticks)
    return noise / (noise.std() + 1e-9)


def spoken(word: int, rng: np.random.Generator) -> Array:
    """A word, or another one, by espeak-ng."""
    others = ("down", "bird", "seven", "house", "on", "cat")
    text = [*WORDS, str(rng.choice(others))][word]
    voice = f"en+{rng.choice(['m1', 'm3', 'm5', 'f1', 'f3', 'f5'])}"
    speed, pitch = str(rng.integers(170, 230)), str(rng.integers(20, 80))
    command = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "--stdout", text]
    done = subprocess.run(command, capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        rate, data = file.getframerate(), np.frombuffer(file.readframes(1 << 24), np.int16) / 32768
    loud = np.flatnonzero(np.abs(data) > 0.02)
    data = data[loud[0] : loud[-1]] if len(loud) else data
    smooth = np.convolve(data, np.ones(max(rate // RATE, 1)) / max(rate // RATE, 1), "same")
    return np.interp(np.arange(0, len(smooth), rate / RATE), np.arange(len(smooth)), smooth)


def placed(sound: Array, rng: np.random.Generator) -> Array:
    """A sound in an utterance of noise: it ends in the last fifth, and is as loud as it happens to be."""
    sound = sound[:LENGTH] / (np.abs(sound[:LENGTH]).max() + 1e-9) * 10 ** rng.uniform(-0.8, 0)
    end = int(rng.integers(max(int(0.8 * LENGTH), len(sound)), LENGTH + 1))
    whole = 0.01 * rng.normal(size=LENGTH)
    whole[end - len(sound) : end] += sound
    return whole.astype(np.float32)
