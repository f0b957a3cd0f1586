"""Stable-Baselines3's own algorithms on token environments, as references."""
