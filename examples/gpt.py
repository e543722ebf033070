"""A small GPT of characters: trained and prefilled in space, decoding in time with a ring of keys and values.

The blocks are written once. In space they take all characters of a text at once, and attention is a masked product; in time
they take one character per tick, and attention looks into its ring. Both give the same bits, and a prompt that was read in
space is continued in time.

Vaswani et al. 2017; Radford et al. 2019; with rotary positions and RMS norms as in LLaMA (Touvron et al. 2023).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import seiche as sc
from examples import show, text
from examples.trained import weights
from seiche import f32, i32, learn, node, state
from seiche.ir import tree

SIZE, BLOCKS, WINDOW = 32, 2, 64
PIECES = 1500
"""Of text, to train on."""
VOCABULARY = len(text.SYMBOLS)
EMBED = learn.Embedding(
    VOCABULARY, SIZE, table=lambda key, shape, format: 0.2 * learn.normal(key, shape, format)
)
NORM = learn.RMSNorm(SIZE)
ATTENTION = learn.Attention(SIZE, heads=2, window=WINDOW, rotary=10000.0)
MLP = learn.MLP((SIZE, 4 * SIZE, SIZE), activation=sc.relu, bias=False)
ADAM = learn.Adam(rate=0.004)

Attend = Callable[[int, sc.Stream], sc.Stream]


def parameters(seed: int = 0) -> dict[str, Any]:
    """Fresh ones; symbols in and out share their table."""
    embed, *keys = sc.Key.of(seed).split(1 + BLOCKS)
    parts = [key.split() for key in keys]
    blocks = tuple(
        {
            "attention": ATTENTION.init(a),
            "mlp": MLP.init(m),
            "before": NORM.init(),
            "between": NORM.init(),
        }
        for a, m in parts
    )
    return {"embed": EMBED.init(embed), "blocks": blocks, "last": NORM.init()}


def model(w: Any, symbols: sc.Stream, attend: Attend) -> sc.Stream:
    """The logits of what comes after each symbol: of one `[]`, or of many `[n]`; `attend` says how block k looks back."""
    x = EMBED(w["embed"], symbols)
    for k, block in enumerate(w["blocks"]):
        x = x + attend(k, NORM(block["before"], x))
        x = x + MLP(block["mlp"], NORM(block["between"], x))
    return EMBED.logits(w["embed"], NORM(w["last"], x))


def read(w: Any, symbols: sc.Stream) -> tuple[sc.Stream, list[Any]]:
    """In space (prefill): the logits after each of the symbols `[n]`, and each block's ring after the last."""
    rings: list[Any] = []

    def attend(k: int, x: sc.Stream) -> sc.Stream:
        y, ring = ATTENTION.prefill(w["blocks"][k]["attention"], x)
        rings.append(ring)
        return y

    return model(w, symbols, attend), rings


def follow(w: Any, symbol: sc.Stream, rings: Any = None) -> sc.Stream:
    """In time (decoding): the logits after this tick's symbol; the rings are empty at first, or what `read` left."""

    def attend(k: int, x: sc.Stream) -> sc.Stream:
        return ATTENTION(
            w["blocks"][k]["attention"], x, initial=None if rings is None else rings[k]
        )

    return model(w, symbol, attend)


@node
def reader(symbols: Any, w: Any = None) -> tuple[sc.Stream, list[Any]]:
    """In space: logits `[n, 97]` and rings."""
    return read(parameters() if w is None else w, symbols)


@node
def follower(symbol: i32, w: Any = None, rings: Any = None) -> sc.Stream:
    """In time: logits `[97]`."""
    return follow(parameters() if w is None else w, symbol, rings)


@node
def writer(warmth: f32, start: int, w: Any = None, rings: Any = None, seed: int = 0) -> sc.Stream:
    """A symbol per tick, drawn with the temperature `warmth`, each fed back to the next."""
    tick, symbol = state(0), state(np.int32(start))
    tick.next = tick + 1
    logits = follow(parameters() if w is None else w, symbol, rings)
    symbol.next = sc.random.categorical(
        sc.random.fold_in(sc.random.key(seed), tick), logits / warmth
    )
    return symbol.next


def objective(w: Any, piece: sc.Stream) -> sc.Stream:
    """The mean loss of all but the first symbol of a piece."""
    return learn.cross_entropy(read(w, piece[:-1])[0], piece[1:])


@node
def trainer(piece: i32[WINDOW + 1]) -> sc.Stream:
    """A piece of text per tick: its loss before the step."""
    w, moments = state(parameters()), state(ADAM.init(parameters()))
    loss, dw = sc.value_and_grad(objective)(w, piece)
    w.next, moments.next = ADAM.update(dw, moments, w)
    return loss


def pieces(symbols: text.Array) -> text.Array:
    """`[n, 65]`: pieces that overlap by a symbol, so that every symbol but the first is predicted once."""
    starts = np.arange(0, len(symbols) - WINDOW, WINDOW)
    return np.stack([symbols[i : i + WINDOW + 1] for i in starts])


def main() -> None:
    """Runs it."""
    show.title("A small GPT: prefill in space, decoding in time")
    symbols = text.library(PIECES * WINDOW + 1)
    order = np.random.default_rng(0).permutation(PIECES)
    program = sc.compile(trainer, target="c")
    began = time.perf_counter()
    loss = program.run(pieces(symbols)[order]) / np.log(2)
    spent = time.perf_counter() - began
    w = weights(program, "w", parameters())
    show.fact(
        "parameters, characters", f"{sum(x.size for x in tree.flatten(w)[0]):,}, {len(symbols):,}"
    )
    show.fact(
        "training, each piece once",
        f"{spent:.1f} s, {spent / len(symbols) * 1e6:.0f} µs per character",
    )
    show.fact(
        "  bits per character before each step, 7 to 2",
        show.line(loss.reshape(50, -1).mean(1), 2, 7),
    )
    show.fact(
        "  of the last 150 pieces",
        f"{loss[-150:].mean():.2f}; by frequencies alone {text.unigram_bits(symbols, symbols):.2f}",
    )

    prompt = text.encoded("    def __init__(self, ")
    logits, rings = sc.compile(reader, i32[prompt.shape], w=w).step(prompt)
    ticked = sc.compile(follower, w=w).run(prompt)
    show.fact(
        "prompt in space and tick by tick",
        "the same bits" if ticked.tobytes() == logits.tobytes() else "DIFFERENT BITS",
    )
    first = int(logits[-1].argmax())
    device = sc.compile(writer, w=w, rings=rings, start=first, target="c")
    warmth = np.full(240, 0.6, np.float32)
    began = time.perf_counter()
    said = device.run(warmth)
    spent = time.perf_counter() - began
    cost = device.report().as_dict()
    show.fact("decoding", f"{spent / len(said) * 1e6:.0f} µs per character")
    show.fact(
        "memory of an instance, constants",
        f"{cost['struct_bytes']:,} B, {cost['constant_bytes']:,} B",
    )
    again = sc.compile(writer, w=w, rings=rings, start=first).run(warmth[:60])
    show.fact(
        "interpreter and C, 60 characters",
        "the same" if np.array_equal(again, said[:60]) else "DIFFERENT",
    )
    print(
        "\n".join(
            f"    │ {row}".rstrip()
            for row in text.decoded(np.array([*prompt, first, *said])).splitlines()
        )
    )
    show.look(
        "model() in examples/gpt.py: the blocks, once; read() and follow(): how each looks back;",
        "writer(): the rings that were filled in space are where decoding starts.",
    )


if __name__ == "__main__":
    main()
