"""Reward functions for text: the named rules, the checked call, and guarded processes."""
