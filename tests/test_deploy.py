"""Deploying: folders that build and replay, the trace both ways, bytes as predicted, and errors that leave no file behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.build import WARNINGS, find_compiler, run_compiler
from seiche.backends.c.printer import print_c
from seiche.backends.c.source import files_of, write_files
from seiche.backends.deploy import elf, folder, toolchain
from seiche.backends.deploy.compare import Difference, Reference, difference, job_of, reference
from seiche.backends.deploy.footprint import built, footprint
from seiche.backends.deploy.harness import Job, Outcome, Reader, outcome
from seiche.backends.deploy.pages import DEVIATIONS
from seiche.backends.deploy.replay import replay_file
from seiche.backends.inputs import whole_stream
from seiche.cli.load import node_of
from seiche.errors import InternalError, SeicheError
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from seiche.schedule.target import FOLDER, target
from tests.deployed import (
    BOARDS,
    advising,
    integral,
    needs_zig,
    played,
    pointed_streams,
    pointing,
    sensed,
    watching,
)
from tests.machines import gru
from tests.programs import random_inputs, random_program

pytestmark = pytest.mark.cc
RULE = re.compile(r"misra-c2012-([\d.]+)\]")


def job(program: Any, args: tuple[Any, ...], board: str = "host") -> Job:
    streams, ticks = whole_stream(program.signature, args, {})
    return job_of(program.lowered, streams, ticks, target(board))


def board_file(path: Path, old: str, new: str) -> str:
    """The path of a copy of a target's file with something else in it."""
    text = (FOLDER / "cortex-m4f.toml").read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path)


def compiled(where: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Builds all C of a folder and runs it."""
    compiler = find_compiler()
    files = {p.name: p.read_text() for p in where.iterdir() if p.suffix in (".c", ".h")}
    run_compiler(compiler, ["-std=c99", "-ffp-contract=off", *flags, "-o", "replay"], files, where)
    return subprocess.run([str(where / "replay")], capture_output=True, text=True)


# The folder.


def test_what_is_written(tmp_path: Path) -> None:
    done = sc.deploy(watching(), tmp_path / "a" / "b", recorded=sensed())
    assert {p.name for p in done.files} == set(os.listdir(tmp_path / "a" / "b")) == {
        "monitor.h", "monitor.c", "monitor_weights.c", "monitor_replay.c", "monitor_trace.json",
        "CMakeLists.txt", "README.md", "TRACE.md", "MISRA.md", "FLOW.md", "monitor_flow.json",
    }  # fmt: skip
    assert "monitor_weights.c" in (tmp_path / "a" / "b" / "CMakeLists.txt").read_text()


@pytest.mark.parametrize(
    ("program", "args"),
    [(watching, sensed), (advising, played)],
    ids=["absent outputs", "late outputs"],
)
def test_the_replay_agrees_and_notices_a_wrong_bit(tmp_path: Path, program: Any, args: Any) -> None:
    done = sc.deploy(program(), tmp_path, recorded=args())
    assert compiled(tmp_path, *WARNINGS).returncode == 0
    replay = next(p for p in done.files if p.name.endswith("_replay.c"))
    text = replay.read_text()
    head, mark, rest = text.partition("outputs[TICKS] = {")
    lines = rest.splitlines()
    number = re.search(r"0x1\.\w+p[+-]\d+f", lines[20])
    assert number
    lines[20] = lines[20].replace(number[0], "0x1.123456p+0f")
    replay.write_text(head + mark + "\n".join(lines) + "\n")
    assert compiled(tmp_path).returncode == 1


def test_a_replay_of_fixed_point_is_of_integers(tmp_path: Path) -> None:
    sc.deploy(pointing(), tmp_path, recorded=pointed_streams())
    assert compiled(tmp_path, *WARNINGS).returncode == 0
    replay = tmp_path / "pointed_replay.c"
    head, mark, rest = replay.read_text().partition("outputs[TICKS] = {")
    assert "0x1" not in rest
    number = re.search(r"(?<=\.h_next = {)\(?-?\d+\)?", rest)
    assert number
    replay.write_text(head + mark + rest.replace(number[0], "99", 1))
    assert compiled(tmp_path).returncode == 1


@pytest.mark.parametrize("seed", range(6))
def test_replays_of_random_programs_agree(tmp_path: Path, seed: int) -> None:
    node = random_program(seed)
    lowered = lower(node)
    ticks = 12
    one = job_of(lowered, random_inputs(node, seed, ticks), ticks, target("host"))
    done = reference(one)
    write_files({**files_of(one.sources), "replay.c": replay_file(one, done)}, tmp_path)
    ran = compiled(tmp_path, *WARNINGS)
    assert ran.returncode == 0


@pytest.mark.long
def test_a_long_recording_is_cut(tmp_path: Path) -> None:
    sc.deploy(watching(), tmp_path, recorded=sensed(20_000))
    text = (tmp_path / "monitor_replay.c").read_text()
    ticks = re.search(r"#define TICKS (\d+)u", text)
    assert ticks and 1000 < int(ticks[1]) < 20_000


def test_without_a_recording_there_is_no_replay(tmp_path: Path) -> None:
    sc.deploy(advising(), tmp_path)
    assert not list(tmp_path.glob("*replay*")) and not list(tmp_path.glob("*weights*"))


@pytest.mark.skipif(shutil.which("cmake") is None, reason="NOT TESTED: cmake is not installed")
def test_cmake_builds_the_folder(tmp_path: Path) -> None:
    sc.deploy(watching(), tmp_path / "monitor", recorded=sensed())
    build = str(tmp_path / "build")
    for command in (
        ["cmake", "-S", str(tmp_path / "monitor"), "-B", build],
        ["cmake", "--build", build, "--target", "monitor_replay"],
        [f"{build}/monitor_replay"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_zig
def test_the_readme_has_the_memory_table(tmp_path: Path) -> None:
    done = sc.deploy(watching(), tmp_path, target="cortex-m4f")
    readme = (tmp_path / "README.md").read_text()
    for row in done.memory.rows:
        size = row.predicted if row.measured is None else row.measured
        assert f"| {row.what} | {row.where} |" in readme and f" {size:,} |" in readme
    assert "-DSEICHE_HW_SQRT_F32" in readme
    assert "SEICHE_HW_SQRT_F32" in (tmp_path / "CMakeLists.txt").read_text()


def test_a_deployment_is_told_in_a_line(tmp_path: Path) -> None:
    done = sc.deploy(watching(), tmp_path)
    said = re.fullmatch(r"<deployment for host: (\d+) files in (.*), ([\d,]+) B of RAM and ([\d,]+) B of flash>", repr(done))  # fmt: skip
    assert said and int(said[1]) == len(done.files) and said[2] == str(tmp_path)
    assert (
        int(said[3].replace(",", "")) == done.memory.total("RAM")
        and repr(done.trace) == f"<trace of {len(done.trace.lines)} lines>"
    )


# The trace.


def test_every_line_is_traced_both_ways(tmp_path: Path) -> None:
    done = sc.deploy(watching(), tmp_path)
    text = {p.name: p.read_text().splitlines() for p in done.files}
    for line in done.trace.lines:
        assert line.spans or line.within, line.loc
        for span in line.spans:
            above = text[span.file][: span.last]
            assert any(f"{line.loc}" in one for one in above), (line.loc, span)
    back = [(str(s), at) for s, at in done.trace.back]
    assert back == [(str(s), x.loc) for s, x in sorted(
        ((s, x) for x in done.trace.lines for s in x.spans), key=lambda p: (p[0].file, p[0].first)
    )]  # fmt: skip
    found = json.loads((tmp_path / "monitor_trace.json").read_text())
    assert len(found["c"]) == len(back) and len(found["lines"]) == len(done.trace.lines)


def test_lines_of_c_belong_to_the_note_above(tmp_path: Path) -> None:
    done = sc.deploy(watching(), tmp_path)
    owner = {(s.file, n): str(at) for s, at in done.trace.back for n in range(s.first, s.last + 1)}
    lines = (tmp_path / "monitor.c").read_text().splitlines()
    written = next(n for n, x in enumerate(lines, 1) if "self->usual = usual" in x)
    layer = next(n for n, x in enumerate(lines, 1) if "weights->FROZEN_weight" in x)
    source = {str(x.loc): x.loc.source for x in done.trace.lines}
    assert source[owner["monitor.c", layer]].startswith("seen = ")
    assert "surprise" in source[owner["monitor.c", written]] or "usual" in source[owner["monitor.c", written]]  # fmt: skip
    assert ("monitor.c", 1) not in owner


BOUNDED = """\
import seiche as sc
from seiche import f32, node, state

LIMIT = 30.0  # REQ-1

@node
def bounded(x: f32,
            scale: float = 2.0) -> dict[str, f32]:  # REQ-2
    top = LIMIT  # REQ-3
    # REQ-4: what is read is bounded
    y = sc.minimum(
        x, top)  # REQ-5

    def cell(top):
        k = top * scale
        return k  # REQ-6

    mean = state(0.0)
    mean.next = 0.5 * (mean + y)
    w = cell(y)
    return {"mean": mean.next,  # REQ-7
            "w": w,  # REQ-8
            "z": y + w}  # REQ-9

def other(x):
    # REQ-10 of what this program does not use
    return x  # REQ-11
"""


def test_requirements_beside_lines_without_equations(tmp_path: Path) -> None:
    """A number, a return of what has been computed, the rest of a statement, a comment: each leads to the lines that it speaks of."""
    (tmp_path / "bounded.py").write_text(BOUNDED)
    program = sc.compile(node_of(str(tmp_path / "bounded.py")))
    done = sc.deploy(program, tmp_path / "out")
    lines = {tag: line for line in done.trace.lines for tag in line.requirements}
    wanted = {"REQ-1": {11}, "REQ-2": {7}, "REQ-3": {11}, "REQ-4": {11}, "REQ-5": {11}, "REQ-6": {15},
              "REQ-7": {18, 19}, "REQ-8": {11, 15}, "REQ-9": {23}}  # fmt: skip
    assert lines.keys() == wanted.keys()
    traced = {line.loc.line: line for line in done.trace.lines}

    def reached(n: int) -> set[int]:
        """The lines with C that a line leads to."""
        return {n} if traced[n].spans and not traced[n].within else {at.line for at in traced[n].within}  # fmt: skip

    for tag, about in wanted.items():
        assert reached(lines[tag].loc.line) == {k for n in about for k in reached(n)} != set(), tag
    assert "| REQ-8 |" in (tmp_path / "out" / "TRACE.md").read_text()


def test_requirements_are_read_from_comments(tmp_path: Path) -> None:
    done = sc.deploy(watching(), tmp_path)
    (tagged,) = [x for x in done.trace.lines if x.requirements]
    assert tagged.requirements == ("REQ-7",) and tagged.spans
    assert "| REQ-7 | monitor.h:" in (tmp_path / "TRACE.md").read_text()


# Bytes.


@needs_zig
@pytest.mark.parametrize("board", ["host", *BOARDS])
@pytest.mark.parametrize("program", [watching, advising], ids=["monitor", "advantage"])
def test_bytes_are_as_predicted(program: Any, board: str) -> None:
    memory = folder.memory_of(program(), board)
    for row in memory.rows:
        if None not in (row.predicted, row.measured):
            assert row.predicted == row.measured, row
    assert memory["instance"].predicted and memory["stack of a step"].measured is not None
    assert memory["code"].measured


@needs_zig
@pytest.mark.parametrize("seed", range(5))
def test_bytes_of_random_programs_are_as_predicted(seed: int) -> None:
    machine = target("cortex-m3")
    one = schedule(lower(random_program(seed)), machine)
    sources = print_c(one.machine)
    memory = footprint(one, machine, sources.name, built(toolchain.toolchain(machine), sources))
    for row in memory.rows:
        if row.what == "tables":  # a compiler may drop a table that it has folded away
            assert row.measured is not None and row.measured <= (row.predicted or 0)
        elif None not in (row.predicted, row.measured):
            assert row.predicted == row.measured, row


def test_the_processors_word_on_sizes_is_compared() -> None:
    one = job(watching(), sensed(3), "cortex-m4f")
    sizes = [layout.size for layout in one.layouts]
    data = np.array([sizes[0] + 4, *sizes[1:]], np.uint32).tobytes()
    with pytest.raises(InternalError, match="predicted"):
        outcome(one, Reader(data))
    with pytest.raises(InternalError, match="wanted"):
        outcome(one, Reader(data[:8]))


# Comparing.


def outcome_of(done: Reference) -> Outcome:
    """A processor that does what the interpreter does."""
    columns = tuple(replace(c, values=c.values.copy(), present=c.present.copy()) for c in done.columns)  # fmt: skip
    states = {n: x.copy() for n, x in done.states.items()}
    return Outcome(columns, done.ticks, done.failed, states, 0, 0, 0)


def test_the_first_difference_is_found() -> None:
    one = job(watching(), sensed())
    mine = reference(one)
    assert difference(one, mine, outcome_of(mine)) is None
    theirs = outcome_of(mine)
    values = theirs.columns[0].values.view(np.uint32)
    values[41] ^= 1
    theirs.columns[1].values[42] = 7
    found = difference(one, mine, theirs)
    assert isinstance(found, Difference) and (found.tick, found.name) == (41, "surprise")
    assert float(found.interpreter).hex() in str(found) and "tick 41" in str(found)


def test_an_output_that_should_be_absent_is_a_difference() -> None:
    one = job(watching(), sensed())
    mine = reference(one)
    theirs = outcome_of(mine)
    absent = int(np.flatnonzero(~theirs.columns[2].present)[3])
    theirs.columns[2].present[absent] = True
    found = difference(one, mine, theirs)
    assert found is not None and found.tick == absent and "absent in" in str(found)


def test_ticks_are_logical_where_outputs_come_late() -> None:
    one = job(advising(), played())
    late = one.lowered.latency[0]
    mine = reference(one)
    theirs = outcome_of(mine)
    theirs.columns[0].values[:late] = 99.0  # nobody sees these
    assert late > 0 and difference(one, mine, theirs) is None
    theirs.columns[0].values[late + 5] = 99.0
    found = difference(one, mine, theirs)
    assert found is not None and found.tick == 5


def test_states_and_checks_are_compared() -> None:
    one = job(watching(), sensed())
    mine = reference(one)
    theirs = outcome_of(mine)
    theirs.states["w"][3] += 1
    found = difference(one, mine, theirs)
    assert found is not None and found.name == "state w"
    stopped = replace(outcome_of(mine), ticks=10, failed=1)
    found = difference(one, mine, stopped)
    assert found is not None and found.tick == 10 and "check" in found.name


def test_nans_are_one_value_and_zeros_are_two() -> None:
    one = job(watching(), sensed())
    mine = reference(one)
    mine.columns[0].values[[4, 8]] = np.float32([np.nan, 0.0])
    theirs = outcome_of(mine)
    theirs.columns[0].values[4] = -np.float32(np.nan)
    assert difference(one, mine, theirs) is None
    theirs.columns[0].values[8] = np.float32(-0.0)
    found = difference(one, mine, theirs)
    assert found is not None and found.tick == 8


# Errors, before any file.


def refused(code: str, tmp_path: Path, program: Any = None, **options: Any) -> str:
    """What deploying says; nothing has been written."""
    with pytest.raises(SeicheError) as caught:
        sc.deploy(program or watching(), tmp_path / "out", **options)
    assert caught.value.code == code, caught.value
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_an_unknown_target(tmp_path: Path) -> None:
    assert "cortex-m4f" in refused("SE904", tmp_path, target="vax")


def test_an_op_or_format_that_the_target_refuses(tmp_path: Path) -> None:
    @sc.node
    def doubles(x: sc.f64) -> sc.f64:
        return sc.tanh(x)

    refuses = '[refuse]\nformats = ["f64"]\nops = ["tanh"]\n\n[memory]'
    path = board_file(tmp_path / "board.toml", "[memory]", refuses)
    said = refused("SE904", tmp_path, sc.compile(doubles), target=path)
    assert "refuses f64, which carries `x`" in said and "refuses the op `tanh`" in said
    assert said.count("test_deploy.py:") >= 2


def test_too_much_ram_names_the_lines(tmp_path: Path) -> None:
    path = board_file(tmp_path / "board.toml", "ram = 4194304", "ram = 128")
    said = refused("SE909", tmp_path, target=path)
    assert "of RAM" in said and "recent = state(np.zeros(16))" in said


def test_too_much_flash_names_the_lines(tmp_path: Path) -> None:
    path = board_file(tmp_path / "board.toml", "flash = 4194304", "flash = 700")
    said = refused("SE909", tmp_path, target=path)
    assert "768 B of flash" in said and "768 B of constants" in said


def test_no_compiler_for_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    said = refused("SE901", tmp_path, target="cortex-m4f")
    assert "arm-none-eabi-gcc" in said and "seiche[deploy]" in said
    said = refused("SE904", tmp_path, target="cortex-m4f", compiler="tcc")
    assert "[tcc]" in said


def test_zig_on_the_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zig = tmp_path / "zig"
    zig.write_text('#!/bin/sh\n[ "$2" = --version ] && echo clang 99 && exit 0\nexit 1\n')
    zig.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    assert toolchain.toolchain(target("cortex-m4f")).compiler.command == (str(zig), "cc")


def test_a_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc = tmp_path / "arm-none-eabi-gcc"
    gcc.write_text('#!/bin/sh\n[ "$1" = --version ] && echo odd 1 && exit 0\necho no >&2; exit 1\n')
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = refused("SE905", tmp_path, target="cortex-m4f", compiler="gcc")
    assert "odd 1" in said and "because: no" in said


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    assert "`x`" in refused("SE903", tmp_path, recorded=(np.zeros((3, 2)), np.zeros(3, bool)))


def test_without_the_library_of_elfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "elftools.elf.elffile", None)
    assert "pyelftools" in refused("SE901", tmp_path)


def test_the_host_is_not_emulated() -> None:
    with pytest.raises(SeicheError, match="host is not emulated"):
        sc.emulate(watching(), *sensed(), target="host")


def test_a_board_without_an_emulator(tmp_path: Path) -> None:
    path = board_file(tmp_path / "board.toml", "[qemu]", "[other]")
    with pytest.raises(SeicheError, match=r"no table \[qemu\]"):
        sc.emulate(watching(), *sensed(), target=path)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sc.deploy(advising(), tmp_path / "old")
    before = {p.name: p.read_text() for p in (tmp_path / "old").iterdir()}
    real = Path.write_text

    def full(self: Path, text: str, **options: Any) -> int:
        if ".writing-" in str(self) and self.name == "README.md":
            raise OSError(28, "No space left on device")
        return real(self, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    for where in ("old", "new/deeper"):
        with pytest.raises(OSError, match="No space"):
            sc.deploy(advising(), tmp_path / where, target="host")
    assert {p.name: p.read_text() for p in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


# Quality of the C.


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="NOT TESTED: cppcheck is missing")
@pytest.mark.parametrize("board", ["host", pytest.param("cortex-m4f", marks=pytest.mark.long)])
def test_no_deviation_from_misra_but_those_listed(tmp_path: Path, board: str) -> None:
    nodes = [*(random_program(seed) for seed in (1, 4, 6)), gru(8, 8)]
    lowered = [*map(lower, nodes), *(p().lowered for p in (watching, advising, integral))]
    for k, one in enumerate(lowered):
        sources = print_c(schedule(one, target(board)).machine)
        write_files(files_of(sources), tmp_path / str(k))
    said = ""
    for k in range(len(lowered)):  # apart: they share names
        files = sorted(str(p) for p in (tmp_path / str(k)).glob("*.c"))
        # Two of the preprocessor's configurations, plain C among them: more say the same again.
        command = ["cppcheck", "--addon=misra", "--std=c99", "--quiet", "--max-configs=2", *files]
        said += subprocess.run(command, capture_output=True, text=True).stderr
    rules = set(RULE.findall(said))
    assert rules, "the addon found nothing at all: does it run?"
    assert rules <= DEVIATIONS.keys(), rules - DEVIATIONS.keys()


@needs_zig
@pytest.mark.parametrize("board", BOARDS)
def test_the_runtime_is_clean_under_all_warnings(tmp_path: Path, board: str) -> None:
    machine = target(board)
    chain = toolchain.toolchain(machine, "zig")
    start = f"{machine.tables['memory']['start']}.c"
    for name in ("memory.c", "semihosting.c", "loop.c", start):
        files = {f"seiche/{h}": toolchain.runtime(h) for h in ("board.h", "programs.h", "string.h")}
        flags = [f for f in chain.flags if f != "-w"]
        defines = ["-DPROGRAMS=1u", "-DBLOCK_BYTES=64u", "-DINSTRUCTION_NS=128u", "-DCOUNTER_NS=40u"]  # fmt: skip
        arguments = [*flags, *WARNINGS, *defines, "-c"]
        run_compiler(chain.compiler, arguments, {**files, f"seiche/{name}": toolchain.runtime(name)}, tmp_path)  # fmt: skip


@needs_zig
def test_targets_say_all_that_is_needed() -> None:
    for name in BOARDS:
        machine = target(name)
        assert machine.pointer == 4 and machine.ram and machine.flash
        assert {"memory", "zig", "gcc", "qemu"} <= machine.tables.keys()
        assert "LENGTH = 4194304" in toolchain.linker_script(machine)
    assert importlib.util.find_spec("elftools") and elf.ALLOC == 2
