"""The examples run end to end, small."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import seiche as sc
from examples.digits import __main__ as demo
from examples.digits.data import stream
from examples.digits.learner import MODES, WARM_UP, digits


def test_the_demo_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page" / "index.html"
    monkeypatch.setattr(
        sys, "argv", ["digits", "--images", "60", "--compare", "6", "--out", str(target)]
    )
    demo.main()
    text = target.read_text()
    assert text.count("data:image/svg+xml;base64,") == 3
    assert "identical in every bit" in text and "NOT identical" not in text
    assert "http://" not in text and "https://" not in text, "the page needs no other file"


def test_the_digits_learner_learns_and_its_automaton_follows() -> None:
    data = stream(1200, seed=0)
    program = sc.compile(digits, target="c")
    outputs = program.run(data.rows, data.labels)
    both, mode = outputs["both"].values, outputs["mode"].values
    change = data.changes[1][0]
    assert both[change - 100 : change].mean() > 0.75 > 0.5 > both[change : change + 60].mean()
    assert set(mode[:WARM_UP]) == {MODES.index("warm up")} and mode[WARM_UP + 1] == MODES.index(
        "relearn"
    )
    assert np.isfinite(outputs["accuracy"].values).all()


def test_a_saved_learner_goes_on_bit_for_bit(tmp_path: Path) -> None:
    data = stream(40, seed=1)
    half = len(data.rows) // 2
    whole = sc.compile(digits, target="c")
    expected = whole.run(data.rows, data.labels)["accuracy"].values
    first = sc.compile(digits, target="c")
    first.run(data.rows[:half], data.labels[:half])
    first.state.save(tmp_path / "half.npz")
    second = sc.compile(digits)
    second.state.load(tmp_path / "half.npz")
    rest = second.run(data.rows[half:], data.labels[half:])["accuracy"].values
    np.testing.assert_array_equal(rest, expected[len(expected) // 2 :])
    for name, value in whole.state.items():
        assert value.tobytes() == second.state[name].tobytes(), name
