"""The main job, `make demo`: what it prints and writes, small; and what it says of what it had to leave out."""

from __future__ import annotations

import doctest
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from examples.driving import __main__ as demo
from examples.driving import bits, faults, training
from examples.driving.bits import Ran
from examples.driving.record import record
from examples.driving.replay.episode import Episode
from tests.deployed import needs_qemu
from tests.learning import in_c

STEPS = "2000"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the demo prints, on a wide console."""
    told = io.StringIO()
    monkeypatch.setattr(demo, "console", Console(width=200, file=told))
    return told


def test_a_digest_is_of_bits() -> None:
    one = bits.digest([np.float32([0.0, 1.0])])
    assert one == bits.digest([np.float32([0.0]), np.float32([1.0])]) and len(one) == 12
    assert one != bits.digest([np.float32([-0.0, 1.0])])


@in_c
def test_interpreter_and_c_have_one_digest_and_another_training_another() -> None:
    interpreted, short, whole = bits.here(12, 4)
    assert interpreted.same and interpreted.digest == short.digest != whole.digest
    assert (interpreted.decisions, short.decisions, whole.decisions) == (4, 4, 12)


@in_c
def test_without_an_emulator_it_is_said_what_was_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: io.StringIO
) -> None:
    ran = bits.here(12, 4)
    monkeypatch.setenv("PATH", str(tmp_path))
    left_out = bits.emulated(12, "cortex-m7")
    assert not left_out.digest and "NOT RUN" in left_out.remark and left_out.same
    assert "apt-get install qemu-system-arm" in left_out.remark
    monkeypatch.setattr(bits, "here", lambda *_: ran)
    monkeypatch.setattr(bits, "emulated", lambda _, board: replace(left_out, where=board))
    demo.same_bits(12)
    assert printed.getvalue().count("NOT RUN") == len(bits.BOARDS)


def test_other_bits_are_told(monkeypatch: pytest.MonkeyPatch, printed: io.StringIO) -> None:
    ran = [Ran("interpreter", 4, "aaa", same=False), Ran("C, here", 4, "bbb")]
    monkeypatch.setattr(bits, "here", lambda *_: ran)
    monkeypatch.setattr(bits, "BOARDS", ())
    assert demo.same_bits(4) == ran
    assert printed.getvalue().count("OTHER BITS") == 1
    assert demo.in_words(ran) == {
        "interpreter, 4 decisions of training": "aaa: OTHER BITS",
        "C, here, 4 decisions of training": "bbb",
    }


@in_c
def test_the_course_of_a_drive_in_words() -> None:
    shown = record("brake", seed=3, fault=faults.Fault(40, 15))
    said = demo.course(Episode(shown))
    assert re.fullmatch(
        r"nominal from 0 s, degraded from 4\d s, emergency from 4\d s, recovery from 6\d s, "
        r"nominal from [67]\d s; no crash",
        said,
    )


@pytest.mark.parametrize("option", ["steps", "seeds", "episodes", "loop"])
def test_a_demonstration_of_nothing_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["driving", f"--{option}", "0"])
    with pytest.raises(SystemExit):
        demo.main()
    assert "at least one" in capsys.readouterr().err


@pytest.mark.parametrize("module", [bits, faults, training])
def test_examples_in_docstrings_are_true(module: object) -> None:
    ran = doctest.testmod(module)
    assert ran.attempted and not ran.failed


@in_c
@needs_qemu
@pytest.mark.long
def test_the_demo_writes_its_page_and_its_gif(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: io.StringIO
) -> None:
    image = pytest.importorskip("PIL.Image")
    target, moving = tmp_path / "new" / "index.html", tmp_path / "new" / "drive.gif"
    options = {
        "steps": STEPS,
        "seeds": "2",
        "episodes": "5",
        "loop": "40",
        "out": target,
        "gif": moving,
    }
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["driving", *given])
    demo.main()
    said, text = printed.getvalue(), target.read_text()
    assert "NOT RUN" not in said and "OTHER BITS" not in said
    digests = re.findall(r"40 decisions +([0-9a-f]{12})", said)
    assert len(digests) == 2 + 1 + len(bits.BOARDS) and len(set(digests)) == 1
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.S)[0])
    names = ["memoryless", "latched", "shielded", "shielded, sensors fail", "rule"]
    assert [run["name"] for run in data["runs"]] == names
    assert [any(run["fields"]["faulty"]) for run in data["runs"]] == [
        name == names[3] for name in names
    ]
    assert text.count('class="curves"') == text.count('class="scorecard"') == 1
    assert digests[0] in text and "http:" not in text
    with image.open(moving) as frames:
        assert frames.n_frames == 150 and frames.width > 800
        seen = [
            np.asarray(frames.convert("RGB"), float) for i in (0, 149) if frames.seek(i) is None
        ]
    assert np.abs(seen[0] - seen[1]).mean() > 1.0
