"""What guessing games share: the return of a player that guesses without listening."""

from __future__ import annotations


def blind_return(options: int, guesses: int) -> float:
    """Returns the expected return of blind guessing, −Σ_{i ≤ guesses} (1 − 1/options)^i.

    Every wrong guess costs 1 and the right one ends the game; guesses are uniform, and repeats are allowed.

    Args:
        options: How many different guesses there are, one of them right.
        guesses: The most guesses in an episode.
    """
    missed = 1 - 1 / options
    return -sum(missed**guess for guess in range(1, guesses + 1))
