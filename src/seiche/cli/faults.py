"""Python's own errors in a user's code, told without the frames of Seiche."""

from __future__ import annotations

import traceback
from pathlib import Path

from seiche.errors import InternalError

HERE = str(Path(__file__).parents[1])


def in_their_words(error: BaseException) -> str | None:
    """The traceback of an error without Seiche's frames; None for a fault of Seiche itself, which wants them all."""
    told = traceback.TracebackException.from_exception(error)
    frames = list(told.stack)
    ours = [frame.filename.startswith(HERE) for frame in frames]
    if all(ours) or isinstance(error, InternalError):
        return None
    below = frames[len(ours) - ours[::-1].index(False) :]
    if below and not (below[-1].line or "").startswith("raise"):
        return None
    told.stack = traceback.StackSummary.from_list(
        [f for f, mine in zip(frames, ours, strict=True) if not mine]
    )
    return "".join(told.format(chain=False)).rstrip()
