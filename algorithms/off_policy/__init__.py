"""Learning from a replay of whole episodes."""
