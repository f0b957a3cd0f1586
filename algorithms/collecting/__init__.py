"""From an engine to episodes: rollouts and their recordings."""
