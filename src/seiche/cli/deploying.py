"""What `seiche deploy` and `seiche weights` do; the command line only names their options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seiche.backends.deploy.compare import Emulation, emulate
from seiche.backends.deploy.folder import deploy, memory_of
from seiche.backends.deploy.toolchain import Make
from seiche.backends.deploy.weights import load_weights, parameters, save_weights
from seiche.backends.program import Program
from seiche.cli.load import streams

Say = Callable[[str], None]


@dataclass(frozen=True)
class Streams:
    """Where inputs come from: a file, or a seed."""

    data: Path | None
    ticks: int
    seed: int

    def of(self, program: Program) -> list[Any]:
        """The arguments of a run."""
        flat = streams(program, self.data, self.ticks, self.seed)
        return list(program.signature.inputs.unflatten(flat).values())


def with_weights_of(program: Program, file: Path | None) -> Program:
    """The program with the weights of a file, where one is given."""
    return program if file is None else load_weights(program, file)


def deploy_command(
    program: Program,
    target: str,
    compiler: Make | None,
    directory: Path | None,
    run: bool,
    given: Streams,
    against: Literal["interp", "c"],
    say: Say,
) -> bool:
    """Writes the folder, runs on the emulated processor, or only prints the memory table; whether all bits agree."""
    inputs = given.of(program)
    if directory is not None:
        done = deploy(program, directory, target=target, recorded=inputs, compiler=compiler)
        for file in done.files:
            say(f"{file}  {file.stat().st_size:,} B")
    say(str(memory_of(program, target, compiler)))
    if not run:
        return True
    named = {} if inputs else {"ticks": given.ticks}
    ran = emulate(program, *inputs, target=target, compiler=compiler, against=against, **named)
    say(told(ran))
    return ran.agrees


def told(ran: Emulation) -> str:
    """What a run on an emulated processor showed.

    >>> from pathlib import Path
    >>> print(told(Emulation("cortex-m3", 10, None, None, 1234.5, 1300, 80, Path())))
    10 ticks on cortex-m3: every bit is the interpreter's
    1,234.5 instructions per step, 1,300 at most; 80 B of stack
    """
    verdict = "every bit is the interpreter's" if ran.agrees else f"NOT the interpreter's: {ran.difference}"  # fmt: skip
    lines = [f"{ran.ticks} ticks on {ran.target}: {verdict}"]
    if ran.stopped is not None and ran.agrees:
        lines.append(f"both stop there: {ran.stopped}")
    mean = f"{ran.instructions:,.1f} instructions per step, {ran.instructions_max:,} at most"
    return "\n".join([*lines, f"{mean}; {ran.stack_bytes:,} B of stack"])


def weights_command(program: Program, file: Path, given: Streams | None, say: Say) -> None:
    """Writes the parameters to a file, after a run over data where that is given."""
    if given is not None:
        program.run(*given.of(program))
    save_weights(program, file)
    for name, p in parameters(program.node).items():
        say(f"{name:<32}{p.type}")
    say(f"{file}  {file.stat().st_size:,} B")
