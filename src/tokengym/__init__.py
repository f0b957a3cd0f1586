"""tokengym: text generation as a token-level Gymnasium environment, and the algorithms that learn in it."""

__version__ = "0.1.0"
