"""The keyword spotter in every form, its spectrum against numpy's, its gradient against jax, and what it learns."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from examples.keywords import __main__ as page
from examples.keywords import speech
from examples.keywords import spotter as example
from examples.trained import weights
from seiche import f32, node
from tests.test_examples_forms import by_name, every_form, expect_same

SAMPLES, WORD = speech.utterances(3, seed=7, voice="formants")
STREAM = SAMPLES.ravel()


@pytest.mark.cc
def test_sample_by_sample_whole_and_as_c() -> None:
    logits, _ = every_form(example.spotter, STREAM[: 12 * example.HOP])
    assert logits.ticks.tolist() == [example.HOP * (k + 1) - 1 for k in range(12)]


@pytest.mark.cc
def test_in_space_it_is_the_same() -> None:
    logits, _ = sc.compile(example.spotter, target="c").run(STREAM)
    for target in ("interp", "c"):
        expect_same(
            logits.values, sc.compile(example.whole, f32[STREAM.shape], target=target).step(STREAM)
        )


@pytest.mark.parametrize("n", [4, 8])
def test_in_blocks_it_is_the_same(n: int) -> None:
    @node
    def by_block(block: f32[example.HOP]) -> sc.Stream:
        return example.understand(example.parameters(), example.hear(block))

    blocks = STREAM[: 16 * example.HOP].reshape(16, example.HOP)
    wanted = sc.compile(by_block).run(blocks)
    blocked = sc.compile(sc.to_space(by_block, n)).run(blocks.reshape(16 // n, n, example.HOP))
    expect_same(blocked.reshape(wanted.shape), wanted)


def spectra(samples: np.ndarray) -> np.ndarray:
    """By numpy's FFT, in f64."""
    padded = np.concatenate([np.zeros(example.HOP), samples])
    starts = range(0, len(samples), example.HOP)
    windows = np.stack([padded[i : i + example.WINDOW] for i in starts]) * np.hanning(
        example.WINDOW
    )
    return 0.25 * np.log(np.abs(np.fft.rfft(windows)) ** 2 @ example.mel() + 1e-3)


def test_the_spectrum_is_numpys() -> None:
    heard = sc.compile(example.hear).run(STREAM.reshape(-1, example.HOP))
    np.testing.assert_allclose(heard, spectra(STREAM), atol=1e-4)


def loss(w: dict, x: jax.Array, word: int) -> jax.Array:
    for conv, p in zip(example.CONVS, w["convs"]):
        padded = jnp.pad(x, ((conv.reach, 0), (0, 0)))[None]
        y = jax.lax.conv_general_dilated(
            padded,
            p["weight"],
            (1,),
            "VALID",
            rhs_dilation=(conv.dilation,),
            dimension_numbers=("NHC", "HIO", "NHC"),
        )
        x = jax.nn.relu(y[0] + p["bias"])
    logits = x[-2:] @ w["head"]["weight"] + w["head"]["bias"]
    return -jax.nn.log_softmax(logits)[:, word].mean()


@pytest.mark.cc
def test_the_gradient_is_that_of_jax() -> None:
    @node
    def slope(samples: f32[speech.LENGTH], word: sc.i32) -> object:
        return sc.value_and_grad(lambda w: example.objective(w, samples, word)[0])(
            example.parameters()
        )

    mine, dw = every_form(slope, SAMPLES[:1], WORD[:1])
    wanted, theirs = jax.jit(jax.value_and_grad(loss))(
        example.parameters(), spectra(SAMPLES[0]).astype(np.float32), int(WORD[0])
    )
    np.testing.assert_allclose(mine[0], wanted, rtol=1e-4)
    for a, b in by_name(dw, theirs):
        np.testing.assert_allclose(a[0], b, rtol=2e-3, atol=1e-4)


@pytest.mark.cc
def test_the_trainer_in_every_form() -> None:
    every_form(example.trainer, SAMPLES, WORD)


@pytest.mark.cc
def test_it_understands_new_voices() -> None:
    program = sc.compile(example.trainer, target="c")
    for _ in range(3):
        program.run(*speech.utterances(300, voice="formants"))
    samples, word = speech.utterances(70, seed=1, voice="formants")
    device = sc.compile(example.spotter, w=weights(program, "w", example.parameters()), target="c")
    guess = device.run(samples.ravel())[1].values.reshape(70, example.HOPS)[:, -1]
    assert np.mean(guess == word) > 0.85


def test_speech_repeats_and_fits() -> None:
    again, word = speech.utterances(3, seed=7, voice="formants")
    assert np.array_equal(again, SAMPLES) and np.array_equal(word, WORD)
    assert again.shape == (3, speech.LENGTH) and np.abs(again).max() <= 1.1


def test_espeak_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that says a tone of 400 Hz at 22,050 Hz, as espeak-ng --stdout does."""
    script = tmp_path / "espeak-ng"
    script.write_text(
        "#!/usr/bin/env python3\n"
        "import math, struct, sys\n"
        "data = b''.join(struct.pack('<h', int(20000 * math.sin(400 * 2 * math.pi * t / 22050))) for t in range(6000))\n"
        "head = struct.pack('<4sI4s4sIHHIIHH4sI', b'RIFF', 36 + len(data), b'WAVE', b'fmt ', 16, 1, 1, 22050, 44100, 2, 16, b'data', len(data))\n"
        "sys.stdout.buffer.write(head + data)\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    samples, _ = speech.utterances(2, seed=0)
    tone = np.abs(np.fft.rfft(samples[0]))
    assert abs(np.argmax(tone) * speech.RATE / speech.LENGTH - 400) < 10


@pytest.mark.cc
@pytest.mark.slow
def test_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    page.main()
    said = capsys.readouterr().out
    assert said.count("the same bits") == 2 and "Look at:" in said
