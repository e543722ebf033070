"""`falsify`: inputs under which a node breaks its contract, while they keep what it assumes of them.

Corners of the signals come first, then draws, and changes to those draws whose duties held by the least margin. A draw that
breaks an assumption is drawn anew from that tick on. What is found is made simple and replayed by the interpreter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seiche.backends.compile import Target, Traceable, compile
from seiche.backends.contracts import shown
from seiche.backends.falsify.shrink import shrunk
from seiche.backends.falsify.signals import Anything, Range, Signal
from seiche.backends.falsify.trial import Inputs, Outcome, Trial
from seiche.backends.files import whole
from seiche.backends.program import Program
from seiche.backends.recording import Recording, record
from seiche.errors import NOWHERE, InternalError, SeicheError, fail
from seiche.ir.core import Check
from seiche.ir.op import AnyArray
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest

ELITE, TRIES, REPAIRS = 8, 8, 32
"""How many draws per duty are kept to be changed; how often a tick that breaks an assumption is drawn anew, and a draw in all."""


@dataclass(frozen=True)
class Counterexample:
    """Inputs by which a node breaks a duty at a tick: as few ticks and as simple values as were found.

    `inputs` are streams by the names of the node's arguments (`params['w']` within trees), `error` is what a run over them
    raises, `recording` what all streams were (up to the tick before, where a frame overflows).
    """

    check: Check
    tick: int
    inputs: dict[str, AnyArray]
    error: SeicheError
    recording: Recording
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.error}\n\n{self.recording.table()}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the inputs by the names of the node's streams to a .npz, which `seiche run FILE:NODE --data` replays."""
        with whole(path) as place, place.open("wb") as file:
            np.savez(file, **dict(zip(self.names, self.inputs.values(), strict=True)))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Falsification:
    """What a search has found: true where there is a counterexample.

    `runs` were made over `ticks` ticks in all, those to make it simple included; in `refused` of them the inputs broke what
    the node assumes. `margins` are the least by which each duty held in the others (see `falsify`), infinity where there is no measure.
    """

    counterexample: Counterexample | None
    runs: int
    ticks: int
    refused: int
    margins: dict[str, float]

    def __bool__(self) -> bool:
        return self.counterexample is not None

    def __str__(self) -> str:
        done = f"{self.runs:,} runs, {self.ticks:,} ticks"
        if self.counterexample is not None:
            return f"{self.counterexample}\n\nfound in {done}"
        least = [(m, said) for said, m in self.margins.items() if np.isfinite(m)]
        head = f"no duty was broken in {done} ({self.refused:,} ended by an assumption)"
        rows = [f"  {shown(np.asarray(m)):>10}  {said}" for m, said in least]
        return "\n".join([head, *(["least margins:"] if rows else []), *rows])


def falsify(
    node: Traceable,
    inputs: Mapping[str, Signal] | None = None,
    *,
    ticks: int = 100,
    budget: int = 1000,
    seed: int = 0,
    target: Target = "c",
    watch: tuple[str, ...] = (),
    **static: Any,
) -> Falsification:
    """Searches for inputs of at most `ticks` ticks under which the node breaks a guarantee, an assumption of an instance that it
    uses, or the bound of a frame, while its own assumptions hold.

    `inputs` says by name what each argument may be (`sc.signals`); others are bits, small integers, and reals from -10 to 10.
    `budget` runs are made at most, then others to make what was found simple. Conditions made of comparisons guide the
    search by their margins: `a <= b` holds by b - a. The same seed finds the same counterexample. `static` are the arguments
    that are no streams. None found is no proof.

    Raises SE903 where a signal (or the number of ticks or runs) does not fit, SE906 where the node has nothing to break.

    >>> import seiche as sc
    >>> @sc.node
    ... def tank(inflow: sc.f32) -> sc.f32:
    ...     sc.assume((inflow >= 0) & (inflow <= 2), "at most 2 litres come in")
    ...     level = sc.state(0.0)
    ...     level.next = 0.5 * level + inflow
    ...     sc.guarantee(level.next < 3.5, "the tank does not overflow")
    ...     return level.next
    >>> found = sc.falsify(tank, {"inflow": sc.signals.steps(0, 2)})
    >>> found.counterexample.inputs["inflow"].tolist()
    [2.0, 2.0, 2.0]
    """
    if ticks < 1 or budget < 1:
        raise fail("SE903", f"a search over {ticks} ticks in {budget} runs", NOWHERE)
    program = compile(node, **static)
    signals = _signals(program, inputs or {})
    trial = Trial(program, target, signals)
    if not trial.breakable():
        raise fail(
            "SE906", f"`{program.node.name}` has nothing to break", program.node.loc,
            hint="say what it owes with sc.guarantee(condition, text)",
        )  # fmt: skip
    search = _Search(trial, program, ticks, np.random.default_rng(seed))
    hit = search.run(budget)
    found = None if hit is None else _explained(node, static, program, *shrunk(trial, *hit), watch)
    name = program.node.name
    margins = {d.said(name): least for d, least in zip(trial.duties, search.least, strict=True)}
    return Falsification(found, trial.runs, trial.ticks, search.refused, margins)


def _signals(program: Program, given: Mapping[str, Signal]) -> tuple[Signal, ...]:
    """A signal per input: its own, that of the argument it is part of, or any."""
    paths, arguments = program.signature.paths, program.signature.inputs
    pairs = zip(arguments.keys, arguments.children, strict=True)
    owners = [str(name) for name, child in pairs for _ in range(child.size)]
    for name, signal in given.items():
        known = name in {*paths, *owners}
        if not known or not isinstance(signal, Signal):
            what = (
                f"the input `{name}` is given {signal!r}"
                if known
                else f"there is no input `{name}`"
            )
            raise fail(
                "SE903", what, NOWHERE, f"the inputs are {', '.join(paths) or 'none'}",
                hint="say what it may be with sc.signals: free, steps, walk, constant, given, faulty",
            )  # fmt: skip
    either = (given.get(path, given.get(owner)) for path, owner in zip(paths, owners, strict=True))
    return tuple(signal or Anything() for signal in either)


def _explained(
    node: Traceable,
    static: dict[str, Any],
    program: Program,
    inputs: Inputs,
    found: Outcome,
    watch: tuple[str, ...],
) -> Counterexample:
    """The counterexample, run again by the interpreter as it was written."""
    given = list(program.signature.inputs.unflatten(list(inputs)).values())
    fresh = compile(node, **static)
    try:
        fresh.run(*given, **({} if inputs else {"ticks": found.tick + 1}))
    except SeicheError as error:
        stopped = fresh.stopped
        if stopped is None:
            raise error
        shown = found.tick + (stopped.check.contract is not None)
        return Counterexample(
            stopped.check, stopped.tick, dict(zip(program.signature.paths, inputs, strict=True)), stopped.error,
            _recorded(program, inputs, shown, watch), tuple(v.name for v in program.node.inputs),
        )  # fmt: skip
    raise InternalError(
        f"the interpreter breaks nothing in `{program.node.name}` where the search did: {found}"
    )


def _recorded(program: Program, inputs: Inputs, ticks: int, watch: tuple[str, ...]) -> Recording:
    part = [x[:ticks] for x in inputs]
    given = program.signature.inputs.unflatten(part).values()
    named: dict[str, Any] = {} if inputs else {"ticks": ticks}
    return record(program, *given, watch=watch, **named)


@dataclass(frozen=True)
class _Kept:
    """Inputs over `ticks` ticks, and the least margin by which a duty held there."""

    margin: float
    inputs: Inputs
    ticks: int


class _Search:
    def __init__(
        self, trial: Trial, program: Program, ticks: int, rng: np.random.Generator
    ) -> None:
        self.trial, self.ticks, self.rng = trial, ticks, rng
        self.types = [v.type for v in program.node.inputs]
        self.elite: list[list[_Kept]] = [[] for _ in trial.duties]
        self.least: list[float] = [np.inf for _ in trial.duties]
        self.refused = 0

    def run(self, budget: int) -> tuple[Inputs, Outcome] | None:
        """The first inputs that break something."""
        for candidate in self.candidates():
            if self.trial.runs >= budget:
                return None
            hit = self.tried(candidate, budget)
            if hit is not None or not candidate:
                return hit
        return None

    def tried(self, inputs: Inputs, budget: int) -> tuple[Inputs, Outcome] | None:
        """Runs a candidate. A draw that breaks an assumption is drawn anew from there on, while that brings it further."""
        ticks = len(inputs[0]) if inputs else self.ticks
        reached, left = 0, TRIES if ticks == self.ticks else 1
        last = min(budget, self.trial.runs + REPAIRS)
        while True:
            outcome = self.trial(inputs, ticks)
            if outcome.kind != "refused":
                return self.judged(inputs, outcome, ticks)
            self.refused += 1
            left = TRIES if left > 1 and outcome.tick > reached else left - 1
            reached = max(reached, outcome.tick)
            again = self.spliced(inputs, reached)
            if left <= 0 or self.trial.runs >= last or not self.trial.fits(again):
                break
            inputs = again
        if not reached:
            return None
        begun = tuple(x[:reached] for x in inputs)
        return self.judged(begun, self.trial(begun, reached), reached)

    def judged(self, inputs: Inputs, outcome: Outcome, ticks: int) -> tuple[Inputs, Outcome] | None:
        """A run that broke something; of others the draws that came closest are remembered."""
        if outcome.kind == "broken":
            return inputs, outcome
        for k, margin in enumerate(outcome.margins):
            self.least[k] = min(self.least[k], margin)
            if np.isfinite(margin):
                kept = [*self.elite[k], _Kept(margin, inputs, ticks)]
                self.elite[k] = sorted(kept, key=lambda e: e.margin)[:ELITE]
        return None

    def spliced(self, inputs: Inputs, tick: int) -> Inputs:
        """Inputs with another draw from a tick on."""
        pairs = zip(inputs, self.drawn(), strict=True)
        return tuple(np.concatenate([x[:tick], y[tick:]]) for x, y in pairs)

    def candidates(self) -> Iterator[Inputs]:
        """Corners; then draws, and after each as many runs of changes as it took."""
        yield from self.corners()
        while True:
            before = self.trial.runs
            yield self.drawn()
            until = 2 * self.trial.runs - before
            close = [elite for elite in self.elite if elite]
            while close and self.trial.runs < until:
                elite = close[int(self.rng.integers(len(close)))]
                yield self.changed(elite[int(self.rng.integers(len(elite)))])

    def drawn(self) -> Inputs:
        return tuple(
            s.draw(self.rng, t, self.ticks)
            for s, t in zip(self.trial.signals, self.types, strict=True)
        )

    def corners(self) -> Iterator[Inputs]:
        """All inputs at their lowest, highest, simplest value."""
        for which in ("low", "high", "simplest"):
            pairs = zip(self.trial.signals, self.types, strict=True)
            inputs = tuple(_corner(s, which).draw(self.rng, t, self.ticks) for s, t in pairs)
            if self.trial.fits(inputs):
                yield inputs

    def changed(self, of: _Kept) -> Inputs:
        """Inputs one of which has moved towards another draw: all of it or a stretch, by a little or altogether."""
        for _ in range(TRIES):
            k = int(self.rng.integers(len(of.inputs)))
            x = of.inputs[k].copy()
            other = self.trial.signals[k].draw(self.rng, self.types[k], self.ticks)[: of.ticks]
            start = int(self.rng.integers(of.ticks)) if self.rng.random() < 0.5 else 0
            stop = start + 1 + int(self.rng.integers(of.ticks - start)) if start else of.ticks
            there, moved = x[start:stop], other[start:stop]
            if x.dtype.kind == "f":
                share = 10.0 ** self.rng.uniform(-3, 0)
                moved = self.represented(k, there + share * (moved.astype(np.float64) - there))
            x[start:stop] = moved
            new = (*of.inputs[:k], x, *of.inputs[k + 1 :])
            if self.trial.fits(new):
                return new
        return self.drawn()

    def represented(self, k: int, x: AnyArray) -> AnyArray:
        """Reals as values of an input's format."""
        with np.errstate(all="ignore"):
            return np.asarray(
                round_nearest(NUMPY, x.astype(self.types[k].format.dtype), self.types[k].format)
            )


def _corner(signal: Signal, which: str) -> Signal:
    """A signal that is one value."""
    if not isinstance(signal, Range):
        return signal
    value = {"low": signal.low, "high": signal.high}.get(
        which, min(max(0.0, signal.low), signal.high)
    )
    return replace(signal, low=value, high=value)
