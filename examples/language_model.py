"""A GRU language model that learns online by truncated back-propagation through time.

Python's own library passes by, a character per tick. Each character is predicted first; every 32 ticks the model learns from
the 32 that it has just seen. The hidden value goes on from piece to piece, the gradient does not. The same learner is written
twice: in time, where a piece is a frame and the gradient is a costate of its ticks; and in space, where 32 ticks are gathered
and the recurrence runs over an axis.

Williams & Peng 1990 (truncation); Mikolov et al. 2010 (learning while testing).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import seiche as sc
from examples import show, text
from seiche import i32, learn, node, state
from seiche.ir import tree

PIECE, HIDDEN = 32, 64
"""Ticks between two steps of learning, which is also how far back the gradient goes."""
VOCABULARY = len(text.SYMBOLS)
EMBED, GRU, HEAD = (
    learn.Embedding(VOCABULARY, 24),
    learn.GRU(24, HIDDEN),
    learn.Dense(HIDDEN, VOCABULARY),
)
ADAM = learn.Adam(rate=0.004)


def parameters(seed: int = 0) -> dict[str, Any]:
    """Fresh ones."""
    embed, gru, head = sc.Key.of(seed).split(3)
    return {"embed": EMBED.init(embed), "gru": GRU.init(gru), "head": HEAD.init(head)}


def objective(
    w: Any, before: sc.Stream, symbol: sc.Stream, coming: sc.Stream
) -> tuple[sc.Stream, sc.Stream]:
    """The loss of one character, and the hidden value after it; `before` is the hidden value where the piece began."""
    hidden = GRU(w["gru"], EMBED(w["embed"], symbol), initial=before)
    return learn.cross_entropy(HEAD(w["head"], hidden), coming), hidden


def stepped(w: Any, moments: Any, total: Any) -> tuple[Any, Any]:
    """An Adam step by the mean gradient of a piece, clipped."""
    mean = learn.clip_by_global_norm(tree.map_tree(lambda d: d / float(PIECE), total), 1.0)
    return ADAM.update(mean, moments, w)


@node
def in_time(symbol: i32, coming: i32) -> sc.Stream:
    """A piece is a frame. Nats per character, once per piece."""
    tick = state(0)
    tick.next = sc.where(tick == PIECE - 1, 0, tick + 1)
    w, moments, hidden = (
        state(parameters()),
        state(ADAM.init(parameters())),
        state(np.zeros(HIDDEN)),
    )
    ends = (tick == PIECE - 1) & (
        symbol >= 0
    )  # a count alone would be at no clock; symbols always are
    with sc.frame(max=PIECE, until=ends) as piece:
        (loss, after), dw = sc.value_and_grad(objective, has_aux=True)(w, hidden, symbol, coming)
    hidden.next = piece.last(after)
    w.next, moments.next = stepped(w, moments, piece.sum(dw))
    return piece.sum(loss) / float(PIECE)


@node
def in_space(symbol: i32, coming: i32) -> sc.Stream:
    """A piece is an axis. Nats per character, once per piece."""
    symbols, comings = sc.gather((symbol, coming), PIECE)
    w, moments, hidden = (
        state(parameters()),
        state(ADAM.init(parameters())),
        state(np.zeros(HIDDEN)),
    )

    def piece(w: Any) -> tuple[sc.Stream, sc.Stream]:
        losses, after = sc.over_time(lambda *row: objective(w, hidden, *row))(symbols, comings)
        return losses.sum(), after[-1]

    (loss, hidden.next), dw = sc.value_and_grad(piece, has_aux=True)(w)
    w.next, moments.next = stepped(w, moments, dw)
    return loss / float(PIECE)


def main() -> None:
    """Runs it."""
    show.title("A GRU language model, online, by truncated back-propagation through time")
    symbols = text.library(128_001)
    given = symbols[:-1], symbols[1:]
    costs, seconds, nats = {}, {}, {}
    for form in (in_time, in_space):
        program = sc.compile(form, target="c")
        began = time.perf_counter()
        nats[form] = program.run(*given).values
        seconds[form], costs[form] = time.perf_counter() - began, program.report().as_dict()
    bits = nats[in_time] / np.log(2)
    show.fact(
        "characters, parameters",
        f"{len(symbols) - 1:,}, {sum(x.size for x in tree.flatten(parameters())[0]):,}",
    )
    show.fact("bits per character, first 4,000", f"{bits[:125].mean():.2f}")
    show.fact("  last 16,000, each before it is learnt from", f"{bits[-500:].mean():.2f}")
    show.fact("  by frequencies of the whole text", f"{text.unigram_bits(*given):.2f}")
    show.fact("  over the stream, 6 to 2", show.line(bits.reshape(50, -1).mean(1), 2, 6))
    for form, name in (
        (in_time, "in time: a piece is a frame"),
        (in_space, "in space: a piece is an axis"),
    ):
        show.fact(
            name,
            f"{seconds[form] / len(given[0]) * 1e6:.0f} µs per character, {costs[form]['struct_bytes']:,} B",
        )
    apart = np.abs(nats[in_time] - nats[in_space])
    show.fact(
        "their losses differ, first 500 pieces and all",
        f"{apart[:500].max():.0e}, {apart.max():.0e} nats at most",
    )
    part = tuple(x[: 3 * PIECE] for x in given)
    same = sc.compile(in_time).run(*part).values.tobytes() == nats[in_time][:3].tobytes()
    show.fact("interpreter and C, 96 characters", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "in_time() and in_space() in examples/language_model.py: one objective, two places for its time to run;",
        "`hidden`: carried from piece to piece, seen by the gradient as a constant. That is all that truncation is.",
    )


if __name__ == "__main__":
    main()
