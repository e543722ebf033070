"""Drivers: the loop as one program in every form, and what its learners come to."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import seiche as sc
from examples.driving.conditions import DRY, RAIN
from examples.driving.drivers import BASELINES, LEARNERS, SIDE_BY_SIDE, dared, drive, school
from examples.driving.record import record
from examples.driving.traffic import CARS
from examples.driving.training import (
    TRAINING,
    Pilot,
    chance,
    learnt,
    program,
    score,
    spread,
    student,
    train,
    trial,
)
from examples.driving.world import LONGEST
from seiche.ir.tree import flatten
from tests.deployed import needs_qemu
from tests.learning import in_c

SHORT = 60_000
"""Decisions: a third of a second."""


@functools.cache
def trained(driver, steps=SHORT, seed=0):
    return train(driver, seed, steps)


def same(a, b):
    for x, y in zip(flatten(a)[0], flatten(b)[0], strict=True):
        np.testing.assert_array_equal(x, y)


@in_c
@pytest.mark.parametrize("ticks", [8, pytest.param(250, marks=pytest.mark.long)])
def test_the_interpreter_and_c_agree_in_bits_while_training(ticks):
    given = (np.ones(ticks, np.bool_), chance(0, TRAINING, ticks))
    interpreted = sc.compile(drive, driver="shielded", steps=SHORT)
    compiled = program("shielded", DRY, 0, SHORT)
    compiled.reset()
    fresh = learnt(compiled)
    same(interpreted.run(*given), compiled.run(*given))
    now = learnt(compiled)
    for name, value in interpreted.state.items():
        np.testing.assert_array_equal(value, compiled.state[name], err_msg=name)
    assert any((fresh[name] != now[name]).any() for name in now if "/weights/" in name)


@in_c
def test_what_another_driver_has_learnt_is_refused():
    """Of another algorithm (nothing would be taken over), and of another architecture; a driver of none is not driven by chance."""
    weights = {"ppo/acting/chosen_gru_recurrent": np.zeros((64, 192), np.float32)}
    with pytest.raises(ValueError, match="no latched driver's: it lacks stream_q/"):
        trial(Pilot("latched", 0, SHORT, weights), 1)
    latched = trained("latched", 2_000)
    with pytest.raises(sc.SeicheError, match=r"not float32\[24") as caught:
        trial(Pilot("memoryless", 0, 2_000, latched.weights), 1)
    assert caught.value.code == "SE902"
    for start in (Pilot, record, lambda name: train(name, 0, 100)):
        with pytest.raises(ValueError, match="'sheilded' is not one of memoryless, latched"):
            start("sheilded")
    with pytest.raises(ValueError, match="'sheilded' is not one of"):
        sc.compile(drive, driver="sheilded")
    with pytest.raises(ValueError, match="0 decisions"):
        train("latched", 0, 0)
    with pytest.raises(ValueError, match="0 episodes"):
        trial(Pilot("rule"), 0)


def test_an_interval_is_known_for_any_number_of_seeds():
    """97.5 % points of Student's t, of tables."""
    for free, point in [(1, 12.706), (4, 2.776), (5, 2.571), (9, 2.262), (29, 2.045), (99, 1.984)]:
        assert abs(student(free + 1) - point) <= 0.002 * point
    assert spread([0.0] * 6 + [1.0] * 6) == pytest.approx((0.5, 2.201 * 0.5222 / 12**0.5), 1e-3)


@in_c
def test_a_trained_driver_stands_still_in_a_trial():
    pilot = trained("shielded")
    made = pilot.takes(program("shielded", DRY, 0, SHORT))
    ticks = 500
    made.run(np.zeros(ticks, np.bool_), chance(7, TRAINING, ticks))
    after = learnt(made)
    changed = {name for name in after if (after[name] != pilot.weights[name]).any()}
    assert not [name for name in changed if "weights" in name or "moments" in name]
    assert trial(pilot, 20) == trial(pilot, 20), "trials repeat"
    assert trial(pilot, 20, seed=1) != trial(pilot, 20)


@in_c
def test_a_shielded_learner_drives_fast_and_hits_nobody():
    reached = trial(trained("shielded"), 200)
    assert reached.crashes <= 0.005 and reached.wrong <= 0.01 and reached.over <= 1.0
    assert reached.returns > 98 and reached.pace > 0.8 and reached.overrides < 20


@in_c
def test_the_shield_makes_chance_safe():
    """What the learner starts from: it has explored nothing yet, and crashes nowhere."""
    made = program("shielded", DRY, 0, SHORT)
    made.reset()
    ticks = 5_000
    wild = score(made.run(np.ones(ticks, np.bool_), chance(1, TRAINING, ticks)))
    assert wild.crashes == 0 and wild.wrong == 0 and wild.overrides > 10


@in_c
@pytest.mark.slow
def test_baselines_are_what_they_are():
    scores = {name: trial(Pilot(name), 100) for name in BASELINES}
    assert scores["brake"].crashes == 0 and scores["brake"].pace < 0.05
    assert scores["random"].crashes > 0.9
    rule = scores["rule"]
    assert rule.returns > 95 and rule.crashes <= 0.02 and rule.over < 1 and rule.wrong == 0


@in_c
@pytest.mark.long
def test_memory_is_what_the_world_asks_for():
    """Latched facts come near to the truth; without memory, there is no telling the limit."""
    reached = {
        name: np.mean([trial(trained(name, 300_000, seed)).returns for seed in (0, 1)])
        for name in LEARNERS
        if name != "recurrent"
    }
    assert reached["memoryless"] < 0.85 * reached["oracle"]
    assert reached["latched"] > 0.93 * reached["oracle"]
    assert reached["shielded"] > max(trial(Pilot("rule")).returns, reached["latched"])


def test_what_is_learnt_at_school_is_called_as_what_drives():
    """By the names of their states alone: a driver takes all that it acts by from the program that trained it."""
    learns, drives = (set(sc.compile(node, **who).state) for node, who in SCHOOLED)
    acts = {name for name in drives if "acting" in name}
    assert len(acts) == 6 and acts < learns
    assert not [name for name in drives if "weights" in name or "optimiser" in name]


SCHOOLED = (school, {}), (drive, {"driver": "recurrent"})


@in_c
@pytest.mark.long
def test_the_recurrent_driver_takes_along_what_it_learnt_at_school():
    steps = 2 * SIDE_BY_SIDE * 128
    pilot = trained("recurrent", steps)
    drives = pilot.takes(program("recurrent", DRY, 0, steps))
    taken = [name for name in drives.state if "acting" in name]
    assert len(taken) == 6 and "ppo/acting/chosen_gru_recurrent" in taken
    drives.run(np.zeros(200, np.bool_), chance(1, TRAINING, 200))
    fresh = program("recurrent", DRY, 0, steps).lowered.initial
    for name in taken:
        np.testing.assert_array_equal(drives.state[name], pilot.weights[name], err_msg=name)
        assert (pilot.weights[name] != fresh[name]).any(), name
    assert trial(pilot, 10) == trial(pilot, 10)
    assert [int(done) for done in pilot.curve[:, 0]] == [steps]


@in_c
@pytest.mark.long
def test_memory_can_be_learnt():
    """A million decisions, of the sensors' words alone: most of what remembered facts are worth."""
    reached = trial(trained("recurrent", 1_000_000))
    assert reached.returns > 90 and reached.crashes <= 0.02


@in_c
@pytest.mark.long
def test_rain_is_another_world_and_one_goes_on_learning_in_it():
    dry = trained("shielded", 200_000)
    before = trial(dry, 100, of=RAIN)
    assert before.crashes <= 0.05
    made = dry.takes(program("shielded", RAIN, 0, 200_000))
    made.run(np.ones(100_000, np.bool_), chance(3, TRAINING, 100_000))
    again = Pilot("shielded", 0, 200_000, learnt(made))
    assert trial(again, 100, of=RAIN).returns > before.returns - 2.0


@in_c
def test_an_episode_is_recorded():
    pilot = trained("shielded")
    shown = record(pilot, seed=2)
    ticks = len(shown["place"])
    assert 2 <= ticks <= LONGEST + 1
    assert all(len(x) == ticks for x in shown.values())
    assert shown["cars_place"].shape == (ticks, CARS) and shown["gap"].shape == (ticks, 6)
    # The same episode as a trial with that seed shows first.
    alone = trial(pilot, 1, seed=2)
    assert abs(float(shown["reward"].sum()) - alone.returns) < 1e-2
    np.testing.assert_array_equal(
        shown["overridden"][:-1], (shown["chosen"] != shown["action"])[:-1]
    )
    moved = np.diff(shown["place"])
    np.testing.assert_allclose(moved, (shown["speed"][1:] + shown["speed"][:-1]) / 2, atol=0.6)
    read = shown["sign_read"]
    assert read.any() and (np.diff(shown["fact_limit"]) == 0)[~(read[1:] | read[:-1])].mean() > 0.9


# ------------------------------------------------------------------------------ processors in the loop


@in_c
@needs_qemu
@pytest.mark.long
@pytest.mark.parametrize("board", ["cortex-m7", "cortex-m4f"])
def test_twenty_thousand_decisions_of_training_have_the_same_bits_on_a_microcontroller(board):
    ticks = 20_000
    compiled = sc.compile(drive, target="c", driver="shielded", steps=ticks)
    given = (np.ones(ticks, np.bool_), chance(0, TRAINING, ticks))
    ran = sc.emulate(compiled, *given, target=board, against="c")
    assert ran.agrees and ran.ticks == ticks, str(ran.difference)


@in_c
@pytest.mark.long
def test_learning_drivers_side_by_side_are_drivers_apart():
    n, ticks = 2, 300

    @sc.node
    def two(learning: sc.bool_[n], key: sc.u32[n, 2]):
        now = sc.over_space(lambda go, k: drive(go, k, driver="shielded", steps=SHORT), n)(
            learning, key
        )
        return now.reward, now.action, now.mode

    told = np.stack([chance(seed, TRAINING, ticks) for seed in range(n)], 1)
    together = sc.compile(two, target="c").run(np.ones((ticks, n), np.bool_), told)
    for i in range(n):
        made = program("shielded", DRY, 0, SHORT)
        made.reset()
        alone = made.run(np.ones(ticks, np.bool_), told[:, i])
        same((alone.reward, alone.action, alone.mode), tuple(x[:, i] for x in together))


# ------------------------------------------------------------------------------------- the shield, dared


def policies():
    """Whatever a policy may choose, in whatever world."""
    return {
        "chosen": sc.signals.steps(0, 5, hold=(1, 20)),
        "key": sc.signals.constant(0, 2**32 - 1),
    }


@in_c
def test_a_contract_finds_who_drives_without_a_shield():
    found = sc.falsify(dared, policies(), ticks=120, budget=20, shield=False)
    assert found.counterexample is not None
    assert "nobody is hit" in str(found.counterexample)


@in_c
def test_no_policy_that_is_found_gets_through_the_shield():
    found = sc.falsify(dared, policies(), ticks=120, budget=200)
    assert found.counterexample is None, str(found.counterexample)


@in_c
@pytest.mark.long
@pytest.mark.parametrize("of", [DRY, RAIN])
@pytest.mark.parametrize("hold", [1, 5, 20])
def test_ten_thousand_episodes_of_any_driving_hit_nobody(of, hold):
    """In rain, 1 of 1,600 episodes did, until lanes were changed on readings of the very second only."""
    ticks = 200_000
    rng = np.random.default_rng(hold)
    often = (0.2, 0.4, 0.05, 0.05, 0.15, 0.15)
    chosen = np.repeat(rng.choice(6, ticks // hold + 1, p=often), hold)[:ticks].astype(np.int32)
    program = sc.compile(dared, target="c", of=of)
    now = program.run(chosen, np.tile(sc.random.key(hold), (ticks, 1)))
    assert now.truncated.sum() > 1_600 and not now.terminated.any()
    assert now.over.mean() < 0.02 and now.road.wrong.sum() == 0
