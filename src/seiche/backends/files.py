"""Files that users name: written beside their places and moved there, so that there is the whole file or nothing new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seiche.errors import NOWHERE, fail


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The path to write to inside the block; its file is moved to `path` when the block ends well. Raises SE914.

    >>> with whole("no/such/folder/file"):
    ...     pass
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: error[SE914]: no/such/folder/file cannot be written
      because: there is no folder no/such/folder
    """
    target = Path(path)
    what = f"{os.fspath(path) or '``'} cannot be written"
    if os.path.isdir(target):
        raise fail("SE914", what, NOWHERE, "it is a folder", hint="name a file in it")
    if not os.path.isdir(target.parent):
        raise fail("SE914", what, NOWHERE, f"there is no folder {target.parent}")
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise fail("SE914", what, NOWHERE, error.strerror or str(error)) from None
    finally:
        with suppress(OSError):
            partial.unlink()
