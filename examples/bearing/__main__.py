"""The monitor over the lives of many bearings: its figures, and a picture of one life."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import seiche as sc
from examples import show
from examples.bearing.monitor import ALARM, LIMIT, MODES, RECORD, monitor
from examples.bearing.world import Life, life

FOLDER = Path("build") / "examples"
SEEDS = range(1000, 1024)
"""Of the lives that are judged. The constants above were chosen on others."""
HEALTHY_SEEDS, HEALTHY_RECORDS = range(2000, 2006), 1000
"""Of bearings that stay healthy, to see false alarms."""
SHARES = (0.5, 0.75, 0.9)
"""Of a life: where its remaining time is asked for."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Story:
    """What the monitor said of a life, by record."""

    life: Life
    said: dict[str, Array]

    @property
    def alarm(self) -> int:
        """The first record under alarm, or the last record."""
        alarms = np.flatnonzero(self.said["mode"] == MODES.index("degrading"))
        return int(alarms[0]) if len(alarms) else self.life.end


def watch(lives: list[Life]) -> list[Story]:
    """The monitor as C, over lives one after the other."""
    program = sc.compile(monitor, target="c")
    stories: list[Story] = []
    for one in lives:
        program.reset()
        out = program.run(*one.streams)
        stories.append(Story(one, {name: x.values for name, x in out.items()}))
    return stories


@dataclass(frozen=True)
class Detection:
    """False alarms per life, and records from the spall to the first alarm after it: their median and largest."""

    false: float
    delay: float
    delay_max: float


def detection(stories: list[Story]) -> tuple[Detection, Detection]:
    """By the cumulative sum, which alarms once; and by the plain threshold, whose alarms are counted one by one."""
    plain = [np.flatnonzero(s.said["plain"]) for s in stories]
    return judged(stories, [np.array([s.alarm]) for s in stories]), judged(stories, plain)


def judged(stories: list[Story], alarms: list[Array]) -> Detection:
    """Alarms (their records, per life) by when the spall began. Where none comes after it, it is late by the rest of the life."""
    false = [np.sum(x < s.life.onset) for s, x in zip(stories, alarms, strict=True)]
    late = [
        min([*x[x >= s.life.onset].tolist(), s.life.end]) - s.life.onset
        for s, x in zip(stories, alarms, strict=True)
    ]
    return Detection(float(np.mean(false)), float(np.median(late)), float(max(late)))


@dataclass(frozen=True)
class Prognosis:
    """At a share of life: the records that were left on average, the RMS error, how often the 90 % interval held; lives asked.

    `by_age` is the error of a machine that knows the mean life of the others and nothing of this one.
    """

    share: float
    left: float
    rmse: float
    coverage: float
    lives: int
    by_age: float


def prognoses(stories: list[Story]) -> list[Prognosis]:
    """At each share, over the lives that are under alarm by then."""
    lengths = np.array([s.life.end for s in stories])
    found: list[Prognosis] = []
    for share in SHARES:
        rows: list[tuple[float, ...]] = []
        for s in stories:
            at = int(share * s.life.end)
            others = (lengths.sum() - s.life.end) / (len(stories) - 1)
            if s.alarm <= at:
                rows.append((s.life.end - at, *s.said["left"][at], max(others - at, 0.0)))
        left, low, median, high, age = np.array(rows).T
        inside = (low <= left) & (left <= high)
        rmse, by_age = (float(np.sqrt(np.mean(np.square(x - left)))) for x in (median, age))
        found.append(
            Prognosis(share, float(left.mean()), rmse, float(inside.mean()), len(rows), by_age)
        )
    return found


def picture(story: Story, path: Path) -> None:
    """Draws a life: its index, what the alarm adds up, and the time that is left with its interval; needs the extra `plot`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    index, score, left = figure.subplots(3, sharex=True)
    said, end = story.said, story.life.end
    records = np.arange(len(said["mode"]))
    index.plot(records, said["index"], lw=0.8, label="index")
    index.axhline(np.log(LIMIT), color="black", ls=":", lw=1, label="limit")
    index.set_ylabel("nats above 1 g")
    score.plot(records, said["score"], lw=0.8, label="sum of deviations")
    score.axhline(ALARM, color="black", ls=":", lw=1, label="alarm")
    after = records >= story.alarm
    low, median, high = said["left"][after].T
    left.fill_between(records[after], low, high, alpha=0.25, lw=0, label="90 %")
    left.plot(records[after], median, lw=1, label="median")
    left.plot([0, end], [end, 0], color="black", ls=":", lw=1, label="truth")
    left.set_ylim(0, 1.2 * end)
    left.set_ylabel("records left")
    left.set_xlabel("record (ten minutes each)")
    for axes in (index, score, left):
        axes.axvline(story.life.onset, color="tab:red", lw=1, label="spall begins")
        axes.legend(loc="best", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Runs it."""
    show.title("Predictive maintenance: from a bearing's vibration to the time that it has left")
    stories = watch([life(seed) for seed in SEEDS])
    show.fact(
        "lives, records of a life, samples of a record",
        f"{len(stories)}, {min(s.life.end for s in stories)} to {max(s.life.end for s in stories)}, {RECORD}",
    )
    ours, plain = detection(stories)
    for name, d in (("the sum of deviations", ours), ("a plain threshold on the RMS", plain)):
        show.fact(
            f"alarm by {name}",
            f"after {d.delay:.0f} records (at most {d.delay_max:.0f}); false: {d.false:.2f} per life",
        )
    sound = watch([life(seed, HEALTHY_RECORDS, healthy=True) for seed in HEALTHY_SEEDS])
    alarms = [(s.alarm < s.life.end, s.said["plain"].sum()) for s in sound]
    show.fact(
        f"alarms in {len(sound) * HEALTHY_RECORDS:,} records of healthy bearings",
        "{}; by the plain threshold {}".format(*np.sum(alarms, axis=0)),
    )
    for p in prognoses(stories):
        show.fact(
            f"at {p.share:.0%} of life, {p.left:.0f} records before its end: error",
            f"{p.rmse:.0f} (by age alone {p.by_age:.0f}); the 90 % interval holds in {p.coverage:.0%} of {p.lives}",
        )
    example = stories[0]
    after = example.said["left"][example.alarm :, 1]
    show.fact("what is left, of the first, from its alarm", show.line(after[:: len(after) // 48]))
    short = life(0, records=3, record=64)
    first, again = (
        sc.compile(monitor, record=64, target=t).run(*short.streams) for t in ("interp", "c")
    )
    same = all(first[k].values.tobytes() == again[k].values.tobytes() for k in first)
    show.fact("interpreter and C", "the same bits" if same else "DIFFERENT BITS")
    report = sc.compile(monitor, target="c").report().as_dict()
    show.fact(
        "memory of an instance, operations of a tick",
        f"{report['struct_bytes']:,} B, {report['operations']:,} at most",
    )
    picture(example, FOLDER / "bearing.svg")
    show.look(
        "prognosis() in examples/bearing/monitor.py: a life as an automaton of three modes, on the clock of records;",
        "monitor(): what happens at every sample, and what where a record closes;",
        f"{FOLDER / 'bearing.svg'}: one life, its alarm and what was left.",
    )


if __name__ == "__main__":
    main()
