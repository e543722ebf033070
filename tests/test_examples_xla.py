"""Every example at XLA's speed gives what the interpreter gives, to rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import seiche as sc
from examples import batch_norm, gae, gpt, language_model, lqr, smoother, tagger, text
from examples.keywords import speech, spotter
from seiche.backends.program import Sparse
from tests.test_examples_forms import leaves


def flights() -> dict[str, Any]:
    return smoother.flights(2)


def sound() -> tuple[np.ndarray, np.ndarray]:
    return speech.utterances(1, voice="formants")


CASES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "smoother": lambda: (
        smoother.smoother,
        *(flights()[k] for k in ("position", "seen", "landed")),
    ),
    "smoother, learning": lambda: (
        smoother.calibrate,
        *(flights()[k] for k in ("position", "seen", "landed")),
    ),
    "gae, gradient": lambda: (gae.recorded, *gae.record(100)),
    "gae": lambda: (gae.player, np.zeros(100, np.float32)),
    "batch_norm": lambda: (batch_norm.learner, *batch_norm.digits(60)),
    "tagger": lambda: (tagger.tagger, *tagger.talk(4)),
    "keywords, in time": lambda: (spotter.spotter, sound()[0].ravel()[:1024]),
    "keywords, learning": lambda: (spotter.trainer, *sound()),
    "gpt, in time": lambda: (gpt.follower, text.library(30)),
    "gpt, learning": lambda: (gpt.trainer, gpt.pieces(text.library(129))),
    "language_model, in time": lambda: (
        language_model.in_time,
        text.library(96),
        text.library(97)[1:],
    ),
    "language_model, in space": lambda: (
        language_model.in_space,
        text.library(96),
        text.library(97)[1:],
    ),
    "lqr, planning": lambda: (lqr.planner, np.tile(lqr.HANGING, (4, 1))),
    "lqr": lambda: (lqr.pilot, np.zeros(5, np.float32)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_xla_is_the_interpreter_to_rounding(name: str) -> None:
    node, *args = CASES[name]()
    wanted, found = (
        leaves(sc.compile(node, target=target).run(*args)) for target in ("interp", "xla")
    )
    for k, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if isinstance(a, Sparse):
            assert a.ticks.tolist() == b.ticks.tolist(), f"result {k}"
            a, b = a.values, b.values
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=f"result {k}")
