"""Finds nodes in a user's file, and streams in a user's data."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from seiche.backends.compile import compile as compiled
from seiche.backends.program import Program
from seiche.errors import NOWHERE, Loc, SeicheError, fail
from seiche.ir.core import Var
from seiche.lang.node import NodeFunction


def nodes_of(file: Path) -> dict[str, NodeFunction]:
    """The nodes that a Python file defines, by name; SE906 when it cannot be read or run."""
    where = Loc(str(file), 1)
    if not file.is_file():
        raise fail("SE906", f"there is no file {file}", where, hint="write FILE.py or FILE.py:node")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise fail("SE906", f"{file} is no Python file", where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    # As `python FILE` finds modules, and as `python -m` does.
    beside = [str(file.resolve().parent), str(Path.cwd())]
    sys.path[:0] = beside
    try:
        spec.loader.exec_module(module)
    except SeicheError:
        raise
    except Exception as error:
        raise fail(
            "SE906", f"{file} stops with {type(error).__name__}: {error}", _place(error, file)
        ) from error
    finally:
        for folder in beside:
            sys.path.remove(folder)
    found = {n: v for n, v in vars(module).items() if isinstance(v, NodeFunction)}
    mine = {n: v for n, v in found.items() if Path(v.where.file).resolve() == file.resolve()}
    return mine or found


def _place(error: Exception, file: Path) -> Loc:
    if isinstance(error, SyntaxError) and error.lineno:
        return Loc(error.filename or str(file), error.lineno)
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name
    ]
    return Loc(str(file), (frames[-1].lineno or 1) if frames else 1)


def node_of(target: str) -> NodeFunction:
    """The node of `FILE:node`; of `FILE` when it defines just one. SE906 otherwise."""
    path, _, name = target.rpartition(":") if ".py:" in target else (target, "", "")
    file = Path(path)
    nodes = nodes_of(file)
    if not name and len(nodes) == 1:
        return next(iter(nodes.values()))
    if name not in nodes:
        what = f"{file} defines no node {name!r}" if name else f"{file} defines {len(nodes)} nodes"
        known = ", ".join(nodes) or "none: decorate a function with @sc.node"
        raise fail("SE906", what, Loc(str(file), 1), hint=f"write {file}:NODE; nodes here: {known}")
    return nodes[name]


@dataclass(frozen=True)
class How:
    """How a command compiles a node: budget, deadline, contracts, and arguments that are no streams."""

    memory: str | None = None
    deadline: str | None = None
    monitors: bool = True
    set_: Sequence[str] = ()


def program_of(target_node: str, how: How, target: str = "interp") -> Program:
    """The program of `FILE:node`."""
    return compiled(
        node_of(target_node), target=target, memory=how.memory, deadline=how.deadline,  # type: ignore[arg-type]
        monitors=how.monitors, **settings(how.set_),
    )  # fmt: skip


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Static arguments from `name=value`; values are Python literals, anything else is text.

    >>> settings(["rate=0.5", "mode=fast"])
    {'rate': 0.5, 'mode': 'fast'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise fail("SE906", f"--set {pair!r} is not NAME=VALUE", Loc("<command line>", 0))
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def streams(
    program: Program, file: Path | None, ticks: int, seed: int
) -> list[np.ndarray[Any, Any]]:
    """A stream per input: from a .npz (arrays by name), a .npy or a .csv (columns in order, or by name under a first line that names
    all inputs); random without a file. Raises SE906 where the file cannot be read, or holds what an input's format does not have.
    """
    wanted = tuple(program.node.inputs)
    if file is None:
        rng = np.random.default_rng(seed)
        return [_random(rng, v.type.format.dtype, (ticks, *v.type.shape)) for v in wanted]
    where = Loc(str(file), 1)
    if not file.is_file():
        raise fail("SE906", f"there is no file {file}", where)
    try:
        given = _arrays(wanted, file, where)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise fail("SE906", f"{file} cannot be read", NOWHERE, str(error)) from None
    return [_carried(v, x, file) for v, x in zip(wanted, given, strict=True)]


def _arrays(wanted: Sequence[Var], file: Path, where: Loc) -> list[np.ndarray[Any, Any]]:
    """What a file holds for each input, as it is there."""
    if file.suffix == ".npz":
        with np.load(file) as data:
            missing = [v.name for v in wanted if v.name not in data]
            if missing:
                what = f"{file} has no array `{missing[0]}`"
                raise fail("SE906", what, where, hint=f"it has {', '.join(data)}")
            return [data[v.name] for v in wanted]
    table = np.asarray(np.load(file)) if file.suffix == ".npy" else _csv(wanted, file)
    return _columns(wanted, table, where)


def _csv(wanted: Sequence[Var], file: Path) -> np.ndarray[Any, Any]:
    """The rows of a .csv; under a first line of names, those of the inputs in their order."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    head = [cell.strip() for cell in lines[0].split(",")] if lines else []
    names = [v.name for v in wanted]
    named = set(names) <= set(head) and all(not v.type.shape for v in wanted)
    rows = [line for line in lines[int(named) :] if line.strip()]
    if not rows:
        raise ValueError("it holds no numbers")
    at = [head.index(name) for name in names] if named else None
    return np.loadtxt(rows, delimiter=",", ndmin=2, usecols=at)


def _columns(
    wanted: Sequence[Var], table: np.ndarray[Any, Any], where: Loc
) -> list[np.ndarray[Any, Any]]:
    """A table's columns, as many as the elements of each input."""
    rows = table.reshape(len(table), -1)
    elements = sum(v.type.size for v in wanted)
    if rows.shape[1] != elements:
        what = f"{where.file} has {rows.shape[1]} columns, the inputs have {elements} elements"
        raise fail("SE906", what, where)
    parts: list[np.ndarray[Any, Any]] = []
    start = 0
    for v in wanted:
        part = rows[:, start : start + v.type.size]
        parts.append(part.reshape(len(rows), *v.type.shape))
        start += v.type.size
    return parts


def _carried(v: Var, x: np.ndarray[Any, Any], file: Path) -> np.ndarray[Any, Any]:
    """Values of a file in an input's carrier: floats are rounded, whole numbers and truths must be just that."""
    dtype = np.dtype(v.type.format.dtype)
    if x.dtype.kind not in "biuf":
        raise fail("SE906", f"{file} holds {x.dtype} for `{v.name}`, which is {v.type}", v.loc)
    with np.errstate(all="ignore"):
        made = x.astype(dtype)
        wrong = np.flatnonzero(made != x)
    if dtype.kind in "biu" and len(wrong):
        what = f"{file} holds {x.reshape(-1)[wrong[0]]} for `{v.name}`, which is {v.type}"
        raise fail("SE906", what, v.loc)
    return made


def _random(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 8, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)
