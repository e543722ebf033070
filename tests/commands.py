"""The command line in tests: a runner in a folder of its own, and what a command prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seiche.cli.main import app


def runner_in(folder: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]) -> CliRunner:
    """Runs commands inside `folder`, where these files are, on a wide terminal."""
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def call(runner: CliRunner, *arguments: str, code: int = 0) -> str:
    """What a command prints; it ends with that code."""
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result.output
