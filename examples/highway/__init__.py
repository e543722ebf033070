"""highway-env's fast highway behind a shield: the learners of this language in somebody else's world, told what is safe.

`python -m examples.highway` trains there and prints a scorecard; docs/environments.md says what is in it.
"""
