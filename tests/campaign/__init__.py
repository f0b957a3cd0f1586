"""The campaign: runs that are killed at every moment, and inputs that nobody would write.

`make campaign` runs its long form, `python -m tests.campaign --short` the one that the tests run.
"""
