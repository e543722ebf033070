"""Runs programs on an emulated processor: builds one ELF, feeds it by semihosting, reads what came out."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seiche.backends.deploy import harness
from seiche.backends.deploy.harness import Job, Outcome
from seiche.backends.deploy.toolchain import Make, linked, shift, toolchain
from seiche.errors import NOWHERE, SeicheError, fail
from seiche.schedule.target import Target

CONSOLE = (
    "-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native",
)  # fmt: skip
SECONDS_MAX = 600.0
"""After which an emulator is stopped."""


@dataclass(frozen=True)
class Run:
    """The outcome of each program, and the ELF that ran."""

    outcomes: tuple[Outcome, ...]
    elf: Path


def emulator(target: Target) -> str:
    """The path of the target's emulator; raises SE904 for a target without one, SE911 where it is not installed."""
    table = target.tables.get("qemu")
    if table is None:
        why = "its file has no table [qemu]"
        raise fail("SE904", f"target {target.name!r} cannot be emulated", NOWHERE, why)
    command = str(table["command"])
    path = shutil.which(command)
    if path is None:
        hint = (
            "on Debian or Ubuntu, `apt-get install qemu-system-arm qemu-system-misc` has them all"
        )
        raise fail("SE911", f"{target.name} is emulated by {command}, which is not on PATH", NOWHERE, hint=hint)  # fmt: skip
    return path


def emulate(jobs: Sequence[Job], make: Make | None = None, exact: bool = True) -> Run:
    """Runs programs for one target, one after the other in one ELF. `exact` counts instructions, which takes twice the time.

    Raises SE901, SE904, SE905 or SE909 where it cannot be built, SE911 where it cannot be run.
    """
    target = jobs[0].target
    path = emulator(target)
    chain = toolchain(target, make)
    elf = linked(chain, target, harness.sources_of(jobs), harness.defines(jobs))
    with tempfile.TemporaryDirectory(prefix="seiche-") as folder:
        where = Path(folder)
        with (where / "in.bin").open("wb") as file:
            for job in jobs:
                file.write(job.rows())
        _run([path, *_arguments(target, exact), "-kernel", str(elf)], target, where)
        reader = harness.Reader((where / "out.bin").read_bytes())
    return Run(tuple(harness.outcome(job, reader) for job in jobs), elf)


def _arguments(target: Target, exact: bool) -> list[str]:
    own = [str(a) for a in target.tables["qemu"]["arguments"]]
    return [*own, *CONSOLE, *(["-icount", f"shift={shift(target)}"] if exact else [])]


def _run(command: list[str], target: Target, folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=SECONDS_MAX,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _stopped(target, f"it did not end within {SECONDS_MAX:.0f} s") from None
    except OSError as error:
        raise _stopped(target, str(error)) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()][:8]
        raise _stopped(target, _status(done.returncode), *said)


def _status(code: int) -> str:
    return "the processor faulted" if code == 99 else f"it ended with status {code}"


def _stopped(target: Target, *why: str) -> SeicheError:
    return fail("SE911", f"the emulator of {target.name} stopped", NOWHERE, *why)
