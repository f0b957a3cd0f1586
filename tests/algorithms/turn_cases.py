"""A task of one or two turns that the policy ends, and a policy of it, for tests that list all episodes."""

import numpy as np

from tokengym.envs import FiniteTask, Initial, Transition, Vocabulary


class Turns(FiniteTask):
    """One or two turns of two tokens; a turn whose first token is 0 is the last. Pays after every turn.

    The task answers each turn but the last, and what it answers may be drawn.
    """

    name = "Turns"
    turn_tokens = 2

    def __init__(self, chance=False, context="episode"):
        self.chance, self.context = chance, context
        self.vocabulary = Vocabulary.of(["0", "1"], ["one", "two"])

    def initial(self):
        return [Initial(1.0, "")]

    def transitions(self, state, action):
        said = f"{state}{action}"
        turn = said.replace("a", "").replace("b", "")
        if len(turn) % 2:
            return [Transition(1.0, said, 0.0)]
        paid = (0.9, 0.2, 0.5, 0.7)[int(turn[-2:], 2)] + 0.25 * len(turn) * (turn[-1] == "1")
        if turn[-2] == "0" or len(turn) == 4:
            return [Transition(1.0, None, paid)]
        if not self.chance:
            return [Transition(1.0, said + "a", paid, shown=("one",))]
        more = [(0.3, "a", "one", 0.4), (0.7, "b", "two", -0.1)]
        return [Transition(p, said + letter, paid + extra, shown=(shown,)) for p, letter, shown, extra in more]


def wavering(tokens, lengths):
    """A policy that depends on how much was said and on what was said last."""
    last = np.take_along_axis(np.asarray(tokens), np.asarray(lengths)[:, None] - 1, axis=1)[:, 0]
    one = 1 / (1 + np.exp(0.4 - 0.15 * np.asarray(lengths) - 0.5 * (last == 1)))
    return np.stack([1 - one, one], axis=1)
