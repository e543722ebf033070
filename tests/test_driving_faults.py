"""Sensors that fail for a time: what reaches the driver then, and what comes of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

import seiche as sc
from examples.driving import faults
from examples.driving.conditions import DRY
from examples.driving.faults import KINDS, Fault, failing
from examples.driving.health import DEGRADED, EMERGENCY, NOMINAL, RECOVERY
from examples.driving.record import filming, record
from examples.driving.sensing import SECTORS, Sensors
from examples.driving.training import TRIAL, chance, train
from examples.driving.world import BRAKE, LONGEST
from seiche import i32
from tests.learning import in_c

SHORT = 60_000
OWN = ("speed", "lane", "moved", "pull")
CAMERAS = ("sign", "sign_ahead", "arrow", "junction")


@lru_cache(maxsize=1)
def pilot():
    return train("shielded", 0, SHORT)


@sc.node
def broken(said: Sensors, fault: i32):
    return failing(said, fault)


def words(ticks, seed=0):
    """Sensors that say something at each tick, of themselves never the same."""
    draw = np.random.default_rng(seed).normal(size=(ticks, 2 * SECTORS + 7)).astype(np.float32)
    lanes = np.arange(ticks, dtype=np.int32) % 3
    rows = [draw[:, i] for i in range(7)]
    gap, closing = draw[:, 7 : 7 + SECTORS], draw[:, 7 + SECTORS :]
    return Sensors(rows[0], lanes, rows[1], rows[2], gap, closing, *rows[3:])


@pytest.mark.parametrize("kind", KINDS)
def test_sensors_say_what_they_say_but_while_they_fail(kind):
    said, fault = words(12), Fault(4, 3, kind)
    heard = sc.compile(broken).run(said, fault.stream(12))
    during = (np.arange(12) >= 4) & (np.arange(12) < 7)
    for name, before, after in zip(Sensors._fields, said, heard, strict=True):
        same = slice(None) if name in OWN or kind == "none" else ~during
        np.testing.assert_array_equal(before[same], after[same], err_msg=name)
    radar = np.stack([heard.gap[during], heard.closing[during]])
    if kind == "lost":
        assert np.isnan(radar).all()
    elif kind == "frozen":
        assert (heard.gap[during] == said.gap[3]).all()
        assert (heard.closing[during] == said.closing[3]).all()
    elif kind == "wild":
        assert (radar == faults.OUTLANDISH).all()
    if kind != "none":
        assert all(np.isnan(getattr(heard, name)[during]).all() for name in CAMERAS)


def test_a_fault_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="'broken' is not one of none, lost, frozen, wild"):
        Fault(kind="broken")
    with pytest.raises(ValueError, match="no time"):
        Fault(seconds=0)


@in_c
@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_drive_whose_sensors_fail_goes_through_the_modes_and_on(kind):
    fault = Fault(40, 15, kind)
    sound, shown = record(pilot(), seed=3), record(pilot(), seed=3, fault=fault)
    for name in ("speed", "action", "mode", "gap"):
        np.testing.assert_array_equal(sound[name][:40], shown[name][:40], err_msg=name)
    assert not sound["faulty"].any()
    np.testing.assert_array_equal(np.flatnonzero(shown["faulty"]), np.arange(40, 55))
    modes = shown["mode"][40:]
    order = [m for m, before in zip(modes[1:], modes) if m != before]
    assert order == [DEGRADED, EMERGENCY, RECOVERY, NOMINAL]
    assert (shown["action"][shown["mode"] == EMERGENCY] == BRAKE).all()
    assert shown["speed"][54] == 0.0 and not shown["crash"].any() and len(modes) == LONGEST - 39


@in_c
@pytest.mark.parametrize("kind", KINDS[1:])
def test_nobody_is_hit_while_sensors_fail_at_any_time(kind):
    """No contract of the shield is broken (that would end the run), and no episode ends in a crash."""
    episodes, length = 100, LONGEST + 1
    made = pilot().takes(filming("shielded", DRY, 0, SHORT))
    draw = np.random.default_rng(0)
    befalls = [
        Fault(int(draw.integers(2, 100)), int(draw.integers(3, 40)), kind).stream(length)
        for _ in range(episodes)
    ]
    ticks = episodes * length
    given = np.zeros(ticks, np.bool_), chance(7, TRIAL, ticks), np.concatenate(befalls)
    scene, driven = made.run(*given)
    assert driven.ended.sum() == episodes and not scene.terminated.any()
    assert set(np.unique(driven.mode)) == {NOMINAL, DEGRADED, EMERGENCY, RECOVERY}
    assert driven.over.mean() < 0.05 and driven.wrong.mean() < 0.001
