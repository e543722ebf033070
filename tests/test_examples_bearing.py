"""The bearing's monitor in every form; its pieces beside numpy in f64; and what it says of lives that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from examples.bearing import __main__ as example
from examples.bearing import monitor as parts
from examples.bearing.world import life
from seiche import bool_, f32, node
from tests.chapters import outputs
from tests.test_examples_forms import EXAMPLES, every_form, expect_same

RNG = np.random.default_rng(0)
SPEED = 27.0


def strikes(size: float, speed: float, ticks: int) -> np.ndarray:
    """Strikes without noise, an exact distance apart."""
    at = np.diff(np.floor(np.arange(ticks + 1) * parts.STRIKES * speed / parts.RATE))
    return np.convolve(size * at, parts.response())[:ticks].astype(np.float32)


def worsening(records: int, record: int) -> np.ndarray:
    """Noise, and from a third of the records on strikes that grow."""
    sizes = np.repeat(np.maximum(np.arange(records) - records // 3, 0) * 4.0, record)
    heard = strikes(1.0, SPEED, records * record) * sizes
    return (heard + 0.1 * RNG.normal(size=len(heard))).astype(np.float32)


@pytest.mark.cc
def test_a_short_life_in_every_form() -> None:
    records, record = 16, 48
    sample = worsening(records, record)
    valid = np.ones(len(sample), bool)
    valid[2 * record : 3 * record] = False
    valid[5 * record : 5 * record + 9] = False
    speed = np.full(len(sample), SPEED, np.float32)
    out = every_form(parts.monitor, sample, valid, speed, record=record, learnt=5)
    assert out["mode"].ticks.tolist() == list(range(record - 1, len(sample), record))
    assert set(out["mode"].values.tolist()) == {0, 1, 2}
    lost = np.where(valid, sample, np.float32(np.nan))
    program = sc.compile(parts.monitor, record=record, learnt=5, target="c")
    for told in (valid, np.ones_like(valid)):
        program.reset()
        expect_same(out, program.run(lost, told, speed))


@pytest.mark.cc
@pytest.mark.parametrize("speed", [22.0, 26.0, 30.0])
@pytest.mark.parametrize("size", [0.5, 5.0])
def test_the_index_is_the_size_of_the_strikes_at_any_speed(size: float, speed: float) -> None:
    sample = strikes(size, speed, 3 * parts.RECORD)
    given = sample, np.full(len(sample), speed, np.float32)
    assert sc.compile(index, target="c").run(*given).values[-1] == pytest.approx(
        np.log(size), abs=0.1
    )


@node
def index(sample: f32, speed: f32) -> sc.Stream:
    """The index of every record as if there were no noise."""
    number = sc.state(0)
    closes = number == parts.RECORD - 1
    number.next = sc.where(closes, 0, number + 1)
    rate = parts.STRIKES * speed
    swing = parts.swings(parts.envelope(sample), rate / parts.RATE, closes)
    with sc.every(closes):
        return 0.5 * sc.log(swing / parts.RECORD**2 / parts.heard_of(rate))


def test_swings_are_those_of_a_fourier_transform() -> None:
    @node
    def power(x: f32, turns: f32, closes: bool_) -> sc.Stream:
        return parts.swings(x, turns, closes)

    x, ticks = RNG.normal(size=256).astype(np.float32), 128
    closes = np.arange(256) % ticks == ticks - 1
    out = sc.compile(power).run(x, np.full(256, 8 / ticks, np.float32), closes)
    for k in range(2):
        spectrum = np.fft.rfft(x[k * ticks : (k + 1) * ticks].astype(float))
        wanted = np.square(np.abs(spectrum[[8, 16, 24]])).sum()
        assert out[(k + 1) * ticks - 1] == pytest.approx(wanted, rel=1e-4)


def test_what_is_healthy_is_its_mean_and_deviation() -> None:
    @node
    def usual(x: f32, learning: bool_) -> object:
        return parts.healthy(x, learning)

    x, learning = RNG.normal(3.0, 0.5, 80).astype(np.float32), RNG.random(80) < 0.6
    mean, deviation = sc.compile(usual).run(x, learning)
    assert mean[-1] == pytest.approx(x[learning].mean(), rel=1e-5)
    assert deviation[-1] == pytest.approx(x[learning].std(ddof=1), rel=1e-4)


def test_deviations_add_up_as_page_says() -> None:
    @node
    def total(score: f32, heard: bool_) -> sc.Stream:
        return parts.deviations(score, heard)

    score, heard = RNG.normal(0.5, 2.0, 60).astype(np.float32), RNG.random(60) < 0.9
    sums = np.cumsum(np.where(heard, np.minimum(score, parts.OUTLIER) - parts.SLACK, 0.0))
    # Page 1954: the distance from the lowest sum so far.
    wanted = sums - np.minimum.accumulate(np.minimum(sums, 0.0))
    np.testing.assert_allclose(sc.compile(total).run(score, heard), wanted, atol=1e-4)


@node
def followed(index: f32, noise: f32, heard: bool_) -> object:
    """The filter, and what it expects."""
    mean, cov = parts.trend(index, noise, heard)
    return mean, cov, parts.remaining(mean, cov)


def test_the_filter_finds_the_growth_and_is_blind_to_what_was_not_heard() -> None:
    count, growth = 300, 0.02
    truth = -1.0 + growth * np.arange(count)
    index = (truth + 0.05 * RNG.normal(size=count)).astype(np.float32)
    heard = RNG.random(count) < 0.8
    heard[0] = True
    noise = np.full(count, 0.05**2, np.float32)
    mean, cov, _ = sc.compile(followed).run(index, noise, heard)
    assert np.exp(mean[-1, 1]) == pytest.approx(growth, rel=0.2)
    assert abs(mean[-1, 0] - truth[-1]) < 3 * np.sqrt(cov[-1, 0, 0])
    assert (np.linalg.eigvalsh(cov.astype(float)) > 0).all()
    wild = np.where(heard, index, np.float32(50.0))
    np.testing.assert_array_equal(sc.compile(followed).run(wild, noise, heard)[0], mean)


def test_what_remains_is_what_simulated_walks_need() -> None:
    """The quantiles beside those of random walks to the limit, from draws of what the filter does not know."""
    mean, cov = np.float32([0.0, np.log(0.012)]), np.diag(np.float32([0.01, 0.04]))

    @node
    def asked(mean: f32[2], cov: f32[2, 2]) -> sc.Stream:
        return parts.remaining(mean, cov)

    found = sc.compile(asked).step(mean, cov)
    draws = RNG.multivariate_normal(mean, cov, size=2000)
    walks = draws[:, :1] + np.cumsum(
        np.exp(draws[:, 1:]) + parts.WANDER * RNG.normal(size=(2000, 800)), axis=1
    )
    times = np.argmax(walks >= np.log(parts.LIMIT), axis=1)
    np.testing.assert_allclose(found, np.quantile(times, [0.05, 0.5, 0.95]), rtol=0.1)


@pytest.mark.cc
def test_lives_that_nobody_tuned_it_on() -> None:
    stories = example.watch([life(seed) for seed in example.SEEDS[:6]])
    ours, plain = example.detection(stories)
    assert ours.false == 0.0 and ours.delay_max < 20 < plain.delay
    at_half, _, late = example.prognoses(stories)
    assert late.rmse < 0.5 * late.by_age and late.rmse < 40 and at_half.lives == 6
    said = np.concatenate([s.said["left"][s.alarm :] for s in stories])
    left = np.concatenate([s.life.end - np.arange(s.alarm, s.life.end + 1) for s in stories])
    inside = (said[:, 0] <= left) & (left <= said[:, 2])
    assert 0.75 < inside.mean() < 0.99


@pytest.mark.cc
def test_a_healthy_bearing_is_left_alone() -> None:
    (story,) = example.watch([life(3000, 400, healthy=True)])
    assert story.alarm == story.life.end and story.said["score"].max() < parts.ALARM / 2


@pytest.mark.cc
def test_its_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(example, "SEEDS", range(1000, 1002))
    monkeypatch.setattr(example, "HEALTHY_SEEDS", range(2000, 2001))
    monkeypatch.setattr(example, "HEALTHY_RECORDS", 100)
    monkeypatch.setattr(example, "FOLDER", tmp_path)
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and "Look at:" in said
    assert "<svg" in (tmp_path / "bearing.svg").read_text(encoding="utf-8")


@pytest.mark.cc
def test_what_the_page_of_control_shows_is_what_it_prints(tmp_path) -> None:
    """`python -m tests.chapters docs/control.md` writes it anew."""
    document = EXAMPLES.parent / "docs" / "control.md"
    shown = [
        (piece.shown.text, printed) for piece, printed in outputs(document, tmp_path) if piece.shown
    ]
    assert len(shown) == 3
    for text, printed in shown:
        assert text == printed
