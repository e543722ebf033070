"""Diagnostics: what, where, why, hint; each code has a page in `docs/errors/`.

A pass collects all its `Diagnostic`s and raises them together as one `SeicheError`.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable
from dataclasses import dataclass

CODES: dict[str, str] = {
    # tracing
    "SE101": "the truth of a stream was asked for",
    "SE102": "a state or costate without its equation",
    "SE103": "two definitions of one thing",
    "SE104": "in-place change of a stream",
    "SE105": "tracing is impure",
    "SE106": "a declared variable without a definition",
    "SE107": "an equation or input that nothing uses",
    "SE108": "a stream used outside the node that made it",
    "SE109": "an argument does not fit the node",
    "SE110": "a static value is needed here, not a stream",
    "SE111": "a node returns something that is no tree of streams",
    "SE112": "a setting is out of its range",
    # types
    "SE201": "shapes or formats do not fit",
    "SE202": "an index is out of range or not supported",
    "SE203": "formats are not converted implicitly",
    # clocks
    "SE301": "streams on different clocks",
    "SE302": "a condition is not a scalar boolean stream",
    "SE303": "look-ahead on a sub-clock",
    # causality
    "SE401": "an instantaneous cycle",
    "SE402": "a cycle that needs both the past and the future",
    "SE403": "a costate recurrence outside a frame",
    # initialisation
    "SE501": "an undefined first value can be seen",
    # frames
    "SE601": "a frame without a usable bound",
    "SE602": "a frame overflowed",
    "SE603": "a frame is used in a way it does not allow",
    # time and space
    "SE604": "a node cannot run side by side or in blocks",
    "SE605": "a function cannot be folded over time",
    "SE606": "stages cannot run at once",
    "SE607": "a product cannot be cut up like that",
    # derivatives
    "SE701": "no derivative",
    "SE702": "a gradient of something that is not a real scalar",
    "SE703": "a custom derivative does not fit its function",
    # automata
    "SE801": "an unknown or repeated mode",
    "SE802": "a mode leaves a shared variable undefined",
    # contracts
    "SE803": "an assumption does not hold",
    "SE804": "a guarantee does not hold",
    # compiling and running
    "SE901": "no C compiler",
    "SE902": "a saved state does not fit",
    "SE903": "an input does not fit",
    "SE904": "the target cannot do this",
    "SE905": "the C compiler failed",
    "SE906": "a file or node cannot be loaded",
    "SE907": "text that is no program",
    "SE908": "the program does not fit in its memory",
    "SE909": "the program does not fit on the target",
    "SE910": "a file of weights does not fit",
    "SE911": "a processor cannot be emulated",
    "SE912": "a deadline that cannot hold",
    "SE913": "a frame closed before the work of the one before was done",
    "SE914": "a file cannot be written",
}


@dataclass(frozen=True)
class Loc:
    """A place in the user's source."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def source(self) -> str:
        """The text of the line, or nothing where it cannot be read."""
        return linecache.getline(self.file, self.line).strip()


NOWHERE = Loc("<seiche>", 0)


@dataclass(frozen=True)
class Diagnostic:
    """One fault: `why` holds lines of text, each with the place it speaks of (or None)."""

    code: str
    what: str
    where: Loc
    why: tuple[tuple[str, Loc | None], ...] = ()
    hint: str = ""
    severity: str = "error"

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code

    def __str__(self) -> str:
        place = "" if self.where == NOWHERE else f"{self.where}: "
        lines = [f"{place}{self.severity}[{self.code}]: {self.what}"]
        if self.where.source:
            lines.append(f"    {self.where.line:>4} | {self.where.source}")
        for text, place in self.why:
            lines.append(f"  because: {text}" + (f"  ({place})" if place else ""))
            if place and place.source and place != self.where:
                lines.append(f"    {place.line:>4} | {place.source}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class SeicheError(Exception):
    """All errors that a pass found.

    >>> raise SeicheError([Diagnostic("SE101", "bool() of `x`", Loc("f.py", 3), hint="use `sc.where`")])
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: f.py:3: error[SE101]: bool() of `x`
      hint: use `sc.where`
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(map(str, self.diagnostics)))

    @property
    def code(self) -> str:
        """The code of the first diagnostic."""
        return self.diagnostics[0].code


def fail(
    code: str, what: str, where: Loc, *why: str | tuple[str, Loc | None], hint: str = ""
) -> SeicheError:
    """A SeicheError of one diagnostic, to be raised by the caller."""
    reasons = tuple((w, None) if isinstance(w, str) else w for w in why)
    return SeicheError([Diagnostic(code, what, where, reasons, hint)])


class InternalError(Exception):
    """A broken invariant of the compiler; prints the equations around the fault."""
