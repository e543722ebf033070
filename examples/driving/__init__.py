"""A car that learns to drive where it runs: world, facts, policy, learner, shield and modes as one reactive program.

`python -m examples.driving` trains drivers side by side and prints their scorecard.
"""
