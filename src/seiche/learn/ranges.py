"""Settings of learners, checked where they are given: rates, discounts and counts outside of their ranges would only learn badly."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from seiche.errors import Diagnostic, SeicheError
from seiche.lang import trace
from seiche.lang.stream import Stream

SHARE, FADING = "[0, 1]", "[0, 1)"
POSITIVE, NOT_NEGATIVE, BOUND = "(0, inf)", "[0, inf)", "(0, inf]"
COUNT = "1.."


def check(who: str, settings: Mapping[str, Any], **ranges: str) -> None:
    """Raises SE112, naming each setting that is not in its range: an interval of reals, or `1..` or `1..9` for whole numbers.

    Streams and schedules (functions of the step) are not numbers yet, and None is a setting that was not made: they pass.

    >>> check("PPO", {"clip": 0.0, "epochs": 2}, clip=POSITIVE, epochs=COUNT)
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: <doctest seiche.learn.ranges.check[0]>:1: error[SE112]: PPO: clip is 0.0, not a number in (0, inf)
         1 | check("PPO", {"clip": 0.0, "epochs": 2}, clip=POSITIVE, epochs=COUNT)
    """
    wrong = [
        Diagnostic("SE112", f"{who}: {name} is {settings[name]!r}, not {_said(allowed)}", trace.here())
        for name, allowed in ranges.items()
        if not _passes(settings[name]) and not _inside(settings[name], allowed)
    ]  # fmt: skip
    if wrong:
        raise SeicheError(wrong)


def _passes(value: Any) -> bool:
    return value is None or callable(value) or isinstance(value, Stream)


def _said(allowed: str) -> str:
    low, dots, high = allowed.partition("..")
    if not dots:
        return f"a number in {allowed}"
    return f"a whole number from {low} {f'to {int(high):,}' if high else 'up'}"


def _inside(value: Any, allowed: str) -> bool:
    """Whether it is a number of that range.

    >>> _inside(1, "[0, 1)"), _inside(1, "[0, 1]"), _inside(True, "1.."), _inside(7, "1..7"), _inside(float("nan"), "[0, 1]")
    (False, True, False, True, False)
    """
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    low, dots, high = allowed.partition("..")
    if dots:
        return isinstance(value, Integral) and float(low) <= int(value) <= float(high or "inf")
    given = float(value)
    least, most = map(float, allowed[1:-1].split(","))
    above = given >= least if allowed[0] == "[" else given > least
    return above and (given <= most if allowed[-1] == "]" else given < most)
