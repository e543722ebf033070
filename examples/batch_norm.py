"""Batch normalisation on a stream: a batch is a frame, its mean and variance are `last`, and the gradient goes through them.

Digits come from a sensor that nobody calibrated: every pixel has a gain and an offset of its own, over three decades.
Batches are as long as they happen to be. Each image is answered first, with the statistics of the batches before, and learnt
from when its batch is complete.

Ioffe & Szegedy 2015, algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import seiche as sc
from examples import show
from seiche import bool_, f32, i32, learn, node, state
from seiche.ir import tree

LARGEST = 32
"""Images of a batch, at most."""
NORMS = {"pixels": learn.BatchNorm(64), "hidden": learn.BatchNorm(32)}
HIDDEN, HEAD, ADAM = learn.Dense(64, 32), learn.Dense(32, 10), learn.Adam(rate=0.005)

Normalise = Callable[[str, sc.Stream], sc.Stream]


def parameters(seed: int = 0) -> dict[str, Any]:
    """Fresh ones."""
    hidden, head = sc.Key.of(seed).split()
    norms = {name: norm.init() for name, norm in NORMS.items()}
    return {**norms, "dense": HIDDEN.init(hidden), "head": HEAD.init(head)}


def statistics() -> dict[str, Any]:
    """Those to answer with before the first batch."""
    return {name: norm.statistics() for name, norm in NORMS.items()}


def classify(w: Any, pixels: sc.Stream, normalise: Normalise) -> sc.Stream:
    """The logits of an image (or of many), normalised by whatever statistics there are."""
    hidden = HIDDEN(w["dense"], normalise("pixels", pixels))
    return HEAD(w["head"], sc.relu(normalise("hidden", hidden)))


def objective(w: Any, pixels: sc.Stream, label: sc.Stream) -> tuple[sc.Stream, Any]:
    """The loss of an image in its batch, and the batch's moments, known at each of its ticks."""
    moments: dict[str, Any] = {}

    def by_batch(name: str, x: sc.Stream) -> sc.Stream:
        # Two `last`s: of the mean, and of the variance around it.
        moments[name] = NORMS[name].moments(x)
        return NORMS[name].inference(w[name], moments[name], x)

    return learn.cross_entropy(classify(w, pixels, by_batch), label), moments


def plain(w: Any, pixels: sc.Stream, label: sc.Stream) -> tuple[sc.Stream, Any]:
    """The same without normalisation, to compare with."""
    return learn.cross_entropy(classify(w, pixels, lambda _, x: x), label), statistics()


@node
def learner(pixels: f32[64], label: i32, closes: bool_, normal: bool = True) -> Any:
    """Test, then train: at every tick whether the answer was right; at the end of a batch its mean loss."""
    w, moments, known = state(parameters()), state(ADAM.init(parameters())), state(statistics())
    latest = state((parameters(), statistics()))  # at every tick, what the batches before left

    def by_history(name: str, x: sc.Stream) -> sc.Stream:
        return NORMS[name].inference(latest[0][name], latest[1][name], x) if normal else x

    right = sc.argmax(classify(latest[0], pixels, by_history)) == label
    with sc.frame(max=LARGEST, until=closes) as batch:
        slope = sc.value_and_grad(objective if normal else plain, has_aux=True)
        (loss, found), dw = slope(w, pixels, label)
        size = batch.sum(sc.constant(1.0))
    mean = tree.map_tree(lambda d: batch.sum(d) / size, dw)
    w.next, moments.next = ADAM.update(mean, moments, w)
    known.next = {
        name: norm.track(known[name], batch.last(found[name])) for name, norm in NORMS.items()
    }
    latest.next = sc.hold((w.next, known.next), (parameters(), statistics()))
    return right, batch.sum(loss) / size


@node
def slopes(pixels: f32[64], label: i32, closes: bool_) -> Any:
    """In time: the loss of each batch and its gradient, at fresh parameters."""
    with sc.frame(max=LARGEST, until=closes) as batch:
        (loss, _), dw = sc.value_and_grad(objective, has_aux=True)(parameters(), pixels, label)
    return batch.sum(loss), tree.map_tree(batch.sum, dw)


@node
def whole_slopes(pixels: Any, label: Any) -> Any:
    """In space: the same of one batch at once, `f32[n, 64]` and `i32[n]`, by the layers' other form."""

    def batch(w: Any) -> sc.Stream:
        logits = classify(w, pixels, lambda name, x: NORMS[name].in_space(w[name], x))
        return label.shape[0] * learn.cross_entropy(logits, label)

    return sc.value_and_grad(batch)(parameters())


def digits(images: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], ...]:
    """`(pixels, label, closes)`: scikit-learn's digits through an uncalibrated sensor, in batches of 8 to 32."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    data = load_digits()
    gain, offset = 10 ** rng.uniform(-1.5, 1.5, 64), 10 ** rng.uniform(-1.5, 1.5, 64)
    order = rng.integers(0, len(data.target), images)
    pixels = (data.data[order] / 16 * gain + offset).astype(np.float32)
    ends = np.cumsum(rng.integers(8, LARGEST + 1, images)) - 1
    return pixels, data.target[order].astype(np.int32), np.isin(np.arange(images), ends)


def main() -> None:
    """Runs it."""
    show.title("Batch normalisation on a stream: the batch is a frame, its statistics are `last`")
    given = digits(6000)
    for normal, name in ((False, "without normalisation"), (True, "with")):
        program = sc.compile(learner, normal=normal, target="c")
        right, loss = program.run(*given)
        show.fact(f"right of the last 1000 images, {name}", f"{right[-1000:].mean():.1%}")
        show.fact("  over the stream, 0 to 100 %", show.line(right.reshape(40, -1).mean(1), 0, 1))
    show.fact("batches, of 8 to 32 images", len(loss))
    report = program.report()
    sweeps = " ".join("←" if sweep.reverse else "→" for sweep in report.plan.sweeps)
    show.fact("sweeps over a batch, gradient included", sweeps)
    show.fact("memory of an instance", f"{report.plan.struct_bytes:,} B")
    program.reset()
    part = tuple(x[:100] for x in given)
    (a, b), (c, d) = program.run(*part), sc.compile(learner).run(*part)
    same = a.tobytes() == c.tobytes() and b.values.tobytes() == d.values.tobytes()
    show.fact("interpreter and C, 100 images", "the same bits" if same else "DIFFERENT BITS")
    end = int(np.flatnonzero(given[2])[0]) + 1
    _, dw = sc.compile(slopes, target="c").run(*(x[:end] for x in given))
    _, all_at_once = sc.compile(whole_slopes, f32[end, 64], i32[end]).step(
        given[0][:end], given[1][:end]
    )
    weight = all_at_once["dense"]["weight"]
    apart = np.abs(dw["dense"]["weight"].values[0] - weight).max() / np.abs(weight).max()
    show.fact("gradient, streamed against whole", f"differs by {apart:.0e} of the largest")
    show.look(
        "objective() in examples/batch_norm.py: it reads like a loss of one image, and is one of a whole batch;",
        "moments() in seiche/learn/batch_norm.py: twelve lines, no special case for the gradient.",
    )


if __name__ == "__main__":
    main()
