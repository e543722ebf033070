"""Law 1 and 4 on random programs: oracle = interpreter = C in bits, bytes as predicted. `tests.campaign` runs many more."""

from __future__ import annotations

import pytest

from tests.campaign import verdict

PROGRAMS, PER_TEST = 300, 5


@pytest.mark.parametrize("first", range(0, PROGRAMS, PER_TEST))
def test_random_programs_mean_the_same_everywhere(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        _, law, text = verdict(seed)
        assert law in ("ok", "overflow"), f"seed {seed} breaks `{law}`\n{text}"
