"""Handwritten digits as a stream of rows, whose world changes on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROWS = 8


@dataclass(frozen=True)
class Stream:
    """Rows `[ticks, 8]` in 0..1 with the label of their image at each tick, and where the world changes."""

    rows: NDArray[np.float32]
    labels: NDArray[np.int32]
    changes: tuple[tuple[int, str], ...]

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.rows) // ROWS

    def image(self, index: int) -> NDArray[np.float32]:
        """The pixels `[8, 8]` of one image."""
        return self.rows[index * ROWS : (index + 1) * ROWS]

    def first(self, images: int) -> Stream:
        """The beginning of the stream."""
        return Stream(self.rows[: images * ROWS], self.labels[: images * ROWS], self.changes)


def stream(images: int, seed: int) -> Stream:
    """Upright digits, then inverted ones (white on black becomes black on white), then rotated by a quarter.

    The images are scikit-learn's bundled set (Alpaydin & Kaynak 1998, 1,797 images of 8 by 8), drawn in a new random order
    at each pass. The shifts come after 45 % and 75 % of the images.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(len(digits.target)) for _ in range(-(-images // len(digits.target)))]
    )
    order = order[:images]
    pixels = (digits.images[order] / 16).astype(np.float32)
    inverted, rotated = int(images * 0.45), int(images * 0.75)
    pixels[inverted:rotated] = 1 - pixels[inverted:rotated]
    pixels[rotated:] = np.rot90(pixels[rotated:], axes=(1, 2))
    labels = np.repeat(digits.target[order].astype(np.int32), ROWS)
    changes = ((0, "upright"), (inverted, "inverted"), (rotated, "rotated"))
    return Stream(np.ascontiguousarray(pixels.reshape(-1, ROWS)), labels, changes)
