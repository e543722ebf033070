"""The documentation is executed, and what is generated is up to date.

After a change of what programs print: `UPDATE_GOLDEN=1 pytest tests/test_docs.py`, then read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from docs.generate import PAGES
from tests.chapters import outputs, updated

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))

CHAPTERS = [ROOT / "README.md", *sorted((DOCS / "tutorial").glob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def texts() -> list[Path]:
    """Every page that people read."""
    rooms = (ROOT / "src" / "seiche").glob("*/README.md")
    tops = (ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))
    return [*tops, *sorted(DOCS.rglob("*.md")), *sorted(rooms)]


@pytest.mark.slow
@pytest.mark.cc
@pytest.mark.parametrize("document", CHAPTERS, ids=lambda p: p.stem)
def test_what_a_document_shows_is_what_it_prints(document: Path, tmp_path: Path) -> None:
    if UPDATE:
        document.write_text(updated(document, tmp_path), encoding="utf-8")
        return
    for piece, printed in outputs(document, tmp_path):
        where = f"{document.name}: after\n\n{piece.block.text}\n"
        if piece.shown is None:
            assert not printed, f"{where}nothing is shown, but this is printed:\n\n{printed}"
        else:
            assert piece.shown.text == printed, where


def test_there_are_eight_chapters() -> None:
    assert [p.stem[0] for p in CHAPTERS[1:]] == list("12345678")


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_up_to_date(page: str) -> None:
    path, text = DOCS / page, PAGES[page]()
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run `python -m docs.generate`"


@pytest.mark.parametrize("page", texts(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    local = [
        link.partition("#")[0] for link in LINK.findall(prose) if not re.match(r"\w+:|#", link)
    ]
    dead = [link for link in local if not (page.parent / link).exists()]
    assert not dead, f"{page.relative_to(ROOT)}: {dead}"


@pytest.mark.parametrize(
    "folder", sorted(p for p in DOCS.iterdir() if p.is_dir()), ids=lambda p: p.name
)
def test_every_page_can_be_reached(folder: Path) -> None:
    """From the site's navigation, or from an index."""
    named = (ROOT / "mkdocs.yml").read_text(encoding="utf-8") + "".join(
        p.read_text(encoding="utf-8") for p in [*DOCS.glob("*/index.md"), *DOCS.glob("*/README.md")]
    )
    lost = [p.name for p in folder.glob("*.md") if p.name not in named]
    assert not lost, f"pages that nothing leads to: {lost}"
