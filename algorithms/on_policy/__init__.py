"""Learning from fresh episodes."""
