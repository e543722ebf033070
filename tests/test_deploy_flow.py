"""Flow facts: every loop of generated C has a bound, and when programs run, what is counted keeps to it."""

from __future__ import annotations

import ctypes
import json
import re
from pathlib import Path

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.build import build
from seiche.backends.c.printer import Sources, print_c
from seiche.backends.deploy.flow import HEAD, Loop, loops
from seiche.backends.deploy.trace import trace
from seiche.schedule.lower import Lowered, lower
from seiche.schedule.machine import schedule
from seiche.schedule.target import target
from tests.deployed import advising, integral, needs_zig, watching
from tests.machines import gru
from tests.programs import random_inputs, random_program

pytestmark = pytest.mark.cc
INIT = re.compile(r"= (.+?); (\w+) (<|>=) ")
TICKS = 30


def facts(lowered: Lowered, board: str = "host") -> tuple[Sources, list[Loop]]:
    sources = print_c(schedule(lowered, target(board)).machine)
    return sources, loops(sources, trace(lowered, sources))


def counting(sources: Sources, found: list[Loop]) -> dict[str, str]:
    """The program with two counters per `for` of a step: entries of the loop, and iterations."""
    lines = sources.source.splitlines()
    for k, loop in enumerate(found):
        text = lines[loop.line - 1]
        if HEAD.match(text):
            text = INIT.sub(rf"= (++seiche_entries[{k}], \1); \2 \3 ", text, count=1)
            lines[loop.line - 1] = text.replace("{", f"{{ ++seiche_rounds[{k}];", 1)
    size = max(1, len(found))
    counters = "".join(f"extern uint64_t seiche_{c}[{size}]; uint64_t seiche_{c}[{size}];\n" for c in ("entries", "rounds"))  # fmt: skip
    source = "#include <stdint.h>\n" + counters + "\n".join(lines) + "\n"
    name = sources.name
    return {f"{name}.h": sources.header, f"{name}.c": source, f"{name}_host.c": sources.host}


def counted(lowered: Lowered, inputs: list[np.ndarray]) -> list[tuple[Loop, int, int]]:
    """Runs a program; its loops with how often each was entered and went round."""
    from seiche.backends.c import binding

    sources, found = facts(lowered)
    plain = binding.Library(schedule(lowered))
    plain.dll = ctypes.CDLL(str(build(counting(sources, found))))
    for method in ("init", "reset", "step"):
        result = ctypes.c_int32 if method == "step" else None
        setattr(plain, method, plain._function(method, result))  # pyright: ignore[reportPrivateUsage]
    binding.calls.prepare(plain.dll, sources.name)
    instance = binding.Instance(plain)
    for t in range(TICKS):
        for view, x in zip(instance.inputs, inputs, strict=False):
            view[...] = x[t]
        if instance.tick():
            break
    size = max(1, len(found))
    entries, rounds = (
        (ctypes.c_uint64 * size).in_dll(plain.dll, f"seiche_{c}") for c in ("entries", "rounds")
    )
    text = sources.source.splitlines()
    return [(f, entries[k], rounds[k]) for k, f in enumerate(found) if HEAD.match(text[f.line - 1])]


def check(lowered: Lowered, inputs: list[np.ndarray]) -> int:
    """How many loops were entered."""
    seen = counted(lowered, inputs)
    for loop, entries, rounds in seen:
        assert loop.most is not None and rounds <= loop.most * entries, loop
        assert not loop.exact or rounds == loop.most * entries, loop
        assert loop.most_per_call is None or rounds <= loop.most_per_call * (TICKS + 1), loop
    return sum(entries > 0 for _, entries, _ in seen)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_keep_to_their_flow_facts(seed: int) -> None:
    node = random_program(seed)
    check(lower(node), random_inputs(node, seed, TICKS))


def test_programs_keep_to_their_flow_facts() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(-128, 128, (TICKS, 16, 4)).astype(np.int8)
    assert check(integral().lowered, [small]) > 5
    assert check(lower(gru(5, 12)), [rng.normal(size=(TICKS, 5)).astype(np.float32)]) >= 1
    real = rng.normal(size=(2, TICKS)).astype(np.float32)
    assert check(watching().lowered, [real[0], rng.random(TICKS) < 0.2]) >= 1
    ends = np.arange(TICKS) % 5 == 4
    assert check(advising().lowered, [*real, ends]) >= 1


@pytest.mark.parametrize("board", ["host", "cortex-m3", "riscv32imafc"])
def test_every_loop_has_a_bound(board: str) -> None:
    nodes = [lower(random_program(seed)) for seed in range(30)]
    for one in [*nodes, watching().lowered, advising().lowered, integral().lowered]:
        sources, found = facts(one, board)
        heads = [x for x in sources.source.splitlines() if re.match(r" *(for|while) \(", x)]
        assert len(heads) == len(found)
        assert all(f.most is not None and f.most_per_call is not None for f in found)


def test_loops_inside_loops_multiply() -> None:
    @sc.node
    def product(x: sc.f32[50, 60], y: sc.f32[60, 70]) -> sc.Stream:
        return sc.matmul(x, y, loops=sc.tile(i=10, j=7))

    _, found = facts(sc.compile(product).lowered)
    inner = [f for f in found if f.depth]
    assert inner and all(f.most_per_call is not None and f.most for f in inner)
    assert max(f.most_per_call or 0 for f in inner) >= 50 * 60 * 10


@needs_zig
def test_the_folder_holds_them(tmp_path: Path) -> None:
    sc.deploy(watching(), tmp_path, target="cortex-m3")
    rows = json.loads((tmp_path / "monitor_flow.json").read_text())["loops"]
    lines = (tmp_path / "monitor.c").read_text().splitlines()
    assert rows and all(
        "for (" in lines[r["line"] - 1] or "while (" in lines[r["line"] - 1] for r in rows
    )
    assert any("deployed.py" in r["source"] for r in rows)
    assert any(r["function"] == "sqrt_f32" and r["max"] == 25 for r in rows)
    assert (tmp_path / "FLOW.md").read_text().count("| monitor.c:") == len(rows)
