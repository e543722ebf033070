"""The commands `deploy` and `weights` on a user's file: what they print, what they write, how they fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from seiche.backends.deploy import toolchain
from seiche.backends.deploy.compare import Difference, Emulation
from seiche.cli.deploying import told
from tests.commands import call, runner_in
from tests.deployed import needs_qemu

GOOD = """
import numpy as np
import seiche as sc
from seiche import f32, node, state

@node
def ema(x: f32, rate: float = 0.5) -> f32:
    mean = state(0.0)
    mean.next = mean + rate * (x - mean)
    return mean.next

@node
def lms(x: f32[4], y: f32) -> f32:
    w = state(np.linspace(0.0, 1.0, 4))
    error = w @ x - y
    w.next = w - 0.1 * error * x
    return error
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    return runner_in(tmp_path, monkeypatch, {"good.py": GOOD})


def test_deploy_prints_the_memory_table(runner: CliRunner) -> None:
    text = call(runner, "deploy", "good.py:ema", "--target", "host")
    assert "instance" in text and "predicted B" in text and "all flash" in text


@pytest.mark.parametrize("make", ["gcc", "zig"])
def test_the_host_has_the_compiler_that_was_asked_for(
    runner: CliRunner, make: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the command nor $CC is ignored: each is a compiler here that only fails, and says which it is."""
    for name in ("gcc", "zig", "chosen"):
        (tmp_path / name).write_text(f'#!/bin/sh\n[ $# -lt 4 ] && exit 0\necho {name} it is >&2; exit 1\n')  # fmt: skip
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CC", str(tmp_path / "chosen"))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    deployed = ("deploy", "good.py:ema", "--target", "host")
    assert f"{make} it is" in call(runner, *deployed, "--compiler", make, code=1)
    assert "chosen it is" in call(runner, *deployed, code=1)


LEARNS = """
import numpy as np
import seiche as sc
from seiche import f32, node, state

@node
def bptt(x: f32[64, 4]) -> f32:
    sc.assume((x < 9.0).all(), "in range")
    w = state(np.linspace(-1.0, 1.0, 4))

    def cell(w, row):
        h = state(np.zeros(4))
        h.next = sc.tanh(w * h + row)
        return sc.square(h.next).sum()

    loss, dw = sc.value_and_grad(lambda w: sc.over_time(lambda row: cell(w, row))(x).mean())(w)
    w.next = w - 0.1 * dw
    return loss

@node
def frames(x: f32[4]) -> f32:
    xs = sc.gather(x, 16)
    w = state(np.linspace(-1.0, 1.0, 4))
    loss, dw = sc.value_and_grad(lambda w: sc.square(xs @ w).mean())(w)
    w.next = w - 0.1 * dw
    return loss
"""


def instance_bytes(text: str) -> int:
    return next(int(x.split()[-1].replace(",", "")) for x in text.splitlines() if x.startswith("instance"))  # fmt: skip


def test_a_budget_and_monitors_reach_what_is_deployed(runner: CliRunner) -> None:
    Path("learns.py").write_text(LEARNS)
    deployed = ("deploy", "learns.py:bptt", "--target", "host", "--ticks", "3", "--out", "c")
    whole = instance_bytes(call(runner, *deployed))
    budget = whole * 3 // 4
    checked = Path("c/bptt.c").read_text()
    assert instance_bytes(call(runner, *deployed, "--memory", f"{budget}")) <= budget < whole
    call(runner, *deployed, "--no-monitors")
    assert "fault" in checked and "fault" not in Path("c/bptt.c").read_text()
    assert "SE908" in call(runner, *deployed, "--memory", "10B", code=1)


def test_every_command_that_compiles_takes_a_deadline(runner: CliRunner) -> None:
    Path("learns.py").write_text(LEARNS)
    for command in (["report"], ["run"], ["compile", "--out", "c"], ["deploy", "--target", "host"]):
        said = call(runner, *command, "learns.py:frames", "--deadline", "1", code=1)
        assert "SE912" in said and "learns.py" in said
    call(runner, "compile", "learns.py:frames", "--out", "plain")
    call(runner, "compile", "learns.py:frames", "--out", "spread", "--deadline", "7x")
    assert Path("plain/frames.c").read_text() != Path("spread/frames.c").read_text()


def test_deploy_writes_a_folder(runner: CliRunner) -> None:
    text = call(runner, "deploy", "good.py:lms", "--target", "host", "--out", "c", "--ticks", "7")
    assert {"lms.h", "lms.c", "lms_replay.c"} <= {p.name for p in Path("c").iterdir()}
    assert "#define TICKS 7u" in Path("c/lms_replay.c").read_text() and "README.md" in text


@needs_qemu
def test_deploy_runs_on_data(runner: CliRunner) -> None:
    np.savez("x.npz", x=np.arange(5, dtype=np.float32))
    text = call(runner, "deploy", "good.py:ema", "--run", "--data", "x.npz", "--set", "rate=0.25")
    assert "5 ticks on cortex-m4f: every bit is the interpreter's" in text
    assert "instructions per step" in text


@needs_qemu
def test_a_difference_fails_the_command(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    from seiche.cli import deploying

    def differs(*_: object, **__: object) -> Emulation:
        found = Difference(3, "mean", np.float32(1.0), None)
        return Emulation("cortex-m4f", 5, found, None, 1.0, 1, 64, Path())

    monkeypatch.setattr(deploying, "emulate", differs)
    text = call(runner, "deploy", "good.py:ema", "--run", code=1)
    assert "NOT the interpreter's: tick 3: `mean` is absent on the target, 1 (0x1.0" in text


def test_weights_go_out_and_in(runner: CliRunner) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    np.savez("day.npz", x=x, y=x.sum(1))
    said = call(runner, "weights", "good.py:lms", "--data", "day.npz", "--out", "w.safetensors")
    assert "f32[4]" in said and "w.safetensors" in said
    call(runner, "deploy", "good.py:lms", "--target", "host", "--weights", "w.safetensors", "--out", "c")  # fmt: skip
    call(runner, "deploy", "good.py:lms", "--target", "host", "--out", "fresh")
    learned, fresh = (Path(f"{d}/lms.c").read_text() for d in ("c", "fresh"))
    assert learned != fresh


def test_weights_of_another_node_are_refused(runner: CliRunner) -> None:
    call(runner, "weights", "good.py:lms", "--out", "w.safetensors")
    text = call(runner, "deploy", "good.py:ema", "--weights", "w.safetensors", "--out", "c", code=1)
    assert "SE910" in text and not Path("c").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "vax"], "there is no target 'vax'"),
        (["--target", "cortex-m4f", "--compiler", "tcc"], "[tcc]"),
        (["--target", "host", "--compiler", "tcc"], "no compiler 'tcc'"),
        (["--target", "host", "--run"], "the host is not emulated"),
        (["--target", "host", "--out", "good.py"], "good.py"),
    ],
)
def test_what_cannot_be_deployed_is_said(
    runner: CliRunner, arguments: list[str], said: str
) -> None:
    assert said in call(runner, "deploy", "good.py:ema", *arguments, code=1)


def test_a_stop_is_told() -> None:
    assert "both stop there: too long" in told(Emulation("m", 3, None, "too long", 1.0, 1, 64, Path()))  # fmt: skip
