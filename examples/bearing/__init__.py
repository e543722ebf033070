"""Predictive maintenance: from a bearing's vibration to the time that it has left, with a band of uncertainty.

An accelerometer on a machine is heard for a quarter of a second every ten minutes: a *record*. Where the outer race has
a spall, each ball that rolls over it strikes a resonance of the housing, at a rate that is a known multiple of the shaft's. A
tick is a sample: band-pass, envelope, and what the envelope has at that rate. What is slower happens where a record closes:
the *health index* (log of the strikes' size, in g), its healthy mean and spread, learnt from the first records; a sum of
deviations that raises the alarm; and from there a Kalman filter of the index and its growth, which says when the limit will be
reached. No threshold is given in advance; the limit of the strikes at which the bearing has to be replaced is.

Envelope analysis: McFadden & Smith 1984. Cumulative sum: Page 1954. Exponential degradation and its time to the limit: Gebraeel,
Lawley, Li & Ryan 2005. Running mean and variance: Welford 1962.
"""
