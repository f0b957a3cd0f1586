"""A reward that draws from the generators that a process shares, as users' rewards do."""

import random

import numpy as np
import torch


def noisy(completions, **columns):
    def drawn():
        return random.random() + random.gauss(0, 1) + float(np.random.normal()) + float(torch.rand(()))

    return [len(text) / 10 + drawn() for text in completions]
