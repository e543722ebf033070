"""An online learner of digits that arrive row by row, with the automaton that runs it: one node."""

from __future__ import annotations

from typing import Any

import seiche as sc
from seiche import f32, i32, learn, node, state

GRU = learn.GRU(8, 32)
READOUT = learn.Dense(32, 10)
MLP = learn.MLP((64, 48, 10))

WARM_UP = 150
"""Images before the accuracy means anything."""
MODES = ("warm up", "learn", "hold", "relearn")


def start(seed: int) -> dict[str, Any]:
    """Fresh parameters of both models."""
    gru, readout, mlp = sc.Key.of(seed).split(3)
    return {"gru": GRU.init(gru), "readout": READOUT.init(readout), "mlp": MLP.init(mlp)}


def answers(w: Any, image: sc.Stream) -> dict[str, sc.Stream]:
    """What each model says of an image; the GRU reads it row by row."""
    image = 2 * image - 1
    hidden = sc.over_time(lambda row: GRU(w["gru"], row))(image)
    return {"gru": READOUT(w["readout"], hidden[-1]), "mlp": MLP(w["mlp"], image.reshape(64))}


def loss(w: Any, image: sc.Stream, label: sc.Stream) -> sc.Stream:
    """Both models' cross-entropy. The GRU's gradient is back-propagation through the time of the frame."""
    said = answers(w, image)
    return learn.cross_entropy(said["gru"], label) + learn.cross_entropy(said["mlp"], label)


@node
def digits(row: f32[8], label: i32, seed: int = 0) -> dict[str, sc.Stream]:
    """A tick is a row; eight rows are an image: a tick of the slower clock, on which everything below runs."""
    image, labels = sc.gather((row, label), 8)
    truth = labels[-1]
    w = state(start(seed))
    moments = state(learn.Adam().init(start(seed)))

    # Test, then train: the answers are those of the parameters before this image.
    said = answers(w, image)
    both = sc.softmax(said["gru"]) + sc.softmax(said["mlp"])
    right = {name: logits.argmax() == truth for name, logits in {**said, "both": both}.items()}
    accuracy = state(0.0)
    accuracy.next = accuracy + 0.02 * (sc.where(right["both"], 1.0, 0.0) - accuracy)

    with sc.automaton() as control:
        with control.mode("warm up") as m:
            seen = state(0)
            seen.next = seen + 1
            m.emit(rate=0.003)
            m.until(seen == WARM_UP, "relearn")
        with control.mode("learn") as m:
            m.emit(rate=0.002)
            m.until(accuracy > 0.97, "hold")
            m.until(accuracy < 0.8, "relearn")
        with control.mode("hold") as m:
            m.emit(rate=0.0)
            m.until(accuracy < 0.92, "learn")
        with control.mode("relearn") as m:
            m.emit(rate=0.003)
            m.until(accuracy > 0.93, "learn")

    training = control.rate > 0
    with sc.every(training):  # while the model holds, nothing in here is computed
        dw = sc.grad(loss)(w, image, truth)
        better, moved = learn.Adam(control.rate).update(dw, moments, w)
    w.next, moments.next = kept(training, better, w), kept(training, moved, moments)
    return {"accuracy": accuracy.next, "mode": control.current, **right}


def kept(c: sc.Stream, new: Any, old: Any) -> Any:
    """`new` where c, else what there was."""
    return sc.merge(c, new, sc.when(old, c, on=False))
