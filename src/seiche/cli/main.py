"""The command `seiche`: run, compile, report and check nodes of a user's file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from seiche.backends.compile import diagnose
from seiche.backends.files import whole
from seiche.backends.program import Sparse
from seiche.cli.faults import in_their_words
from seiche.cli.load import How, node_of, nodes_of, program_of, settings, streams
from seiche.errors import Diagnostic, SeicheError
from seiche.ir import tree

app = typer.Typer(
    help="Seiche: a reactive language embedded in Python, for systems that learn where they run.",
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
)  # fmt: skip
out, err = Console(), Console(stderr=True)

Where = Annotated[
    str,
    typer.Argument(
        metavar="FILE:NODE", help="a Python file and a node in it; FILE when it has one node"
    ),
]
Set = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="an argument that is no stream")
]
Memory = Annotated[
    str | None, typer.Option(metavar="BYTES", help="a budget for an instance, such as 64KiB")
]
Deadline = Annotated[
    str | None, typer.Option(metavar="OPS", help="operations of the worst tick, or such as 2.5x")
]
Monitors = Annotated[bool, typer.Option(help="with the checks of contracts, or without")]
TargetOption = Annotated[str, typer.Option(help="interp (numpy, the meaning) or c")]
Data = Annotated[
    Path | None,
    typer.Option(help=".npz (arrays by input), .npy or .csv; random streams without"),
]
Seed = Annotated[int, typer.Option(help="of the random streams")]
Vcd = Annotated[
    Path | None, typer.Option(help="record the streams to a .vcd, for waveform viewers")
]
Mcap = Annotated[Path | None, typer.Option(help="record the streams to a .mcap, for Foxglove")]
Watch = Annotated[
    list[str],
    typer.Option(metavar="STREAM", help='also record a stream inside: "limiter/y", "limiter/*"'),
]
TickS = Annotated[float, typer.Option("--tick", help="seconds that a tick takes in recordings")]


@contextmanager
def diagnosed() -> Iterator[None]:
    """Prints a SeicheError as a compiler does, an error of the user's code with its own frames, and exits with 1."""
    try:
        yield
    except SeicheError as error:
        _show(error.diagnostics)
        raise typer.Exit(1) from None
    except OSError as error:
        err.print(f"{error}", style="bold red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    except Exception as error:
        said = in_their_words(error)
        if said is None:
            raise
        err.print(said, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def plain(text: str) -> None:
    """Prints text as it is."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _show(found: tuple[Diagnostic, ...]) -> None:
    for diagnostic in found:
        color = "red" if diagnostic.severity == "error" else "yellow"
        head, _, rest = str(diagnostic).partition("\n")
        err.print(head, style=f"bold {color}", markup=False, highlight=False)
        if rest:
            err.print(rest, markup=False, highlight=False)
    errors = sum(d.severity == "error" for d in found)
    if found:
        err.print(
            f"{_many(errors, 'error')}, {_many(len(found) - errors, 'warning')}; `seiche explain CODE` tells more",
            style="bold",
        )


@app.command()
def run(
    target_node: Where,
    data: Data = None,
    ticks: Annotated[int, typer.Option(min=0, help="how many ticks of random streams")] = 10,
    seed: Seed = 0,
    target: TargetOption = "interp",
    save: Annotated[Path | None, typer.Option(help="write the results to a .npz")] = None,
    vcd: Vcd = None,
    mcap: Mcap = None,
    watch: Watch = [],  # noqa: B006
    tick: TickS = 1e-3,
    memory: Memory = None,
    deadline: Deadline = None,
    monitors: Monitors = True,
    set_: Set = [],  # noqa: B006
) -> None:
    """Runs a node over streams and prints its results."""
    from seiche.cli.contracts import Files, record_command

    with diagnosed(), err.status("tracing, checking, compiling"):
        program = program_of(target_node, How(memory, deadline, monitors, set_), target)
        inputs = streams(program, data, ticks, seed)
        given = list(program.signature.inputs.unflatten(inputs).values())
        record_command(program, given, ticks, Files(vcd, mcap, tuple(watch), tick))
    with diagnosed(), err.status(f"running {len(inputs[0]) if inputs else ticks} ticks"):
        began = time.perf_counter()
        results = program.run(*given) if inputs else program.run(ticks=ticks)
        spent = time.perf_counter() - began
    named = dict(
        zip(
            (v.name for v in program.node.outputs),
            tree.flatten(results, _is_result)[0],
            strict=True,
        )
    )
    _results(named)
    count = len(inputs[0]) if inputs else ticks
    out.print(
        f"{count} ticks, {spent / max(count, 1) * 1e6:.2f} µs per tick ({target})", style="dim"
    )
    if save is not None:
        arrays = {k: v.values if isinstance(v, Sparse) else v for k, v in named.items()}
        with diagnosed(), whole(save) as place, place.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


def _is_result(x: Any) -> bool:
    return isinstance(x, Sparse | np.ndarray)


def _results(named: dict[str, Any]) -> None:
    table = Table("tick", *named, title="results (first and last ticks)")
    length = max(
        (int(v.ticks[-1]) + 1 if len(v) else 0) if isinstance(v, Sparse) else len(v)
        for v in named.values()
    )
    shown = range(length) if length <= 20 else [*range(10), *range(length - 10, length)]
    for t in shown:
        table.add_row(str(t), *(_cell(v, t) for v in named.values()))
    out.print(table)


def _cell(values: Any, tick: int) -> str:
    if isinstance(values, Sparse):
        found = np.flatnonzero(values.ticks == tick)
        return _text(values.values[found[0]]) if len(found) else ""
    return _text(values[tick])


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=5, threshold=8, edgeitems=2)


@app.command("falsify")
def falsify_(
    target_node: Where,
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            metavar="NAME=SIGNAL",
            help="what an input may be: steps(0, 30), walk(-1, 1, 0.1)",
        ),
    ] = [],  # noqa: B006
    ticks: Annotated[int, typer.Option(help="the ticks of a run at most")] = 100,
    budget: Annotated[int, typer.Option(help="how many runs")] = 1000,
    seed: Annotated[int, typer.Option(help="of the search")] = 0,
    target: Annotated[str, typer.Option(help="c, or interp")] = "c",
    save: Annotated[
        Path | None, typer.Option(help="write the counterexample's inputs to a .npz")
    ] = None,
    vcd: Vcd = None,
    mcap: Mcap = None,
    watch: Watch = [],  # noqa: B006
    tick: TickS = 1e-3,
    set_: Set = [],  # noqa: B006
) -> None:
    """Searches for inputs by which a node breaks its contract; exits with 1 where there are some."""
    from seiche.cli.contracts import Files, falsify_command

    with diagnosed(), err.status("searching"):
        files = Files(vcd, mcap, tuple(watch), tick)
        how = (ticks, budget, seed, target, set_)
        found = falsify_command(target_node, inputs, *how, save, files, plain)  # type: ignore[arg-type]
    if found:
        raise typer.Exit(1)


@app.command("compile")
def compile_(
    target_node: Where,
    directory: Annotated[Path, typer.Option("--out", help="where the files go")] = Path("build"),
    memory: Memory = None,
    deadline: Deadline = None,
    monitors: Monitors = True,
    set_: Set = [],  # noqa: B006
) -> None:
    """Writes a node as C99: NAME.h, NAME.c and NAME_weights.c."""
    from seiche.backends.c.source import write_sources

    with diagnosed():
        program = program_of(target_node, How(memory, deadline, monitors, set_))
        files = write_sources(program, directory)
    for file in files:
        out.print(f"{file}  {file.stat().st_size:,} B")
    out.print("include the header, call NAME_init once and NAME_step at each tick", style="dim")


@app.command()
def deploy(
    target_node: Where,
    directory: Annotated[
        Path | None, typer.Option("--out", help="write a folder for a firmware project there")
    ] = None,
    target: Annotated[
        str, typer.Option(help="a target's name, or the path of a .toml file")
    ] = "cortex-m4f",
    run: Annotated[
        bool, typer.Option("--run", help="run on the emulated processor, compare with numpy")
    ] = False,
    data: Data = None,
    ticks: Annotated[int, typer.Option(min=1, help="how many ticks of random streams")] = 100,
    seed: Seed = 0,
    weights: Annotated[
        Path | None, typer.Option(help="a file of safetensors with other parameters")
    ] = None,
    compiler: Annotated[
        str | None, typer.Option(help="zig or gcc; the first that is there")
    ] = None,
    against: Annotated[str, typer.Option(help="interp, or c for long runs")] = "interp",
    memory: Memory = None,
    deadline: Deadline = None,
    monitors: Monitors = True,
    set_: Set = [],  # noqa: B006
) -> None:
    """Builds a node for a target: prints its memory table, writes a folder (--out), runs it in an emulator (--run)."""
    from seiche.cli import deploying as d

    with diagnosed(), err.status("compiling for the target"):
        how = How(memory, deadline, monitors, set_)
        program = d.with_weights_of(program_of(target_node, how), weights)
        given = d.Streams(data, ticks, seed)
        agreed = d.deploy_command(program, target, compiler, directory, run, given, against, plain)  # type: ignore[arg-type]
    if not agreed:
        raise typer.Exit(1)


@app.command()
def weights(
    target_node: Where,
    file: Annotated[Path, typer.Option("--out", help="the file of safetensors to write")],
    data: Data = None,
    set_: Set = [],  # noqa: B006
) -> None:
    """Writes the parameters of a node by name, after a run over data if there is any."""
    from seiche.cli import deploying as d

    with diagnosed():
        program = program_of(target_node, How(set_=set_))
        given = None if data is None else d.Streams(data, 0, 0)
        d.weights_command(program, file, given, plain)


@app.command()
def report(
    target_node: Where,
    picture: Annotated[
        Path | None, typer.Option(help="draw sweeps and memory map to a .png, .svg or .pdf")
    ] = None,
    stack: Annotated[
        bool, typer.Option("--stack", help="bound the stack of a step too, as gcc compiles it here")
    ] = False,
    memory: Memory = None,
    deadline: Deadline = None,
    monitors: Monitors = True,
    set_: Set = [],  # noqa: B006
) -> None:
    """Prints what a node costs: bytes, operations, sweeps, latency, per node and per line."""
    from seiche.backends.c.build import stack_bytes
    from seiche.backends.c.source import sources_of

    with diagnosed():
        program = program_of(target_node, How(memory, deadline, monitors, set_))
        found = program.report()
        out.print(str(found), markup=False, highlight=False, soft_wrap=True)
        if stack:
            sources = sources_of(program)
            bound = stack_bytes(sources.name, sources.header, sources.source)
            said = "unknown: it takes gcc" if bound is None else f"{bound:,} B at most"
            out.print(f"  stack of a step {said}", highlight=False)
        if picture is not None:
            found.picture(str(picture))
            out.print(f"drawn to {picture}", style="dim")


@app.command()
def check(target_node: Where, set_: Set = []) -> None:  # noqa: B006
    """Prints all diagnostics of a node, or of every node of a file."""
    with diagnosed():
        single = ".py:" in target_node
        nodes = {"": node_of(target_node)} if single else nodes_of(Path(target_node))
        given = settings(set_)
        found = tuple(d for node in nodes.values() for d in diagnose(node, **given))
    _show(found)
    if any(d.severity == "error" for d in found):
        raise typer.Exit(1)
    out.print(f"{_many(len(nodes), 'node')} checked: no errors", style="green")


@app.command("print")
def print_(target_node: Where, set_: Set = []) -> None:  # noqa: B006
    """Prints the equations of a node, as the compiler sees them."""
    with diagnosed():
        traced = node_of(target_node).trace(**settings(set_))
    out.print(str(traced.node), markup=False, highlight=False, soft_wrap=True)


@app.command()
def explain(code: Annotated[str, typer.Argument(metavar="CODE", help="such as SE401")]) -> None:
    """Tells what an error code means and how to mend it."""
    from seiche.errors import CODES

    title = CODES.get(code.upper())
    if title is None:
        err.print(f"there is no code {code}; codes are {', '.join(CODES)}", style="red")
        raise typer.Exit(1)
    here = Path(__file__).resolve()
    pages = (
        here.parent / "pages",
        here.parents[3] / "docs" / "errors",
    )  # in a wheel, in a checkout
    page = next((p / f"{code.upper()}.md" for p in pages if p.is_dir()), None)
    out.print(
        page.read_text() if page else f"{code.upper()}: {title}", markup=False, soft_wrap=True
    )


def main(command: Callable[[], Any] = app) -> None:
    """Runs the command line."""
    sys.exit(command())
