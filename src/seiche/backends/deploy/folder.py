"""A folder to drop into a firmware project: the C, how to build and call it, what it needs, where each line comes from.

Everything is made in memory, compiled for the target, and only then written: an error leaves no file behind.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seiche.backends.c.printer import Sources
from seiche.backends.c.source import files_of, write_files
from seiche.backends.deploy import flow, pages
from seiche.backends.deploy.able import check_able
from seiche.backends.deploy.compare import job_of, reference
from seiche.backends.deploy.footprint import Footprint, built, check_fits, check_measured, footprint
from seiche.backends.deploy.harness import Job
from seiche.backends.deploy.replay import replay_file
from seiche.backends.deploy.toolchain import Make, Toolchain, toolchain
from seiche.backends.deploy.trace import Trace, trace
from seiche.backends.inputs import whole_stream
from seiche.backends.program import Program
from seiche.schedule.target import Target
from seiche.schedule.target import target as target_of


@dataclass(frozen=True, repr=False)
class Deployment:
    """What was written, the memory table and the trace."""

    target: str
    files: tuple[Path, ...]
    memory: Footprint
    trace: Trace

    def __repr__(self) -> str:
        sizes = " and ".join(
            f"{self.memory.total(place):,} B of {place}" for place in ("RAM", "flash")
        )
        return f"<deployment for {self.target}: {len(self.files)} files in {self.files[0].parent}, {sizes}>"


def deploy(
    program: Program,
    directory: str | os.PathLike[str],
    *,
    target: str = "host",
    recorded: Sequence[Any] = (),
    compiler: Make | None = None,
) -> Deployment:
    """Writes a program as a folder for a firmware project: X.h, X.c, X_weights.c, CMakeLists.txt, README.md and more.

    `target` is a name, or the path of a user's file. `recorded` are streams as for `program.run`: the first ticks become a main
    that replays them and compares the outputs, if any tick ran before a check stopped it. `compiler` is "zig" or "gcc" (the first that is there).

    Raises SE904 where the target refuses an op or a format, SE909 where the program does not fit its memories, SE901 or SE905
    where it cannot be compiled, SE903 where a stream does not fit, SE914 where the folder holds other files of these names: all before
    anything is written.

    >>> import seiche as sc, tempfile
    >>> @sc.node
    ... def twice(x: sc.f32) -> sc.f32:
    ...     return 2 * x
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = sc.deploy(sc.compile(twice), folder)
    >>> done.memory["instance"].predicted == done.memory["instance"].measured
    True
    """
    machine = target_of(target)
    job = _job(program, recorded, machine)
    chain, memory = _measured(job, compiler)
    traced = trace(program.lowered, job.sources)
    texts = _texts(job, chain, memory, traced)
    name = job.sources.name
    if recorded and (done := reference(job)).ticks:
        texts[f"{name}_replay.c"] = replay_file(job, done)
    stale = [f"{name}_replay.c", f"{name}_weights.c"]
    files = write_files(texts, Path(directory), stale)
    return Deployment(machine.name, tuple(files), memory, traced)


def memory_of(program: Program, target: str, compiler: Make | None = None) -> Footprint:
    """The memory table of a program on a target; raises what `deploy` raises."""
    return _measured(_job(program, (), target_of(target)), compiler)[1]


def _measured(job: Job, compiler: Make | None) -> tuple[Toolchain, Footprint]:
    """The compiler and what it makes of the program, if the target can do it at all."""
    check_able(job.lowered, job.target)
    check_fits(job.scheduled, job.target)
    chain = toolchain(job.target, compiler)
    made = built(chain, job.sources)
    found = footprint(job.scheduled, job.target, job.sources.name, made)
    check_measured(found, job.scheduled, job.target)
    return chain, found


def _job(program: Program, recorded: Sequence[Any], machine: Target) -> Job:
    if not recorded:
        return Job(program.lowered, machine, (), 0)
    streams, ticks = whole_stream(program.signature, tuple(recorded), {})
    return job_of(program.lowered, streams, ticks, machine)


def _texts(job: Job, chain: Toolchain, memory: Footprint, traced: Trace) -> dict[str, str]:
    """Every file but the replay."""
    sources: Sources = job.sources
    name, facts = sources.name, flow.loops(sources, traced)
    return {
        **files_of(sources),
        "CMakeLists.txt": pages.cmake(sources, job.target),
        "README.md": pages.readme(job, chain, memory),
        "MISRA.md": pages.misra(name),
        "TRACE.md": traced.markdown(name),
        f"{name}_trace.json": traced.json(),
        "FLOW.md": flow.markdown(name, facts),
        f"{name}_flow.json": flow.as_json(name, facts),
    }
