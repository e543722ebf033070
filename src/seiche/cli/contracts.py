"""What `seiche falsify` and the recordings of `seiche run` do; the command line only names their options."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seiche.backends.compile import Target
from seiche.backends.falsify import signals
from seiche.backends.falsify.search import Falsification, falsify
from seiche.backends.program import Program
from seiche.backends.recording import Recording, record
from seiche.cli.load import node_of, settings
from seiche.errors import Loc, fail

Say = Callable[[str], None]
WORDS = ("free", "steps", "walk", "constant", "faulty")


@dataclass(frozen=True)
class Files:
    """Where a recording goes, the streams inside that it has too, and how long a tick is."""

    vcd: Path | None
    mcap: Path | None
    watch: tuple[str, ...]
    tick_s: float

    def wanted(self) -> bool:
        return self.vcd is not None or self.mcap is not None

    def write(self, recording: Recording) -> None:
        if self.vcd is not None:
            recording.vcd(self.vcd, self.tick_s)
        if self.mcap is not None:
            recording.mcap(self.mcap, self.tick_s)


def record_command(program: Program, given: list[Any], ticks: int, files: Files) -> None:
    """Writes the recording of a run, where one is wanted."""
    if files.wanted():
        named: dict[str, Any] = {} if given else {"ticks": ticks}
        files.write(record(program, *given, watch=files.watch, **named))


def falsify_command(
    target_node: str,
    inputs: list[str],
    ticks: int,
    budget: int,
    seed: int,
    target: Target,
    set_: list[str],
    save: Path | None,
    files: Files,
    say: Say,
) -> Falsification:
    """Searches, says what was found, and writes the counterexample to the files that are named."""
    said = dict(map(stated, inputs))
    found = falsify(
        node_of(target_node), said, ticks=ticks, budget=budget, seed=seed, target=target, watch=files.watch, **settings(set_)
    )  # fmt: skip
    say(str(found))
    if found.counterexample is not None:
        if save is not None:
            found.counterexample.save(save)
        files.write(found.counterexample.recording)
    return found


def stated(text: str) -> tuple[str, signals.Signal]:
    """An input and its signal, from text such as `speed=steps(0, 30)`; SE903 otherwise.

    >>> stated("speed=faulty(walk(0, 30, 0.5), 0.01)")
    ('speed', Faulty(inner=Walk(low=0.0, high=30.0, step=0.5), rate=0.01))
    """
    name, _, expression = text.partition("=")
    try:
        made = _made(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError):
        made = None
    if not name or not isinstance(made, signals.Signal):
        hint = (
            f"write NAME=SIGNAL, with a signal such as steps(0, 30); there are {', '.join(WORDS)}"
        )
        raise fail(
            "SE903", f"--input {text!r} names no signal", Loc("<command line>", 0), hint=hint
        )
    return name.strip(), made


def _made(at: ast.expr) -> Any:
    """The value of an expression of signals and literals."""
    if isinstance(at, ast.Call) and isinstance(at.func, ast.Name) and at.func.id in WORDS:
        named = {k.arg: _made(k.value) for k in at.keywords if k.arg is not None}
        return getattr(signals, at.func.id)(*map(_made, at.args), **named)
    return ast.literal_eval(at)
