"""Law 5: every error code has a program that raises it, its full text kept, and a page that shows both.

`tests/bad/SE401.py` defines `program()`, which raises (or returns warnings); `tests/bad/SE401.txt` is what it says. After a
change of a message: `UPDATE_GOLDEN=1 pytest tests/test_bad.py`, then read the difference. The pages in `docs/errors/` show
the same program and text, and are brought up to date with them; the program under "How to mend it" is run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import textwrap
from pathlib import Path

import pytest

from seiche.errors import CODES, SeicheError

HERE = Path(__file__).parent
BAD = HERE / "bad"
PAGES = HERE.parent / "docs" / "errors"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))

PROGRAMS = sorted(BAD.glob("SE*.py"))
each_program = pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
each_code = pytest.mark.parametrize("code", CODES)


def said(path: Path) -> str:
    """The text of what a program raises, or of the warnings that it returns; its changes of the environment are undone."""
    before = dict(os.environ)
    spec = importlib.util.spec_from_file_location(f"bad_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = module.program()
    except SeicheError as error:
        found = error.diagnostics
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert found, f"{path.name} raises nothing"
    assert {d.code for d in found} == {path.stem}, "\n\n".join(map(str, found))
    return "\n\n".join(map(str, found)) + "\n"


def shown(path: Path) -> str:
    """A bad program as its page shows it: what `program()` does, at the top level."""
    head, _, tail = path.read_text(encoding="utf-8").partition("def program():\n")
    return (head + textwrap.dedent(tail)).strip() + "\n"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def replaced(page: str, language: str, text: str) -> str:
    """The page with another first block of that language."""
    head, fence, rest = page.partition(f"```{language}\n")
    return head + fence + text + rest[rest.index("```") :]


@each_code
def test_every_code_has_a_program_and_a_page(code):
    assert (BAD / f"{code}.py").is_file()
    assert (BAD / f"{code}.txt").is_file() or UPDATE
    assert (PAGES / f"{code}.md").is_file()


def test_every_program_and_page_has_a_code():
    files = {p.stem for p in (*BAD.glob("SE*"), *PAGES.glob("SE*"))}
    assert files == set(CODES)


@each_program
def test_the_full_text(path):
    text, golden = said(path), path.with_suffix(".txt")
    if UPDATE:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@each_program
def test_the_page_shows_program_and_text(path):
    page_path = PAGES / f"{path.stem}.md"
    page = page_path.read_text(encoding="utf-8")
    text = path.with_suffix(".txt").read_text(encoding="utf-8")
    if UPDATE:
        page = replaced(replaced(page, "python", shown(path)), "text", text)
        page_path.write_text(page, encoding="utf-8")
    assert blocks(page, "python")[0] == shown(path)
    assert blocks(page, "text")[0] == text


@each_code
def test_the_page_is_whole(code):
    page = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {code}: {CODES[code]}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
        "A program that raises it",
        "How to mend it",
    ]


@each_code
def test_the_mended_program_runs(code, tmp_path, monkeypatch):
    page = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    _, _, mend = page.partition("## How to mend it")
    monkeypatch.chdir(tmp_path)
    for i, source in enumerate(blocks(mend, "python")):
        path = tmp_path / f"mended_{code}_{i}.py"
        path.write_text(source, encoding="utf-8")
        exec(compile(source, str(path), "exec"), {"__name__": path.stem})


def test_the_index_lists_every_code():
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(SE\d+)\]\((SE\d+)\.md\) \| (.*) \|$", index, re.MULTILINE)
    assert listed == [(code, code, title) for code, title in CODES.items()]
