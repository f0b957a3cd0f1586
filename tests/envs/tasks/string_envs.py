"""Environments of strings as strangers write them, for the tests of TextGym: an entry point names them."""

import random

import gymnasium
import numpy as np
from gymnasium import spaces


class Adder:
    """Draws from the global generators only, tells legal texts by a method, and gives old 4-tuples."""

    def __init__(self, terms=2):
        self.terms = terms

    def reset(self):
        self.total = random.randint(0, 9) + int(np.random.randint(10))
        return f"add to {self.total}"

    def legal_actions(self):
        return ["+1", "+10"]

    def step(self, text):
        self.terms -= 1
        self.total += int(text) + random.randint(0, 1)
        return f"now {self.total}", float(np.random.rand() < 2), self.terms == 0, {"TimeLimit.truncated": False}


class Parrot(gymnasium.Env):
    """A Gymnasium environment with `Text` spaces: say what is shown; wrong words go on."""

    observation_space = spaces.Text(8, charset="abc ")
    action_space = spaces.Text(3, charset="abc")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.word = "".join(self.np_random.choice(list("abc"), 2))
        return self.word, {}

    def step(self, action):
        right = action == self.word
        return f"{action} {'a' if right else 'b'}", float(right), right, False, {}


class Numbers(gymnasium.Env):
    """Texts are observed, but actions are numbers."""

    observation_space = spaces.Text(8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        return "x", {}

    def step(self, action):
        return "x", 0.0, True, False, {}


class Replayed:
    """Shows what it is told to show, and gives as steps what it is told to give, whatever is said."""

    def __init__(self, shown="begin", steps=(("end", 1.0, True),), legal=None):
        self.shown, self.steps, self.said = shown, list(steps), []
        if legal is not None:
            self.legal_texts = legal

    def reset(self):
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    def step(self, text):
        self.said.append(text)
        given = self.steps.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


class Unrepeatable:
    """Draws from a generator that nobody can seed."""

    def reset(self):
        return str(random.SystemRandom().random())

    def step(self, text):
        return "", 0.0, True


class Uncopyable(Adder):
    """Holds what cannot be copied."""

    def __init__(self):
        super().__init__()
        self.generator = (number for number in range(3))


class Stateless:
    """No environment."""
