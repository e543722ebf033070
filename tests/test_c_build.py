"""Building and binding: compilers found and missing, the cache, concurrent builds, instances, runs in C."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c import binding, build, calls
from seiche.backends.c.binding import CProgram, Instance
from seiche.backends.executor import CheckFailed, run_by_steps
from seiche.backends.interp import Interpreter
from seiche.errors import InternalError, SeicheError
from seiche.ir.builder import Builder
from seiche.ir.core import Check, Node, Var
from seiche.numbers.formats import bool_, f32
from seiche.schedule.lower import lower
from tests.agreement import same_bits
from tests.machines import close, gru
from tests.programs import random_inputs, random_program

pytestmark = pytest.mark.cc
SOURCES = {"a.c": "int a(void); int a(void) { return 7; }\n"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEICHE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def script(folder: Path, text: str) -> str:
    path = folder / "cc.sh"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


# Compilers.


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/does/not/exist")
    with pytest.raises(SeicheError) as caught:
        build.find_compiler()
    assert (
        caught.value.code == "SE901"
        and "/does/not/exist" in str(caught.value)
        and "seiche[zig]" in str(caught.value)
    )


def test_nothing_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SeicheError, match="neither cc nor gcc nor clang"):
        build.find_compiler()


def test_the_wheel_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: object())
    assert build.candidates() == [(sys.executable, "-m", "ziglang", "cc")]


def test_a_compiler_that_fails_is_quoted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "; ".join(f"echo line {k} >&2" for k in range(20))
    monkeypatch.setenv(
        "CC",
        script(tmp_path, f'[ "$1" = --version ] && echo odd cc 1.0 && exit 0\n{lines}\nexit 1\n'),
    )
    with pytest.raises(SeicheError) as caught:
        build.build(SOURCES)
    text = str(caught.value)
    assert (
        caught.value.code == "SE905"
        and "odd cc 1.0" in text
        and "line 3" in text
        and "line 19" not in text
    )
    assert not list(cache.glob("*.so"))


def test_flags_of_clang_and_of_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    gcc, clang = build.Compiler(("cc",), "gcc 12"), build.Compiler(("cc",), "clang version 22")
    monkeypatch.setattr(build.platform, "machine", lambda: "riscv64")
    assert "-DSEICHE_HW_SQRT" not in build.flags(
        gcc
    ) and "-mprefer-vector-width=512" not in build.flags(gcc)
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    assert "-mcpu=native" in build.flags(gcc)
    assert not any("vect-cost" in f for f in build.flags(clang))
    assert "-ffp-contract=off" in build.flags(gcc) and "-ffp-contract=fast" in build.flags(
        gcc, "fast"
    )


# The cache.


def test_a_build_is_found_again(cache: Path) -> None:
    first = build.build(SOURCES)
    stamp = first.stat().st_mtime_ns
    assert build.build(SOURCES) == first and first.stat().st_mtime_ns == stamp
    assert build.build(SOURCES, "fast") != first
    assert build.build({"a.c": SOURCES["a.c"] + "\n"}) != first
    assert len(list(cache.iterdir())) == 3  # and nothing temporary


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEICHE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert build.cache_folder() == Path("/x/seiche")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert build.cache_folder() == Path(os.path.expanduser("~")) / ".cache" / "seiche"


def test_processes_that_build_the_same_at_once(cache: Path) -> None:
    code = f"from seiche.backends.c.build import build; print(build({SOURCES!r}))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {p.communicate()[0].strip() for p in started}
    assert all(p.returncode == 0 for p in started) and said == {str(build.build(SOURCES))}
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("kind", ["text", "nothing", "half", "another library"])
def test_what_cannot_be_loaded_is_not_kept(
    kind: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build.build(SOURCES)
    good = whole.read_bytes()
    what = {"text": b"hello\n" * 40, "nothing": b"", "half": good[: len(good) // 2]}
    (tmp_path / "made").write_bytes(what.get(kind, good))
    whole.unlink()
    write = f'while [ "$1" != -o ]; do shift; done\ncp {tmp_path / "made"} "$2"\n'
    chosen = script(tmp_path, f'[ "$1" = --version ] && echo odd cc 2.0 && exit 0\n{write}')
    with monkeypatch.context() as liar, pytest.raises(SeicheError) as caught:
        liar.setenv("CC", chosen)
        build.loaded(SOURCES, "b")
    text = str(caught.value)
    assert caught.value.code == "SE905" and chosen in text and "cannot be loaded" in text
    assert not list(cache.iterdir())
    assert build.loaded(SOURCES, "a")[1].a() == 7


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.95])
def test_a_library_cut_off_in_the_cache_is_built_again(share: float, cache: Path) -> None:
    path = build.build(SOURCES)
    whole = path.read_bytes()
    left = whole[: int(share * len(whole))]
    path.write_bytes(left)
    again, dll = build.loaded(SOURCES, "a")
    assert again == path and dll.a() == 7
    assert len(path.read_bytes()) > len(left)


# Running.


def counter() -> Node:
    """s counts; the check holds while it is below 5."""
    b, x, s = Builder(), Var("x", f32[()]), Var("s", f32[()])
    after = b.add(s, x)
    close(b, s, 0.0, after)
    low = b.lt(after, b.lit(5.0, f32[()]))
    node = Node("counter", (x,), (after,), b.eqs)
    node.checks = (Check(low, "SE602", "too much", low.loc),)
    return node


def test_instances_do_not_share_memory() -> None:
    program = CProgram(lower(gru(3, 8)))
    one, two = Instance(program.library), Instance(program.library)
    x = np.array([1, 2, 3], np.float32)
    for _ in range(3):
        one.inputs[0][...] = x
        assert one.tick() == 0
    two.inputs[0][...] = x
    two.tick()
    assert not same_bits(one.outputs[0], two.outputs[0])
    for _ in range(2):
        two.tick()
    assert same_bits(one.outputs[0], two.outputs[0]) and same_bits(one.states["h"], two.states["h"])
    one.reset()
    assert not one.states["h"].any() and two.states["h"].any()


def test_instances_in_threads() -> None:
    library = CProgram(lower(gru(3, 40))).library
    instances = [Instance(library) for _ in range(4)]

    def work(instance: Instance) -> None:
        tick = instance.bound()
        for t in range(500):
            instance.inputs[0][...] = t % 7
            tick()

    threads = [threading.Thread(target=work, args=(i,)) for i in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same_bits(i.outputs[0], instances[0].outputs[0]) for i in instances)


@pytest.mark.parametrize("native", [True, False], ids=["a function of Python", "ctypes"])
def test_a_bound_tick_outlives_its_instance(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "NATIVE", native and calls.NATIVE)
    instance = Instance(CProgram(lower(gru(3, 8))).library)
    other = instance.input.raw.copy()
    other.view(np.float32)[:3] = 1.0
    ticks, output = (instance.bound(), instance.bound(other.ctypes.data)), instance.outputs[0]
    assert [tick() for tick in ticks * 2] == [0] * 4
    if native and calls.NATIVE:
        with pytest.raises(TypeError):
            ticks[0](1)  # type: ignore[call-arg]
    before = output.copy()
    del instance
    gc.collect()
    assert ticks[0]() == 0 and not same_bits(output, before)


def test_a_bound_tick_returns_the_check_that_failed() -> None:
    @sc.node
    def counted(done: sc.bool_) -> sc.f32:
        with sc.frame(max=2, until=done):
            ahead = sc.costate(0.0)
            ahead.prev = ahead + 1
            return ahead.prev

    tick = Instance(sc.compile(counted, target="c").executor.library).bound()
    assert [tick() for _ in range(4)] == [0, 0, 1, 1]


def test_views_are_the_memory_itself() -> None:
    instance = Instance(CProgram(lower(gru(3, 8))).library)
    instance.states["h"][...] = 1.0
    instance.tick()
    assert instance.self.address % 64 == 0
    assert np.shares_memory(instance.states["h"], instance.self.raw)
    assert same_bits(instance.states["h"], instance.outputs[0])


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_a_run_is_its_steps(seed: int) -> None:
    node = random_program(seed)
    lowered = lower(node)
    ticks = 15
    given = random_inputs(node, seed, ticks)
    stepped, run = CProgram(lowered), CProgram(lowered)
    interpreter = Interpreter(lowered)
    try:
        wanted = run_by_steps(interpreter, lowered.node.outputs, given, ticks, False)
    except CheckFailed as failed:
        with pytest.raises(CheckFailed) as caught:
            run.run(given, ticks)
        assert (caught.value.check, caught.value.tick) == (failed.check, failed.tick)
        return
    for results in (
        run.run(given, ticks),
        run_by_steps(stepped, lowered.node.outputs, given, ticks, False),
    ):
        for mine, theirs in zip(results, wanted, strict=True):
            assert same_bits(mine.present, theirs.present)
            assert same_bits(mine.values[mine.present], theirs.values[theirs.present])
    for name, value in interpreter.get_state().items():
        assert same_bits(run.get_state()[name], value)


def test_a_check_stops_a_run_and_sticks() -> None:
    program = CProgram(lower(counter()))
    with pytest.raises(CheckFailed) as caught:
        program.run([np.ones(9, np.float32)], 9)
    assert (caught.value.check, caught.value.tick) == (0, 4)
    with pytest.raises(CheckFailed):
        program.step([np.asarray(0.0, np.float32)])
    program.reset()
    assert program.step([np.asarray(1.0, np.float32)])[0] == 1.0


def test_a_state_set_clears_the_fault() -> None:
    program = CProgram(lower(counter()))
    state = program.get_state()
    with pytest.raises(CheckFailed):
        program.run([np.ones(9, np.float32)], 9)
    program.set_state(state)
    assert program.step([np.asarray(2.0, np.float32)])[0] == 2.0


def test_no_ticks_and_no_inputs() -> None:
    b, s = Builder(), Var("s", f32[()])
    close(b, s, 0.0, b.add(s, b.lit(1.0, f32[()])))
    program = CProgram(lower(b.node("n", (), (s,))))
    assert program.run([], 0)[0].values.shape == (0,)
    assert program.run([], 3)[0].values.tolist() == [0.0, 1.0, 2.0]


def test_flush_is_a_step_with_ended() -> None:
    b, x = Builder(), Var("x", f32[()])
    program = CProgram(lower(b.node("ahead", (x,), (b.post(x, b.lit(9.0, f32[()])),))))
    assert program.lowered.ended is not None and "ahead_flush" in program.sources.header
    program.step([np.asarray(1.0, np.float32)])
    assert program.step([np.asarray(2.0, np.float32)], ended=False)[0] == 2.0
    i = program.instance
    program.library.dll.ahead_flush(*i.arguments)
    assert i.outputs[0] == 9.0


def test_sizes_that_differ_are_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(machine: object) -> object:
        from dataclasses import replace

        from seiche.schedule.layout import in_layout

        return replace(in_layout(machine), size=1)

    monkeypatch.setattr(binding, "in_layout", wrong)
    with pytest.raises(InternalError, match="predicted"):
        CProgram(lower(gru(3, 8)))


def test_fast_arithmetic_is_close() -> None:
    strict, fast = CProgram(lower(gru(8, 24))), CProgram(lower(gru(8, 24)), "fast")
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    a, b = (p.run([x], 50)[0].values for p in (strict, fast))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert strict.library.path != fast.library.path


def test_the_stack_of_a_step_has_a_bound() -> None:
    program = CProgram(lower(gru(8, 24)))
    stack = build.stack_bytes(program.sources.name, program.sources.header, program.sources.source)
    assert stack is None or 0 < stack < 4096


def test_absent_outputs_are_none() -> None:
    b, x, c = Builder(), Var("x", f32[2]), Var("c", bool_[()])
    program = CProgram(lower(b.node("n", (x, c), (b.when(x, c), x))))
    ones = np.ones(2, np.float32)
    assert program.step([ones, np.asarray(False)])[0] is None
    assert program.step([ones, np.asarray(True)])[0].tolist() == [1, 1]


def test_a_tick_from_python_is_one_foreign_call() -> None:
    b, x = Builder(), Var("x", f32[()])
    tick = Instance(CProgram(lower(b.node("n", (x,), (b.add(x, x),)))).library).bound()
    events: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        tick()
    finally:
        sys.setprofile(before)
    assert (
        events.count("call") <= 1 and events.count("c_call") <= 2
    )  # the last is setprofile itself
