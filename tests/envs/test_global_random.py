"""Global generators that are lent: each owner draws from its own, and everybody else's stay where they were."""

import copy
import random

import numpy as np
import torch

from tokengym.envs.text.global_random import GlobalDraws


def draws():
    return random.random(), float(np.random.random()), float(torch.rand(()))


def drawn(owner):
    with owner.lent():
        return draws()


def test_owners_draw_from_states_of_their_own_whoever_draws_between():
    alone = GlobalDraws(7)
    expected = [drawn(alone) for _ in range(3)]
    owner, other = GlobalDraws(7), GlobalDraws(8)
    found = []
    for _ in range(3):
        found.append(drawn(owner))
        assert drawn(other) != found[-1]
        draws()
    assert found == expected


def test_everybody_else_s_generators_stay_where_they_were():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    drawn(GlobalDraws(1))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_a_copy_goes_on_by_itself():
    owner = GlobalDraws(3)
    drawn(owner)
    twin = copy.deepcopy(owner)
    assert drawn(owner) == drawn(twin)
