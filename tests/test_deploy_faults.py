"""What goes wrong when deploying: compilers that lie, files of targets and of data that are wrong, folders that are not ours, names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import seiche as sc
from seiche.backends.deploy.compare import emulate
from seiche.errors import SeicheError
from seiche.schedule.target import FOLDER, target
from tests.commands import call, runner_in
from tests.deployed import needs_qemu

pytestmark = pytest.mark.cc

NODES = """
import numpy as np
import seiche as sc
from seiche import bool_, f32, i16, node, state

@node
def gain(x: f32) -> f32:
    return 2.0 * x

@node
def pair(x: f32, n: i16, on: bool_) -> f32:
    return sc.where(on, x, n.to(f32))

@node
def capped(x: f32) -> f32:
    sc.assume(x < 2.0, "small")
    return x
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    return runner_in(tmp_path, monkeypatch, {"nodes.py": NODES})


@sc.node
def gain(x: sc.f32) -> sc.f32:
    return 2.0 * x


@sc.node
def table(x: sc.f32[3]) -> sc.f32:  # pyright: ignore
    return np.array([1.0, 2.5, -3.0], np.float32) @ x


def refused(code: str, folder: Path, program: Any = None, **options: Any) -> str:
    """What deploying says; nothing has been written."""
    with pytest.raises(SeicheError) as caught:
        sc.deploy(program or sc.compile(gain), folder / "out", **options)
    assert caught.value.code == code, caught.value
    assert not (folder / "out").exists()
    return str(caught.value)


# Compilers.


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exit 0", "it wrote no gain.o"),
        ("kill -9 $$", "ended by signal 9"),
        ("exit 3", "ended with status 3"),
        ('while [ $# -gt 0 ]; do [ "$1" = -o ] && echo odd > $2; shift; done', "no ELF"),
    ],
)
def test_a_compiler_that_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    cc = tmp_path / "odd-cc"
    version = 'for a in "$@"; do [ "$a" = --version ] && printf "odd \\377" && exit 0; done'
    cc.write_text(f"#!/bin/sh\n{version}\n{does}\n")
    cc.chmod(0o755)
    monkeypatch.setenv("CC", str(cc))
    assert said in refused("SE905", tmp_path)
    monkeypatch.setenv("SEICHE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SeicheError, match="SE905"):
        sc.compile(gain, target="c")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_file()]


@needs_qemu
def test_a_damaged_elf_in_the_cache_is_linked_again() -> None:
    x = np.ones(2, np.float32)
    elf = emulate(sc.compile(gain), x).elf
    elf.write_bytes(elf.read_bytes()[:-40])
    assert emulate(sc.compile(gain), x).agrees


# Files of targets.


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ram = 4194304", 'ram = "64k"', "`ram` is a whole number"),
        ("registers = 16", "registers = 0", "`registers` is a whole number from 1 up"),
        ('floats = ["f32"]', 'floats = "f32"', "`floats` is a list of f32, f64"),
        ("vector = 0", "vector = 5", "`vector` is 0, 8"),
        ('command = "arm-none-eabi-gcc"', "", "`command` of [gcc] is text"),
        (
            "[memory]",
            '[refuse]\nformats = ["f46"]\nops = ["expp"]\n[memory]',
            "none of the formats",
        ),
        ("[memory]", '[refuse]\nop = ["exp"]\n[memory]', "[refuse] holds lists"),
    ],
)
def test_values_in_a_targets_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (FOLDER / "cortex-m4f.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "board.toml").write_text(text.replace(old, new))
    assert said in refused("SE904", tmp_path, target=str(tmp_path / "board.toml"))


def test_a_targets_file_is_read_again(tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    text = (FOLDER / "cortex-m3.toml").read_text(encoding="utf-8")
    board.write_text(text)
    assert target(str(board)).registers == 8
    board.write_text(text.replace("registers = 8", "registers = 12"))
    assert target(str(board)).registers == 12


def test_a_wrong_pointer_is_noticed(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    text = (FOLDER / "cortex-m4f.toml").read_text(encoding="utf-8")
    (tmp_path / "board.toml").write_text(text.replace("pointer = 4", "pointer = 8"))
    said = refused("SE904", tmp_path, target=str(tmp_path / "board.toml"))
    assert "a pointer has 8 B" in said


@needs_qemu
@pytest.mark.parametrize(
    ("old", "new"), [('start = "cortex_m"', 'start = "z80"'), ("ram = 0x20000000", "")]
)
def test_a_memory_map_that_lacks_something(tmp_path: Path, old: str, new: str) -> None:
    text = (FOLDER / "cortex-m4f.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "board.toml").write_text(text.replace(old, new))
    with pytest.raises(SeicheError, match=r"SE904.*\n.*of \[memory\]"):
        emulate(sc.compile(gain), np.ones(2, np.float32), target=str(tmp_path / "board.toml"))


# Memories that the code and the stack fill.


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("flash = 4194304", "flash = 60", "B of flash are the code"),
        ("ram = 4194304", "ram = 20", "B of RAM are the stack of a step"),
    ],
)
def test_code_and_stack_count(tmp_path: Path, old: str, new: str, said: str) -> None:
    @sc.node
    def wave(x: sc.f32) -> sc.f32:
        return sc.exp(x) + sc.tanh(x)

    pytest.importorskip("ziglang")
    text = (FOLDER / "cortex-m3.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "board.toml").write_text(text.replace(old, new, 1))
    message = refused("SE909", tmp_path, sc.compile(wave), target=str(tmp_path / "board.toml"))
    assert said in message and "def wave" in message


# Folders.


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "gain.c").write_text("int mine;")
    (tmp_path / "MISRA.md").mkdir()
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(SeicheError, match="SE914") as caught:
        sc.deploy(sc.compile(gain), tmp_path)
    assert all(name in str(caught.value) for name in before)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_folder_is_written_again_without_what_is_no_longer_needed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    program = sc.compile(table)
    recorded = (np.ones((4, 3), np.float32),)
    sc.deploy(program, tmp_path, recorded=recorded)
    done = sc.deploy(program, tmp_path, recorded=recorded)
    again = sc.deploy(program, tmp_path)
    assert {p.name for p in done.files} - {p.name for p in again.files} == {"table_replay.c"}
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {p.name for p in again.files} | {"notes.txt"}


def test_a_recording_whose_first_tick_stops_has_no_replay(runner: CliRunner) -> None:
    np.savez("x.npz", x=np.array([5.0, 1.0], np.float32))
    call(runner, "deploy", "nodes.py:capped", "--target", "host", "--data", "x.npz", "--out", "c")
    assert Path("c/capped.c").exists() and not Path("c/capped_replay.c").exists()
    assert "--ticks" in call(runner, "deploy", "nodes.py:gain", "--ticks", "0", code=2)


@needs_qemu
def test_the_step_that_stops_counts_in_the_mean() -> None:
    @sc.node
    def capped(x: sc.f32) -> sc.f32:
        sc.assume(x < 2.0, "small")
        return x

    ran = emulate(sc.compile(capped), np.array([1.0, 5.0], np.float32))
    assert ran.agrees and ran.stopped and 0 < ran.instructions <= ran.instructions_max


# Names.


@pytest.mark.parametrize("name", ["string", "stdint"])
def test_a_node_is_no_standard_header(tmp_path: Path, name: str) -> None:
    text = (
        f"import seiche as sc\n@sc.node\ndef {name}(x: sc.f32) -> sc.f32:\n    return sc.exp(x)\n"
    )
    (tmp_path / "names.py").write_text(text)
    from seiche.cli.load import node_of

    done = sc.deploy(sc.compile(node_of(str(tmp_path / "names.py"))), tmp_path / "out")
    assert f"{name}_.h" in {p.name for p in done.files}
    assert f"{name}.h" not in {p.name for p in done.files}


def test_the_trace_names_every_line_of_a_loop(tmp_path: Path) -> None:
    file = tmp_path / "my model.py"
    file.write_text(
        "import seiche as sc\nfrom seiche import f32, node, state\n\n@node\ndef leak(x: f32) -> f32:\n"
        "    level = state(0.0)  # REQ-1\n    level.next = 0.5 * level + x  # REQ-2\n    return level.next\n"
    )
    from seiche.cli.load import node_of

    done = sc.deploy(sc.compile(node_of(str(file))), tmp_path / "out")
    lines = (tmp_path / "out" / "leak.c").read_text().splitlines()
    (update,) = [n for n, text in enumerate(lines, 1) if "level_next" in text and "0.5f" in text]
    tagged = {x.requirements: x for x in done.trace.lines if x.requirements}
    assert tagged.keys() == {("REQ-1",), ("REQ-2",)}
    for line in tagged.values():
        assert any(s.file == "leak.c" and s.first <= update <= s.last for s in line.spans), line


# Data.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,n,on\n1.5,2,0\n", None),
        ("on, n, more, x\n0,2,9,1.5\n", None),
        ("1.5,2,0\n", None),
        ("1.5,2,0\n\n", None),
        ("a,b,c\n1.5,2,0\n", "could not convert string 'a'"),
        ("1.5,2,0\n1.5,2\n", "number of columns changed"),
        ("1.5,2.5,0\n", "holds 2.5 for `n`, which is i16"),
        ("1.5,70000,0\n", "holds 70000.0 for `n`"),
        ("1.5,2,7\n", "holds 7.0 for `on`, which is bool"),
        ("", "holds no numbers"),
        ("x,n,on\n", "holds no numbers"),
    ],
)
def test_a_csv_is_read_whole_or_refused(runner: CliRunner, text: str, said: str | None) -> None:
    Path("day.csv").write_text(text)
    arguments = ("run", "nodes.py:pair", "--data", "day.csv", "--save", "y.npz")
    if said is None:
        call(runner, *arguments)
        with np.load("y.npz") as saved:
            assert next(iter(saved.values())).tolist() == [2.0]
    else:
        assert said in " ".join(call(runner, *arguments, code=1).split())


def test_a_file_of_arrays_is_read_whole_or_refused(runner: CliRunner) -> None:
    Path("odd.npz").write_text("no zip")
    said = call(runner, "run", "nodes.py:gain", "--data", "odd.npz", code=1)
    assert "SE906" in said and os.path.exists("odd.npz")
    np.savez("text.npz", x=np.array(["a", "b"]))
    assert "for `x`, which is f32" in call(runner, "run", "nodes.py:gain", "--data", "text.npz", code=1)  # fmt: skip
