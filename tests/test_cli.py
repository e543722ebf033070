"""The command line on a user's file: what it prints, what it writes, how it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from seiche.cli.faults import in_their_words
from seiche.errors import InternalError
from tests.commands import call, runner_in

GOOD = """
import seiche as sc
from seiche import bool_, f32, node, state

@node
def ema(x: f32, rate: float = 0.5) -> f32:
    mean = state(0.0)
    mean.next = mean + rate * (x - mean)
    return mean.next

@node
def slow(x: f32, keep: bool_) -> f32:
    return sc.when(x, keep)
"""

BAD = """
import seiche as sc
from seiche import f32, node, state

@node
def wrong(x: f32[3], y: f32[4]) -> f32[3]:
    a = x + y
    b = x + x.to(sc.f64)
    return a + b

@node
def cyclic(x: f32) -> f32:
    y = sc.var(f32)
    y.define(y + x)
    return y

@node
def idle(x: f32, unused: f32) -> f32:
    return x
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    return runner_in(tmp_path, monkeypatch, {"good.py": GOOD, "bad.py": BAD})


def test_help_names_the_commands(runner: CliRunner) -> None:
    text = call(runner, "--help")
    for command in ("run", "compile", "report", "check", "print", "explain"):
        assert command in text


@pytest.mark.parametrize("target", ["interp", "c"])
def test_run_reads_csv_and_writes_npz(runner: CliRunner, target: str) -> None:
    Path("x.csv").write_text("1.0\n1.0\n1.0\n")
    text = call(
        runner, "run", "good.py:ema", "--data", "x.csv", "--target", target, "--save", "y.npz"
    )
    assert "0.875" in text and "3 ticks" in text
    with np.load("y.npz") as saved:
        np.testing.assert_array_equal(next(iter(saved.values())), np.float32([0.5, 0.75, 0.875]))


def test_run_takes_static_arguments_and_npz(runner: CliRunner) -> None:
    np.savez("x.npz", x=np.ones(2, np.float32))
    assert "0.4375" in call(runner, "run", "good.py:ema", "--data", "x.npz", "--set", "rate=0.25")


def test_run_shows_absent_values_as_nothing(runner: CliRunner) -> None:
    np.savez("s.npz", x=np.float32([1, 2, 3]), keep=np.array([False, True, False]))
    rows = [
        line.split()
        for line in call(runner, "run", "good.py:slow", "--data", "s.npz").splitlines()
        if "│" in line
    ]
    assert ["│", "1", "│", "2.", "│"] in rows and ["│", "0", "│", "│"] in rows


def test_random_streams_are_seeded(runner: CliRunner) -> None:
    def table(seed: str) -> str:
        return call(runner, "run", "good.py:ema", "--ticks", "4", "--seed", seed).rpartition(
            "4 ticks"
        )[0]

    assert table("1") == table("1") != table("2")


def test_compile_writes_c(runner: CliRunner) -> None:
    text = call(runner, "compile", "good.py:ema", "--out", "c")
    assert {p.name for p in Path("c").iterdir()} >= {"ema.h", "ema.c"} and "ema.c" in text
    assert "ema_step" in Path("c/ema.h").read_text()


def test_report_tells_bytes_by_line_and_draws(runner: CliRunner) -> None:
    text = call(runner, "report", "good.py:ema", "--picture", "cost.png", "--stack")
    assert "stack of a step" in text
    assert "good.py:7  mean = state(0.0)" in text and "sizeof(struct ema)" in text
    assert Path("cost.png").read_bytes().startswith(b"\x89PNG")


def test_check_reports_every_fault_of_every_node(runner: CliRunner) -> None:
    text = call(runner, "check", "bad.py", code=1)
    assert text.count("error[") == 3 and "SE201" in text and "SE203" in text and "SE401" in text
    assert "warning[SE107]" in text and "bad.py:7" in text


def test_an_error_of_the_users_own_shows_the_users_frames_alone(
    runner: CliRunner, tmp_path: Path
) -> None:
    code = "import seiche as sc\n\ndef half(x): return x.halved()\n\n@sc.node\ndef slip(x: sc.f32): return half(x)\n"
    (tmp_path / "own.py").write_text(code)
    said = call(runner, "check", str(tmp_path / "own.py"), code=1)
    assert "line 6, in slip" in said and "line 3, in half" in said and "halved" in said, said
    assert "site-packages" not in said and "node.py" not in said


def test_a_fault_of_seiche_itself_keeps_its_frames() -> None:
    with pytest.raises(InternalError) as caught:
        raise InternalError("a broken invariant")
    assert in_their_words(caught.value) is None


def test_check_of_a_good_file(runner: CliRunner) -> None:
    assert "2 nodes checked: no errors" in call(runner, "check", "good.py")


def test_print_shows_the_equations(runner: CliRunner) -> None:
    assert "fby(" in call(runner, "print", "good.py:ema")


def test_explain_shows_the_page(runner: CliRunner) -> None:
    assert "SE401" in call(runner, "explain", "SE401")
    assert "no code SE999" in call(runner, "explain", "SE999", code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "nothing.py"], "there is no file nothing.py"),
        (["run", "good.py"], "defines 2 nodes"),
        (["run", "good.py:nope"], "no node 'nope'"),
        (["run", "good.py:ema", "--data", "none.npz"], "there is no file none.npz"),
        (["run", "good.py:ema", "--data", "wide.csv"], "2 columns"),
        (["run", "good.py:ema", "--data", "other.npz"], "no array `x`"),
        (["run", "good.py:ema", "--set", "rate"], "NAME=VALUE"),
        (["run", "good.py:ema", "--target", "vhdl"], "SE904"),
        (["check", "broken.py"], "SyntaxError"),
        (["check", "raises.py"], "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_is_said(runner: CliRunner, arguments: list[str], said: str) -> None:
    Path("wide.csv").write_text("1,2\n3,4\n")
    np.savez("other.npz", z=np.zeros(2))
    Path("broken.py").write_text("def f(:\n")
    Path("raises.py").write_text("\n1 / 0\n")
    assert said in call(runner, *arguments, code=1)
