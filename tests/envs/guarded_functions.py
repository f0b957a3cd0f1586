"""Functions that a guarded process imports: this module is on the tests' import path."""

import os
import time

_SEEN = []


def evaluate(text):
    return eval(text)


def count_calls():
    _SEEN.append(None)
    return len(_SEEN)


def place():
    return {"folder": os.listdir("."), "environment": sorted(os.environ), "id": os.getpid()}


def evaluated(completions, **kwargs):
    """A reward that runs what was said, as careless ones do."""
    return [eval(text) for text in completions]


def logged(prompts, completions, goal, trainer_state, log_metric, log_extra):
    """A reward that asks for everything; it abstains on "?", pays by token on "ab"."""
    log_metric("length", len(completions[0]))
    log_extra("upper", [text.upper() for text in completions])
    assert trainer_state.max_steps == 0
    values = {"?": None, "ab": [0.25, 0.5]}
    return [values.get(text, float(text == wanted)) for text, wanted in zip(completions, goal, strict=True)]


def broken(completions, **kwargs):
    raise KeyError(completions[0])


def sleepy(completions, **kwargs):
    time.sleep(1e9)


class Longest:
    """A reward object, sent by its fields."""

    reward_range = (1.0, 2.0)

    def __init__(self, target):
        self.target = target

    def __call__(self, completions, **kwargs):
        return [2.0 if len(text) >= self.target else 1.0 for text in completions]
