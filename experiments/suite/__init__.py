"""Scores and pages of the suite, computed and written."""
