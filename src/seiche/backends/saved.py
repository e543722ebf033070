"""Saved states: a numpy .npz with a JSON header that says whose state it is; checked in full before anything changes.

A state is a dict from name to array, in carriers. Whatever does not fit is SE902: another program, a damaged file, missing
or unknown names, other shapes or dtypes, values that the format does not have, NaN. Infinities are values: a lowest so far starts there.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seiche.backends.files import whole
from seiche.errors import NOWHERE, Loc, SeicheError, fail
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest

MAGIC, VERSION = "seiche state", 1
DAMAGED = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError, TypeError, RuntimeError,
    MemoryError,
)  # fmt: skip
"""What reading a file that is cut or corrupt may raise."""


@dataclass(frozen=True)
class Header:
    """`fingerprint` is of the program, `bare` of what is left of it without contracts, and `kept` names the states of that;
    `ticks` is how many it has seen since its reset."""

    magic: str
    version: int
    program: str
    fingerprint: str
    ticks: int
    states: tuple[tuple[str, str], ...]
    bare: str = ""
    kept: tuple[str, ...] = ()


def misfit(what: str, *why: str | tuple[str, Loc | None], hint: str = "") -> SeicheError:
    return fail("SE902", what, NOWHERE, *why, hint=hint)


def checked(
    values: Mapping[str, Any],
    types: Mapping[str, Type],
    locs: Mapping[str, Loc],
    allow_nan: bool = False,
) -> dict[str, AnyArray]:
    """Copies of the arrays of a whole state; raises SE902."""
    missing = [name for name in types if name not in values]
    unknown = [name for name in values if name not in types]
    if missing or unknown:
        why = [f"missing: {', '.join(missing)}"] * bool(missing) + [
            f"unknown: {', '.join(unknown)}"
        ] * bool(unknown)
        raise misfit("a state with other names than the program's", *why)
    return {name: fitting(name, values[name], types[name], locs[name], allow_nan) for name in types}


def fitting(name: str, value: Any, type: Type, loc: Loc, allow_nan: bool) -> AnyArray:
    """A copy of the array of one state; raises SE902."""
    array, dtype = np.asarray(value), np.dtype(type.format.dtype)
    if (array.shape, array.dtype) != (type.shape, dtype):
        found = f"{array.dtype}{list(array.shape)}"
        raise misfit(
            f"state `{name}` is {type}, carried as {dtype}{list(type.shape)}, not {found}",
            ("its equation", loc),
        )
    array = np.array(array, order="C")
    if array.dtype.kind == "f" and not allow_nan and np.isnan(array).any():
        count = int(np.isnan(array).sum())
        hint = "load(..., allow_nan=True) takes it as it is"
        raise misfit(f"state `{name}` holds {count} NaN", ("its equation", loc), hint=hint)
    if not type.format.exact:
        with np.errstate(all="ignore"):
            rounded = np.asarray(round_nearest(NUMPY, array, type.format))
        if not np.array_equal(rounded, array, equal_nan=True):
            raise misfit(
                f"state `{name}` holds values that are no {type.format}", ("its equation", loc)
            )
        array = rounded  # zeros of fixed point have no sign
    return array


def write(path: str | os.PathLike[str], header: Header, state: Mapping[str, AnyArray]) -> None:
    """Writes the whole file or, if that fails, nothing; raises SE914."""
    text = np.frombuffer(json.dumps(asdict(header)).encode(), np.uint8)
    arrays = {f"state{i}": state[name] for i, (name, _) in enumerate(header.states)}
    with whole(path) as place, place.open("wb") as file:
        np.savez(file, header=text, **arrays)  # pyright: ignore[reportArgumentType]


def read(path: str | os.PathLike[str]) -> tuple[Header, dict[str, AnyArray]]:
    """The content of a file; raises SE902 where it is damaged or no state, FileNotFoundError where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                raise misfit(
                    f"{path} is damaged", f"the checksum of `{broken}` does not fit its content"
                )
        with np.load(path, allow_pickle=False) as file:
            header = _header(file["header"])
            state = {name: file[f"state{i}"] for i, (name, _) in enumerate(header.states)}
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        why = f"{type(error).__name__}: {error}"
        raise misfit(f"{path} is damaged, or no saved state", why) from None
    return header, state


def _header(data: AnyArray) -> Header:
    fields = json.loads(data.tobytes().decode())
    if fields.get("magic") != MAGIC:
        raise ValueError("it does not say that it is a seiche state")
    if fields.get("version") != VERSION:
        found = fields.get("version")
        raise misfit(f"a saved state of version {found}; this is version {VERSION}")
    fields["states"] = tuple((str(name), str(type)) for name, type in fields["states"])
    fields["kept"] = tuple(map(str, fields.get("kept", ())))
    return Header(**fields)
