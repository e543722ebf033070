"""A bidirectional LSTM tagger on a stream: the forward LSTM is a state of the sentence, the backward one a costate.

In this little language the verb comes last and decides who did what to whom: an active verb makes the first noun the agent
and the second the patient, a passive one the other way round. Adjectives belong to the noun that follows, adverbs and
particles to nobody. So most words cannot be tagged before the verb is heard. A sentence is a frame that closes at the verb,
and tags leave the stream late by as much as the longest sentence.

Schuster & Paliwal 1997; Graves & Schmidhuber 2005.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import seiche as sc
from examples import show
from seiche import costate, i32, learn, node, state

LONGEST = 16
"""Words of a sentence, at most."""
NOUNS, ADJECTIVES, ADVERBS, ACTIVE, PASSIVE = (
    range(8),
    range(8, 14),
    range(14, 20),
    range(20, 24),
    range(24, 28),
)
TAGS = ("agent", "patient", "other", "verb")
EMBED, HIDDEN = learn.Embedding(28, 8), 12
LSTM, ADAM = learn.LSTM(8, HIDDEN), learn.Adam(rate=0.01)
HEAD = learn.Dense(2 * HIDDEN, len(TAGS))


def parameters(seed: int = 0) -> dict[str, Any]:
    """Fresh ones."""
    embed, forward, backward, head = sc.Key.of(seed).split(4)
    return {
        "embed": EMBED.init(embed), "forward": LSTM.init(forward), "backward": LSTM.init(backward), "head": HEAD.init(head),
    }  # fmt: skip


def from_behind(w: Any, x: sc.Stream) -> sc.Stream:
    """The LSTM from the last word to the first: what its memory was a word later is a costate."""
    zero = sc.zeros(HIDDEN)
    memory = costate((zero, zero))
    memory.prev = LSTM.step(w, (memory[0], memory[1]), x)
    return memory.prev[0]


def tag(w: Any, word: sc.Stream, ahead: bool = True) -> sc.Stream:
    """The logits of a word's tags, from the words before it and (with `ahead`) those after it in its sentence."""
    x = EMBED(w["embed"], word)
    past = LSTM(w["forward"], x)
    future = from_behind(w["backward"], x) if ahead else sc.zeros(HIDDEN)
    return HEAD(w["head"], sc.concatenate([past, future]))


def objective(
    w: Any, word: sc.Stream, truth: sc.Stream, ahead: bool
) -> tuple[sc.Stream, sc.Stream]:
    """The loss of a word, and the tag that it was given."""
    logits = tag(w, word, ahead)
    return learn.cross_entropy(logits, truth), sc.argmax(logits)


@node
def tagger(word: i32, truth: i32, ahead: bool = True) -> Any:
    """In time, test-then-train: the tag of every word, late, and the mean loss of every sentence."""
    w, moments = state(parameters()), state(ADAM.init(parameters()))
    with sc.frame(max=LONGEST, until=word >= ACTIVE.start) as sentence:
        slope = sc.value_and_grad(lambda *args: objective(*args, ahead), has_aux=True)
        (loss, said), dw = slope(w, word, truth)
        words = sentence.sum(sc.constant(1.0))
    w.next, moments.next = ADAM.update(sentence.sum(dw), moments, w)
    return said, sentence.sum(loss) / words


@node
def slopes(word: i32, truth: i32) -> Any:
    """In time: the logits of every word, the loss of every sentence and its gradient, at fresh parameters."""
    with sc.frame(max=LONGEST, until=word >= ACTIVE.start) as sentence:
        loss, dw = sc.value_and_grad(lambda *args: objective(*args, True)[0])(
            parameters(), word, truth
        )
        logits = tag(parameters(), word)
    return logits, sentence.sum(loss), sentence.sum(dw)


@node
def whole_slopes(words: Any, truth: Any) -> Any:
    """In space: the same of one sentence at once, `i32[n]`."""

    def sentence(w: Any) -> sc.Stream:
        return sc.over_time(lambda *rows: objective(w, *rows, True)[0])(words, truth).sum()

    loss, dw = sc.value_and_grad(sentence)(parameters())
    return sc.over_time(lambda word: tag(parameters(), word))(words), loss, dw


def talk(sentences: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Words and their tags, `[ticks]` each: sentences of 5 to 16 words, one after the other."""
    rng = np.random.default_rng(seed)
    words: list[int] = []
    tags: list[int] = []
    for _ in range(sentences):
        passive = bool(rng.integers(2))
        for role in (1, 0) if passive else (0, 1):
            adjectives, adverbs = (
                rng.choice(ADJECTIVES, rng.integers(0, 4)),
                rng.choice(ADVERBS, rng.integers(1, 4)),
            )
            words += [*adjectives, rng.choice(NOUNS), *adverbs]
            tags += [role] * (len(adjectives) + 1) + [2] * len(adverbs)
        words.append(int(rng.choice(PASSIVE if passive else ACTIVE)))
        tags.append(3)
    return np.array(words, np.int32), np.array(tags, np.int32)


def accuracy(said: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> str:
    """The share of right tags: of all words, and of those whose tag the verb decides."""
    decided = truth < 2
    return f"{np.mean(said == truth):.1%} of all words, {np.mean((said == truth)[decided]):.1%} of agents and patients"


def main() -> None:
    """Runs it."""
    show.title("A bidirectional LSTM tagger: the past is a state, the future a costate")
    words, truth = talk(2500)
    ends = words >= ACTIVE.start
    late = len(words) - 3000
    show.fact("words, sentences, tags", f"{len(words):,}, {ends.sum():,}, {len(TAGS)}")
    for ahead, name in ((False, "the past only"), (True, "past and future")):
        program = sc.compile(tagger, ahead=ahead, target="c")
        said, loss = program.run(words, truth)
        show.fact(f"right of the last 3000, {name}", accuracy(said[late:], truth[late:]))
        show.fact(
            "  loss over the stream, 0 to 1.4 nats",
            show.line(loss.values.reshape(50, -1).mean(1), 0, 1.4),
        )
    report = program.report()
    show.fact("a tag leaves late by, at most", f"{program.latency[0]} words")
    show.fact(
        "sweeps over a sentence, gradient included",
        " ".join("←" if s.reverse else "→" for s in report.plan.sweeps),
    )
    show.fact("memory of an instance", f"{report.plan.struct_bytes:,} B")
    program.reset()
    again, first = (
        program.run(words[:120], truth[:120]),
        sc.compile(tagger).run(words[:120], truth[:120]),
    )
    same = (
        first[0].tobytes() == again[0].tobytes()
        and first[1].values.tobytes() == again[1].values.tobytes()
    )
    show.fact("interpreter and C, 120 words", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "from_behind() in examples/tagger.py: the LSTM's own step, with `.prev` where a forward LSTM has `.next`;",
        "tagger(): the sentence closes where the verb is heard, and is answered and learnt from there.",
    )


if __name__ == "__main__":
    main()
