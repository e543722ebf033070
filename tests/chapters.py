"""Documents that run: their code is executed in order, and what they show is compared with what it prints.

A document is one Python file cut into pieces: its ```python blocks, each separated by a blank line, in a file of its own,
so that diagnostics and reports name lines and variables as in any program. The ```text block that follows a piece is
exactly what the piece prints. A ```sh block that a ```text block follows is run by the shell in the same folder.
A block with `title="name"` is also written to that file.

`python -m tests.chapters FILE ...` runs documents and writes their outputs into them.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from seiche.backends.c.build import candidates

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the file that it is written to, and where its text lies in the document."""

    language: str
    text: str
    title: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Piece:
    """A block that is executed, and the block that shows what it prints (None where the document shows nothing)."""

    block: Block
    shown: Block | None


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a document.

    >>> [(b.language, b.text) for b in blocks("```python\\nprint(1)\\n```\\n\\n```text\\n1\\n```\\n")]
    [('python', 'print(1)\\n'), ('text', '1\\n')]
    """
    found: list[Block] = []
    for match in FENCE.finditer(text):
        title = TITLE.search(match[2])
        found.append(Block(match[1], match[3], title and title[1], match.start(3), match.end(3)))
    return found


def pieces(text: str) -> list[Piece]:
    """The blocks to execute (and the files to write), each with the output shown right after it."""
    found = blocks(text)
    following = [*found[1:], None]
    return [
        Piece(b, after if after is not None and after.language == "text" else None)
        for b, after in zip(found, following, strict=True)
        if b.language in ("python", "sh") or b.title
    ]


def outputs(document: Path, folder: Path) -> Iterator[tuple[Piece, str]]:
    """Executes a document in a folder: each piece with what it printed."""
    found = pieces(document.read_text(encoding="utf-8"))
    stem = re.sub(r"\W+", "_", document.stem.partition("-")[2] or document.stem).lower()
    name, file = f"document_{stem}", folder / f"{stem}.py"
    python = [p.block for p in found if p.block.language == "python"]
    file.write_text("\n".join(b.text for b in python), encoding="utf-8")
    module = sys.modules[name] = ModuleType(name)  # dataclasses look their module up
    module.__file__ = str(file)
    line = 0
    with chdir(folder):
        for piece in found:
            if piece.block.title:
                Path(piece.block.title).write_text(piece.block.text, encoding="utf-8")
            if piece.block.language == "python":
                yield piece, _python(piece.block.text, str(file), line, module)
                line += piece.block.text.count("\n") + 1
            elif piece.block.language == "sh" and piece.shown is not None:
                yield piece, _shell(piece.block.text, folder)


def _python(text: str, file: str, line: int, module: ModuleType) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile("\n" * line + text, file, "exec"), module.__dict__)
    return printed.getvalue()


def _shell(text: str, folder: Path) -> str:
    """What the shell prints to either stream; a command that fails fails the document."""
    path = os.pathsep.join([str(_commands(folder)), os.environ.get("PATH", os.defpath)])
    source = str(Path(__file__).parent.parent / "src")
    env = {**os.environ, "PATH": path, "PYTHONPATH": source, "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        ["sh", "-c", text], cwd=folder, env=env, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\nexits with {done.returncode}:\n{done.stdout}"
    return "\n".join(s.rstrip() for s in done.stdout.splitlines()) + "\n" * bool(done.stdout)


def _commands(folder: Path) -> Path:
    """A folder with `seiche` and, where the system has none, `cc`."""
    commands = folder / ".bin"
    commands.mkdir(exist_ok=True)
    wanted = {
        "seiche": [sys.executable, "-c", "from seiche.cli.main import app; app(prog_name='seiche')"]
    }
    if shutil.which("cc") is None:
        wanted["cc"] = list(candidates()[0])
    for name, command in wanted.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (commands / name).chmod(0o755)
    return commands


def updated(document: Path, folder: Path) -> str:
    """The text of a document with the outputs of a run in place of those shown."""
    text = document.read_text(encoding="utf-8")
    changes = [(p, out) for p, out in outputs(document, folder)]
    for piece, out in reversed(changes):
        if piece.shown is not None:
            text = text[: piece.shown.start] + out + text[piece.shown.end :]
    return text


def main(names: list[str]) -> None:
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            document = Path(name).resolve()
            text = updated(document, Path(folder))
        document.write_text(text, encoding="utf-8")
        print(f"{name}: written")


if __name__ == "__main__":
    main(sys.argv[1:])
