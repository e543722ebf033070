"""The replay of drives: what is on the page is what was recorded, and it works in a browser."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from examples.driving.health import EMERGENCY, NOMINAL
from examples.driving.record import record
from examples.driving.replay import charts, gif, page, scorecard
from examples.driving.replay.charts import Curve
from examples.driving.replay.episode import FIELDS, NEVER, Episode
from examples.driving.replay.page import Page, run_of
from examples.driving.traffic import CARS, RING
from examples.driving.training import COLUMNS, Pilot, Score, spread
from examples.driving.world import ACTIONS, BRAKE, FASTER

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="NOT TESTED in a browser: no Chromium (apt-get install chromium)"
)


def drawn(ticks: int, seed: int = 0, crash: bool = False) -> dict[str, np.ndarray]:
    """A record that nobody drove, in which everything happens: readings that did not come, overrides, modes, a wrong turn."""
    draw = np.random.default_rng(seed)
    speed = (15.0 + np.cumsum(draw.normal(0, 0.5, ticks))).astype(np.float32)
    place = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2)]).astype(np.float32)
    theirs = np.float32(draw.uniform(10, 25, (1, CARS)) * np.ones((ticks, 1)))
    start = draw.uniform(-RING / 2, RING / 2, CARS)
    ahead = start + theirs * np.arange(ticks)[:, None] - place[:, None]
    second = np.arange(ticks)
    sign, junction = 300.0 * (1 + place // 300.0), 700.0 * (1 + place // 700.0)
    gap = draw.uniform(1, 150, (ticks, 6)).astype(np.float32)
    gap[draw.random((ticks, 6)) < 0.1] = np.nan
    chosen = np.int32(draw.integers(0, len(ACTIONS), ticks))
    action = np.where(second % 7 == 3, np.where(chosen == BRAKE, FASTER, BRAKE), chosen)
    made = {
        "place": place, "speed": speed, "lane": np.int32(second // 9 % 3), "pull": np.gradient(speed),
        "cars_place": np.float32((ahead + RING / 2) % RING - RING / 2), "cars_speed": theirs,
        "cars_lane": np.int32((np.arange(CARS) + second[:, None] // 11) % 3),
        "limit": np.float32(12 + 5 * (second // 10 % 3)), "sign": np.float32(12 + 5 * (place // 300.0 % 3)),
        "sign_place": np.float32(sign), "junction_place": np.float32(junction), "left_only": place // 700.0 % 2 == 0,
        "sign_read": sign - place < 30, "arrow_read": (junction - place > 200) & (junction - place < 300), "gap": gap, "faulty": second // 8 % 5 == 2,
        "fact_limit": np.float32(17 + 5 * (second // 20 % 2)), "fact_left_only": second % 20 > 9,
        "fact_junction": np.float32(400 - second % 20), "mode": np.int32(np.where(second % 30 > 20, EMERGENCY, NOMINAL)),
        "chosen": chosen, "action": action, "overridden": action != chosen, "reward": np.float32(draw.normal(0.5, 1, ticks)),
        "over": second % 13 > 10, "wrong": second == 17, "crash": (second == ticks - 1) & crash,
    }  # fmt: skip
    return {name: np.asarray(value) for name, value in made.items()}


RECORDS = {
    "memoryless": drawn(31, 1, crash=True),
    "latched": drawn(61, 2),
    "shielded": drawn(61, 3),
}
BLIND = "latched, sensors fail"
"""The name of the second drive, which is not its driver's."""
SCORES = {
    "memoryless": [Score(60.0, 0.1, 10.0, 0.5, 0.9, 0.0), Score(70.0, 0.2, 12.0, 0.4, 0.8, 0.0)],
    "shielded": [Score(98.0, 0.0, 0.25, 0.0, 0.9, 9.0), Score(-97.0, 0.0, 0.5, 0.0, 0.9, 8.0)],
}
CURVES = [
    Curve(n, np.array([1000.0, 2000.0, 3000.0]), np.array([[1.0, 5.0, b], [2.0, 6.0, b]]))
    for n, b in (("latched", 9.0), ("a<b", 4.0))
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all its parts."""
    path = tmp_path_factory.mktemp("replay") / "new" / "replay.html"
    runs = [run_of(*drive) for drive in RECORDS.items()]
    runs[1] = run_of("latched", RECORDS["latched"], BLIND, "as a < b")
    page.write(Page(runs, CURVES, SCORES, {"bytes < 1": "41 & 1"}), path)
    return path


def named(driver: str) -> str:
    """What the drive of a driver is called on the page."""
    return BLIND if driver == "latched" else driver


def data_of(text: str) -> dict[str, Any]:
    """The JSON inside a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


# ------------------------------------------------------------------------------------- records


def test_a_drive_of_the_world_can_be_shown() -> None:
    """What `record` gives is what is read here; its places are where the interpolation begins and ends."""
    episode = Episode(record("rule", seed=3))
    assert episode.ticks == 121 and not episode.crashed
    assert all(b.at - a.at > 250 for a, b in pairwise(episode.signs()))
    assert {mark.said for mark in episode.signs()} <= {12.0, 17.0, 22.0, 28.0}
    assert {mark.said for mark in episode.junctions()} <= {0.0, 1.0} and len(
        episode.junctions()
    ) > 1
    steps = np.array([episode.motion(t)[-1, 0] for t in np.arange(0, 120, 0.25)])
    assert (np.diff(steps) >= -1e-6).all(), "the car never goes backwards"


@pytest.mark.parametrize("name", RECORDS)
def test_between_ticks_cars_go_on_smoothly(name: str) -> None:
    episode = Episode(RECORDS[name])
    for tick in (0, 7, episode.ticks - 1):
        now = episode.motion(float(tick))
        there = episode["place"][tick] + episode["cars_place"][tick]
        away = (now[:-1, 0] - there + RING / 2) % RING - RING / 2
        np.testing.assert_allclose(away, 0.0, atol=1e-3)
        assert now[-1, 0] == episode["place"][tick] and now[-1, 1] == episode["lane"][tick]
        assert (now[:-1, 1] == episode["cars_lane"][tick]).all()
    moving = np.array([episode.motion(t)[:, 0] for t in np.arange(0, episode.ticks - 1, 0.1)])
    steps = (np.diff(moving, axis=0) + RING / 2) % RING - RING / 2
    assert np.abs(steps).max() < 4.0, "nobody jumps, not even where the ring closes"


def test_what_follows_from_a_record() -> None:
    episode = Episode(RECORDS["latched"])
    read = episode.last_read("sign")
    first = int(np.flatnonzero(episode["sign_read"])[0])
    assert (read[:first] == NEVER).all() and read[first] == first and (read[first:] >= first).all()
    assert [mark.at for mark in episode.signs()] == sorted(
        {float(x) for x in episode["sign_place"]}
    )
    assert episode.returned[-1] == pytest.approx(float(episode["reward"].sum()), rel=1e-5)
    assert Episode(RECORDS["memoryless"]).crashed and not episode.crashed


def test_records_of_another_kind_are_refused() -> None:
    whole = RECORDS["latched"]
    with pytest.raises(ValueError, match="lacks gap, mode"):
        Episode({k: v for k, v in whole.items() if k not in {"gap", "mode"}})
    with pytest.raises(ValueError, match=r"cars_lane is \(61, 11\), not \(61, 12\)"):
        Episode({**whole, "cars_lane": whole["cars_lane"][:, 1:]})
    with pytest.raises(ValueError, match="no tick"):
        Episode({k: v[:0] for k, v in whole.items()})
    with pytest.raises(ValueError, match="at least one run"):
        page.write(Page([]), Path("nowhere"))
    with pytest.raises(ValueError, match="same name"):
        page.write(Page([run_of("latched", whole)] * 2), Path("nowhere"))
    for tick, there in ((3, -1.0), (0, np.nan), (5, np.nan), (60, 0.0)):
        place = np.array(whole["place"])
        place[tick] = there
        with pytest.raises(ValueError, match=f"place goes from .* m at tick {tick}: it only grows"):
            Episode({**whole, "place": place})
    for name, value in (("mode", 4), ("action", 6), ("chosen", -1), ("lane", 3), ("cars_lane", -1)):
        strange = np.array(RECORDS["latched"][name])
        strange[1] = value
        with pytest.raises(ValueError, match=f"{name} is from 0 to .*, not"):
            Episode(RECORDS["latched"] | {name: strange})


# ---------------------------------------------------------------------------- the page as a file


def test_the_pages_numbers_are_the_records(file: Path) -> None:
    for shown, (name, kept) in zip(data_of(file.read_text())["runs"], RECORDS.items(), strict=True):
        assert shown["name"] == named(name) and shown["fields"].keys() == FIELDS.keys()
        for field in FIELDS:
            value = np.array(shown["fields"][field], dtype=kept[field].dtype)
            assert value.tobytes() == kept[field].tobytes(), field


def test_the_page_needs_no_other_file(file: Path) -> None:
    text = file.read_text()
    for reference in (
        "http:",
        "https:",
        "//cdn",
        "src=",
        "href=",
        "@import",
        "url(",
        "fetch(",
        "import(",
    ):
        assert reference not in text, reference


def test_time_lines_curves_and_scores_need_no_script(file: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", file.read_text(), flags=re.S)
    lines = re.findall(r'<svg class="line".*?</svg>', text, re.S)
    for line, kept in zip(lines, RECORDS.values(), strict=True):
        for mark, field in (
            ("override", "overridden"),
            ("over", "over"),
            ("wrong", "wrong"),
            ("crash", "crash"),
        ):
            assert line.count(f'class="{mark}"') == kept[field].sum(), mark
        failed = np.diff(kept["faulty"].astype(int), prepend=0) == 1
        assert line.count('class="fault"') == failed.sum() and failed.any()
        assert f"sensors fail for {kept['faulty'].sum()} s" in line
        assert line.count('class="emergency"') == np.sum(np.diff(kept["mode"]) == EMERGENCY)
        assert f"{kept['overridden'].sum()} overrides" in line
    assert "a&lt;b" in text and "a<b" not in text and "bytes &lt; 1" in text
    for driver, scores in SCORES.items():
        row = re.search(rf'<tr data-driver="{driver}">(.*?)</tr>', text)
        cells = re.findall(r"<td>(.*?)<small>± (.*?)</small></td>", row[1] if row else "")
        assert cells == [scorecard.cell(scores, column) for column in COLUMNS]


def test_the_scorecard_in_the_terminal() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    both = {"memoryless": SCORES["memoryless"], "one": SCORES["shielded"][:1]}
    console.print(scorecard.table(both))
    text = console.export_text()
    mean, half = spread([60.0, 70.0])
    assert f"{mean:.1f}" in text and f"± {half:.1f}" in text and "98.0" in text and "…" not in text
    assert scorecard.cell(SCORES["shielded"][1:], "returns") == ("−97.0", "")


def test_learning_curves_lie_where_their_values_are() -> None:
    drawing = charts.curves(CURVES)
    points = [
        np.array([p.split(",") for p in line.split()], float)
        for line in re.findall(r'<polyline points="(.*?)"', drawing)
    ]
    assert [len(p) for p in points] == [3, 3]
    assert np.allclose(points[0][:2], points[1][:2]) and points[0][2, 1] < points[1][2, 1], (
        "more is higher"
    )
    slope = (points[0][1, 1] - points[0][0, 1]) / (points[0][2, 1] - points[0][1, 1])
    assert slope == pytest.approx((5.5 - 1.5) / (9.0 - 5.5), rel=0.02)
    pilots = [Pilot("latched", s, 2, curve=np.array([[10.0, s], [20.0, s + 1.0]])) for s in (0, 1)]
    made = Curve.of(pilots)
    assert (
        made.name == "latched"
        and made.decisions.tolist() == [10, 20]
        and made.returns.tolist() == [[0, 1], [1, 2]]
    )


def test_a_gif_has_the_frames_that_were_asked_for(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    runs = [run_of(name, RECORDS[name]) for name in ("memoryless", "shielded")]
    gif.write(runs, tmp_path / "new" / "drive.gif", frames=4, fps=10, span=(24.0, 31.0))
    with image.open(tmp_path / "new" / "drive.gif") as moving:
        frames = []
        for i in range(moving.n_frames):
            moving.seek(i)
            frames.append(np.asarray(moving.convert("RGB"), float))
    assert len(frames) == 4 and all(np.abs(a - b).mean() > 0.5 for a, b in pairwise(frames))
    with pytest.raises(ValueError, match="one frame"):
        gif.write(runs, tmp_path / "none.gif", frames=0)


# ---------------------------------------------------------------------------- the page in a browser

WATCH = """<script>
window.faults = [];
window.stamp = 0;  // Frames come by a clock of our own: a busy machine changes nothing.
window.requestAnimationFrame = (drawn) => setTimeout(() => drawn((stamp += 50)), 4);
addEventListener("error", (e) => faults.push(e.message));
addEventListener("unhandledrejection", (e) => faults.push(String(e.reason)));
console.error = console.warn = (...said) => faults.push(said.join(" "));
</script>"""
REPORT = """<script>
(async () => {
  const seen = {};
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const until = async (holds) => { for (let i = 0; i < 500 && !holds(); i++) await wait(4); };
  try { %s } catch (e) { faults.push(String(e)); }
  seen.faults = window.faults;
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
})();
</script>"""


def browse(path: Path, *options: str, hash: str = "") -> str:
    """What headless Chromium makes of a page: its document, as HTML."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--window-size=1440,1000",
        f"--user-data-dir={path.parent / 'profile'}", *options, f"file://{path}{hash}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def watched(file: Path, script: str, hash: str = "#t=0&paused") -> dict[str, Any]:
    """What a script sees in a page, with all errors since it was loaded."""
    text = (
        file.read_text()
        .replace("<head>", "<head>" + WATCH, 1)
        .replace("</body>", REPORT % script + "</body>", 1)
    )
    path = file.with_name("watched.html")
    path.write_text(text)
    seen = re.search(r'<pre id="seen">(.*?)</pre>', browse(path, "--dump-dom", hash=hash), re.S)
    assert seen, "the script came to no end"
    return json.loads(seen[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def said(article: str, name: str) -> str:
    """What the panel beside a drive says."""
    found = re.search(rf'data-show="{name}"[^>]*>([^<]*)<', article)
    assert found, name
    return found[1]


@needs_browser
def test_a_link_to_a_moment_shows_that_moment(file: Path) -> None:
    text = browse(file, "--dump-dom", hash="#t=37&paused&values&theme=dark")
    assert re.search(r'<html[^>]*data-theme="dark"', text)
    assert re.search(r'<output id="clock"[^>]*>0:37<', text)
    articles = re.findall(r"<article.*?</article>", text, re.S)
    for article, kept in zip(articles, RECORDS.values(), strict=True):
        tick = min(37, len(kept["speed"]) - 1)
        assert said(article, "speed") == f"{kept['speed'][tick]:.1f}"
        assert said(article, "limit") == f"{kept['limit'][tick]:g}"
        assert said(article, "known") == f"{kept['fact_limit'][tick]:g}"
        assert said(article, "overrides") == str(kept["overridden"][: tick + 1].sum())
        assert said(article, "returned") == f"{kept['reward'][: tick + 1].sum():.1f}".replace(
            "-", "−"
        )
    assert said(articles[0], "outcome") == "1 wrong turn · crashed at 0:30"
    assert said(articles[0], "age") == "not used" and said(articles[1], "age").startswith("read ")
    table = text[text.index('id="values"') :]
    for name in FIELDS:
        assert f'<th scope="row">{name}</th>' in table, f"{name} is not shown"
    cells = re.search(r">mode</th><td>(\d)</td><td>(\d)</td><td>(\d)</td>", table)
    assert cells and [int(c) for c in cells.groups()] == [
        kept["mode"][min(37, len(kept["mode"]) - 1)] for kept in RECORDS.values()
    ]


@needs_browser
def test_the_replay_is_played_and_scrubbed_without_a_fault(file: Path) -> None:
    seen = watched(file, """
      const $ = (id) => document.getElementById(id), ask = () => replay.state();
      const key = (key, more = {}) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
      const ink = () => [...document.querySelectorAll("canvas")].map((c) => c.toDataURL().slice(-40));  // with the check sum
      const high = () => [...document.querySelectorAll(".run")].map((e) => e.getBoundingClientRect().height);
      seen.first = ask();
      seen.ink = [];
      seen.high = [];
      seen.at = [];
      for (const t of [0, 12.5, 29, 45, 60]) {
        $("scrub").value = t;
        $("scrub").dispatchEvent(new Event("input"));
        seen.at.push(ask());
        seen.ink.push(ink());
        seen.high.push(high());
      }
      replay.seek(10); key("ArrowRight"); seen.right = ask().time;
      key("ArrowLeft"); key("ArrowLeft"); seen.left = ask().time;
      key("ArrowRight", { shiftKey: true }); seen.ten = ask().time;
      key("Home"); seen.home = ask().time; key("ArrowLeft"); seen.before = ask().time;
      key(" "); seen.playing = [ask().playing, $("play").getAttribute("aria-label")];
      await until(() => ask().time > 0.2); seen.later = ask().time; key(" "); seen.paused = [ask().playing, $("play").getAttribute("aria-label")];
      const still = ask().time; let drawn = 0; await until(() => ++drawn > 5); seen.moved = ask().time - still;
      $("rate").value = "8"; $("rate").dispatchEvent(new Event("change")); seen.rate = ask().rate;
      replay.seek(58); replay.play(); await until(() => !ask().playing); seen.ended = [ask().time, ask().playing];
      seen.themes = [ask().theme]; $("theme").click(); seen.themes.push(ask().theme);
      const line = document.querySelector(".times"), strip = line.querySelector(".playhead").getBoundingClientRect();
      line.setPointerCapture = () => {};
      line.dispatchEvent(new PointerEvent("pointerdown", { clientX: strip.left + strip.width / 2, buttons: 1 })); seen.dragged = ask().time;
      location.hash = "#t=5&paused"; await wait(100); seen.hash = ask().time;
      seen.unlabelled = [...document.querySelectorAll("button, input, select, canvas, svg")].filter((e) => !(e.ariaLabel || e.getAttribute("aria-hidden") || e.closest("label, button, [aria-hidden]"))).length;
    """)  # fmt: skip
    assert seen["faults"] == []
    assert seen["first"]["time"] == 0 and not seen["first"]["playing"]
    for at, time in zip(seen["at"], (0, 12.5, 29, 45, 60), strict=True):
        assert at["time"] == time
        for run, (name, kept) in zip(at["runs"], RECORDS.items(), strict=True):
            tick = min(int(time), len(kept["speed"]) - 1)
            assert run["name"] == named(name) and run["tick"] == tick
            for field in FIELDS:
                value = np.array(run["now"][field], dtype=kept[field].dtype)
                assert value.tobytes() == kept[field][tick].tobytes(), (name, field, tick)
    pictures = np.array(seen["ink"])
    assert all((a != b).any() for a, b in pairwise(pictures)), "the roads are drawn anew"
    assert pictures[3, 0] == pictures[4, 0] and pictures[3, 2] != pictures[4, 2], (
        "one has crashed by then"
    )
    assert len({tuple(heights) for heights in seen["high"]}) == 1, "nothing moves on the page"
    assert [seen[k] for k in ("right", "left", "ten", "home", "before")] == [11, 9, 19, 0, 0]
    assert seen["playing"] == [True, "Pause"] and seen["paused"] == [False, "Play"]
    assert seen["later"] > 0.2 and seen["moved"] == 0 and seen["rate"] == 8
    assert seen["ended"] == [60, False]
    assert set(seen["themes"]) == {"light", "dark"}
    assert (
        seen["dragged"] == pytest.approx(30, abs=0.2)
        and seen["hash"] == 5
        and seen["unlabelled"] == 0
    )


@needs_browser
def test_drives_are_chosen_by_their_names(file: Path) -> None:
    seen = watched(file, """
      const rows = () => [...document.querySelectorAll(".run")].filter((e) => e.offsetHeight > 0).map((e) => e.querySelector("h2").textContent);
      const choices = [...document.querySelectorAll("#choices button")], pressed = () => choices.map((e) => e.ariaPressed);
      seen.names = choices.map((e) => e.textContent);
      seen.at_first = [rows(), replay.state().shown, pressed()];
      choices[0].click(); replay.seek(20); seen.later = [rows(), replay.state().shown, pressed()];
      choices[0].click(); seen.again = [rows(), replay.state().shown, pressed()];
      replay.seek(20); seen.speed = document.querySelectorAll(".run")[1].querySelector("[data-show=speed]").textContent;
      seen.outcome = document.querySelectorAll(".run")[1].querySelector("[data-show=outcome]").textContent;
    """, hash=f"#t=0&paused&show={BLIND}&show=memoryless")  # fmt: skip
    names = [named(driver) for driver in RECORDS]
    assert seen["faults"] == [] and seen["names"] == names
    assert seen["at_first"] == [names[:2], names[:2], ["true", "true", "false"]]
    assert seen["later"] == [[BLIND], [BLIND], ["false", "true", "false"]]
    assert seen["again"] == seen["at_first"]
    kept = RECORDS["latched"]
    assert kept["faulty"][20] and seen["outcome"] == "sensors fail · 1 wrong turn"
    assert seen["speed"] == f"{kept['speed'][20]:.1f}"


@needs_browser
def test_a_drive_that_there_is_not_is_named(file: Path) -> None:
    seen = watched(file, """
      const note = document.getElementById("note"), told = () => [replay.state().shown.length, note.hidden, note.textContent];
      seen.linked = told();
      for (const names of ["typo", ["latched", "typo"], "latch"]) { try { replay.show(names); } catch (error) { (seen.said ??= []).push(error.message); } }
      seen.still = replay.state().shown.length;
      replay.show("memoryless"); seen.one = replay.state().shown;
      location.hash = "#paused"; await wait(100); seen.later = told();
    """, hash="#t=0&paused&show=typo")  # fmt: skip
    names = [named(driver) for driver in RECORDS]
    said = 'There is no drive "{}": there are ' + ", ".join(names) + "."
    assert seen["faults"] == [] and seen["linked"] == [3, False, said.format("typo")]
    assert seen["said"][0] == said.format("typo") and seen["said"][2] == said.format("latch")
    assert 'no drive "' in seen["said"][1] and seen["still"] == 3
    assert seen["one"] == ["memoryless"] and seen["later"] == [1, True, ""]


@needs_browser
def test_a_fault_in_the_page_would_be_noticed(file: Path) -> None:
    assert watched(file, "replay.nothing();")["faults"]
