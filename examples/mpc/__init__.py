"""Model-predictive control with a fixed amount of work per tick: a cart-pole that swings up, and a car that keeps its distance.

At every tick a controller plans some seconds ahead, does the first step of its plan, and keeps the rest for the next tick. The usual
solver iterates until it is done, in memory that it allocates; this one (`examples/ilqr.py`) improves the plan that it remembers a
fixed number of times, in a state of some kilobytes, with pushes inside their bounds whatever happens. CasADi's IPOPT, an interior-point
solver, says what the best plan would have been.
"""
