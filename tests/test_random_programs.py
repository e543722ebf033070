"""Law 1 and 4 on random programs: oracle = interpreter = C in bits, bytes as predicted. `tests.campaign` runs many more."""

from __future__ import annotations

import pytest

from tests.campaign import verdict
from tests.choices import KINDS, base, chosen, kind_of

PROGRAMS, CHOSEN, PER_TEST = 300, 100, 5


@pytest.mark.parametrize("first", range(0, PROGRAMS, PER_TEST))
def test_random_programs_mean_the_same_everywhere(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        _, law, text = verdict(seed)
        assert law in ("ok", "overflow"), f"seed {seed} breaks `{law}`\n{text}"


FOUND = 111244
"""A program that gcc 12 made wrong at -O3."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", [*range(5000, 5000 + CHOSEN, PER_TEST), FOUND])
def test_random_choices_of_time_and_space_keep_the_meaning(first: int) -> None:
    """In blocks, folded, in stages, products cut up: `tests.choices`."""
    for seed in range(first, first + PER_TEST):
        _, law, text = verdict(seed, choices=True)
        assert law in ("ok", "overflow"), f"seed {seed} breaks `{law}`\n{text}"


def test_the_choices_are_made() -> None:
    """Most are not refused."""
    done = sum(chosen(node := base(seed), seed) is not node for seed in range(60))
    assert done > 45 and len({kind_of(seed) for seed in range(60)}) == len(set(KINDS))
