"""The monitor: what happens at every sample, and what where a record closes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import seiche as sc
from seiche import bool_, f32, node, state

RATE, RECORD = 8192, 2048
"""Samples per second, and samples of a record."""
STRIKES = 3.585
"""Balls over a point of the outer race per turn of the shaft: of a 6205 (9 balls)."""
RESONANCE, DAMPING = 2500.0, 0.05
"""Of the housing (Hz, of critical)."""
LIMIT = 6.0
"""The size of strikes (g) at which the bearing has to be replaced."""
HARMONICS = 3

KNOCK = 10.0
"""Times the mean envelope: what is louder is no ball, whose strikes are at most 6 times as loud as their mean."""
HEALTHY = 60
"""Records from which the healthy index is learnt."""
SLACK, ALARM, OUTLIER = 0.5, 12.0, 3.0
"""Of the cumulative sum: deviations that are nothing, their sum that is an alarm, and the largest that counts; in standard deviations."""
WANDER, SCATTER = 0.045, 0.08
"""Standard deviations of the index (nats): of its growth in a record around the trend, and of strikes among each other."""
GROWTH, DOUBT = float(np.log(0.011)), 0.45
"""What ten earlier bearings tell of the growth (nats per record) before any is seen: the mean and deviation of its logarithm."""
SURE = 1.645
"""Standard deviations on either side that hold 90 %."""
FAR = 2000.0
"""Records: what lasts longer is not told apart."""
PLAIN = 4.0
"""Of the plain threshold that this is compared with: standard deviations of the RMS above its healthy mean."""

MODES = ("learning", "watching", "degrading")
Array = np.ndarray[Any, Any]


def band_pass(quality: float = 2.0) -> tuple[float, float, float]:
    """`(b, a1, a2)` of y = b (x - x'') - a1 y' - a2 y'', with gain 1 at the resonance (Bristow-Johnson's biquad)."""
    turn = 2 * np.pi * RESONANCE / RATE
    alpha = np.sin(turn) / (2 * quality)
    return alpha / (1 + alpha), -2 * np.cos(turn) / (1 + alpha), (1 - alpha) / (1 + alpha)


def response() -> Array:
    """What the sensor hears of a strike of 1 g: a damped oscillation of the housing, `[ticks]`."""
    t = np.arange(128) / RATE
    turn = 2 * np.pi * RESONANCE
    return np.exp(-DAMPING * turn * t) * np.sin(turn * t)


@cache
def hearing() -> tuple[float, float]:
    """What the envelope makes of a strike of 1 g: its area (g s) and how long it rings (s).

    Its spectrum is that of a first-order lag, `area / sqrt(1 + (2π f ringing)²)`, matched at 0 Hz and at 200 Hz.
    """
    b, a1, a2 = band_pass()
    x, y = np.concatenate([[0, 0], response(), np.zeros(128)]), np.zeros(258)
    for t in range(2, len(x)):
        y[t] = b * (x[t] - x[t - 2]) - a1 * y[t - 1] - a2 * y[t - 2]
    area = np.abs(y).sum() / RATE
    at = 2 * np.pi * 200.0
    heard = np.abs(np.sum(np.abs(y) * np.exp(-1j * at * np.arange(len(y)) / RATE))) / RATE
    return float(area), float(np.sqrt((area / heard) ** 2 - 1) / at)


# --------------------------------------------------------------------------------------------- at every sample


def filtered(x: sc.Stream) -> sc.Stream:
    """The band around the resonance."""
    b, a1, a2 = band_pass()
    y = sc.var(f32)
    past = sc.fby(0.0, y)
    y.define(b * (x - sc.fby(0.0, sc.fby(0.0, x))) - a1 * past - a2 * sc.fby(0.0, past))
    return y


def envelope(x: sc.Stream, rate: float = 0.01) -> sc.Stream:
    """The rectified band, less its exponential moving average: how the loudness swings. A knock is cut."""
    mean = state(1.0)
    loud = sc.minimum(sc.absolute(filtered(x)), KNOCK * mean)
    mean.next = mean + rate * (loud - mean)
    return loud - mean


def swings(x: sc.Stream, turns: sc.Stream, closes: sc.Stream) -> sc.Stream:
    """Of the record so far: the squared sums of x against the first harmonics of a frequency (turns per sample), added up."""
    angle = state(0.0)
    ahead = angle + turns
    angle.next = ahead - sc.floor(ahead)
    re, im = sc.cos(2 * np.pi * angle), sc.sin(2 * np.pi * angle)
    waves = [(re, im)]
    for _ in range(HARMONICS - 1):
        c, s = waves[-1]
        waves.append((c * re - s * im, s * re + c * im))
    sums = record_sum(x * sc.stack([part for wave in waves for part in wave]), closes)
    return sc.square(sums).sum()


def record_sum(x: sc.Stream, closes: sc.Stream) -> sc.Stream:
    """The sum over the record so far, this sample included."""
    total = state(sc.zeros(x.shape), until=closes)
    total.next = total + x
    return total.next


# --------------------------------------------------------------------------------------------- at every record


def heard_of(rate: sc.Stream) -> sc.Stream:
    """The mean square of the swings that strikes of 1 g make at a rate (Hz), over the harmonics."""
    area, ringing = hearing()
    orders = 2 * np.pi * ringing * np.arange(1, HARMONICS + 1, dtype=np.float32)
    return (sc.square(rate * area) / (1.0 + sc.square(orders * rate))).sum()


def healthy(x: sc.Stream, learning: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """The mean and standard deviation of what x was at the ticks at which it was learnt."""
    count, mean, squares = state(0.0), state(0.0), state(0.0)
    off = sc.where(learning, x - mean, 0.0)
    count.next = count + sc.where(learning, 1.0, 0.0)
    mean.next = mean + off / sc.maximum(count.next, 1.0)
    squares.next = squares + off * (x - mean.next)
    return mean.next, sc.sqrt(squares.next / sc.maximum(count.next - 1.0, 1.0))


def deviations(score: sc.Stream, heard: sc.Stream) -> sc.Stream:
    """Page's cumulative sum of a standardised score; a record that was not heard adds nothing."""
    total = state(0.0)
    more = total + sc.minimum(score, OUTLIER) - SLACK
    total.next = sc.where(heard, sc.maximum(more, 0.0), total)
    return total.next


def trend(index: sc.Stream, noise: sc.Stream, heard: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """An extended Kalman filter of `(index, log of its growth per record)`: mean `[2]` and covariance `[2, 2]`.

    The index wanders around its trend; a record that was not heard only ages the estimate; an outlier is cut. The logarithm
    keeps the growth above zero: spalls do not heal.
    """
    mean, cov = state(sc.stack([index, sc.constant(GROWTH)])), state(np.diag([100.0, DOUBT**2]))
    growth = sc.exp(mean[1])
    ahead = mean[0] + growth
    moves = sc.stack([sc.stack([1.0, growth]), sc.constant(np.float32([0, 1]))])
    spread = moves @ cov @ moves.T + np.diag(np.float32([WANDER**2, 0]))
    scatter = spread[0, 0] + noise
    most = OUTLIER * sc.sqrt(scatter)
    gain = sc.where(heard, spread[0] / scatter, 0.0)
    after = sc.stack([ahead, mean[1]]) + gain * sc.clip(index - ahead, -most, most)
    mean.next, cov.next = after, spread - sc.outer(gain, spread[0])
    return after, cov.next


def remaining(mean: sc.Stream, cov: sc.Stream) -> sc.Stream:
    """Records until the index reaches the limit, `[3]`: the times by which it has with probability 5 %, 50 %, 95 %.

    Its mean is `gap / growth`, whether the index wanders or not (Wald 1947); its logarithm is taken to be normal. How far
    the index wanders until then, and what the filter does not know of gap and growth, add up to its variance.
    """
    gap = sc.maximum(np.float32(np.log(LIMIT)) - mean[0], 0.05)
    time = gap * sc.exp(-mean[1])
    by = sc.stack([-1.0 / gap, sc.constant(-1.0)])
    wanders = sc.minimum(WANDER**2 * time / sc.square(gap), 1.0)
    deviation = sc.sqrt(by @ cov @ by + wanders)
    return time * sc.exp(-0.5 * wanders + SURE * deviation * np.float32([-1, 0, 1]))


def prognosis(
    swing: sc.Stream, scale: sc.Stream, heard: sc.Stream, learnt: int
) -> dict[str, sc.Stream]:
    """The life of a bearing as an automaton: its healthy swings are learnt, then watched, then their growth is followed.

    `swing` is the mean square of the envelope's swings, `scale` what strikes of 1 g would make it; `learnt` records are learnt from.
    """
    known = state(0)
    known.next = sc.where(heard, known + 1, known)
    loud = 0.5 * sc.log(swing)
    usual, spread = healthy(loud, heard & (known < learnt))
    # The strikes' part: what noise alone would give is taken off, and makes the index uncertain while it is large.
    noise = sc.exp(2.0 * usual)
    strikes = sc.maximum(swing - noise, 0.25 * noise)
    index = 0.5 * sc.log(strikes / scale)
    share = noise / strikes
    doubt = sc.square(spread) * (share + sc.square(share)) + SCATTER**2
    with sc.automaton() as life:
        life.default(score=0.0, growth=0.0, left=sc.constant(np.float32([FAR] * 3)))
        with life.mode("learning") as m:
            m.until(known.next >= learnt, "watching")
        with life.mode("watching") as m:
            score = deviations((loud - usual) / spread, heard)
            m.emit(score=score)
            m.until(score > ALARM, "degrading")
        with life.mode("degrading") as m:
            mean, cov = trend(index, doubt, heard)
            m.emit(growth=sc.exp(mean[1]), left=remaining(mean, cov))
    return {
        "index": index,
        "mode": life.current,
        "score": life.score,
        "growth": life.growth,
        "left": life.left,
    }


@node
def monitor(
    sample: f32, valid: bool_, speed: f32, record: int = RECORD, learnt: int = HEALTHY
) -> dict[str, sc.Stream]:
    """A sample (g) per tick, whether it arrived, and the shaft's speed (Hz); results where a record closes.

    `index` (nats above strikes of 1 g), `rms` (g), `kurtosis`, the automaton's `mode`, the `score` of the alarm, the `growth` per
    record, what is `left` (records, [3]: 5 %, median, 95 %), and `plain`: whether a plain threshold on the RMS would alarm.
    """
    number = state(0)
    closes = number == record - 1
    number.next = sc.where(closes, 0, number + 1)
    valid = valid & sc.isfinite(sample)
    x = sc.where(valid, sample, 0.0)
    rate = STRIKES * speed
    swing = swings(sc.where(valid, envelope(x), 0.0), rate / RATE, closes)
    square = sc.square(x)
    arrived = record_sum(sc.where(valid, 1.0, 0.0), closes)
    power, fourth = record_sum(square, closes), record_sum(sc.square(square), closes)
    with sc.every(closes):
        heard = arrived >= 0.5 * record
        # What was not heard is as it was.
        share = sc.when((swing / sc.square(arrived), power / arrived, fourth / arrived), heard)
        swing, power, fourth = sc.hold(share, (1e-6, 1.0, 3.0))
        result = prognosis(swing, heard_of(rate), heard, learnt)
        rms, learning = sc.sqrt(power), result["mode"] == 0
        usual, spread = healthy(rms, heard & learning)
        plain = heard & ~learning & (rms > usual + PLAIN * spread)
        return {"rms": rms, "kurtosis": fourth / sc.square(power), "plain": plain, **result}
