"""Global generators that are lent: each owner draws from its own, and everybody else's stay where they were."""

import copy
import pickle
import random

import numpy as np
import pytest
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


def test_an_owner_draws_what_generators_of_its_seed_draw():
    python, numpy, torches = random.Random(5), np.random.RandomState(5), torch.Generator().manual_seed(5)
    expected = [
        (python.random(), float(numpy.random()), float(torch.rand((), generator=torches))) for _ in range(700)
    ]  # more than the words of one state
    owner = GlobalDraws(5)
    assert [drawn(owner) for _ in range(700)] == expected


@pytest.mark.parametrize("outer", ["MT19937", "PCG64"])
def test_a_spare_normal_number_stays_with_whom_it_belongs_to(outer):
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(getattr(np.random, outer)(2))
    try:
        theirs, owners = np.random.RandomState(), np.random.RandomState(9)
        theirs.set_state(np.random.get_state(legacy=False)) if outer == "MT19937" else None
        owner, found, others = GlobalDraws(9), [], []
        for _ in range(5):  # each takes one of a pair at a time
            with owner.lent():
                found.append(np.random.normal())
            others.append(np.random.normal())
        assert found == [owners.normal() for _ in range(5)]
        if outer == "MT19937":
            assert others == [theirs.normal() for _ in range(5)]
        assert type(np.random.get_bit_generator()).__name__ == outer
    finally:
        np.random.set_bit_generator(before)


def test_many_are_lent_to_and_all_is_put_back_once_also_after_a_failure():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    expected = [[drawn(owner) for _ in range(3)] for owner in map(GlobalDraws, range(4))]
    owners = [GlobalDraws(seed) for seed in range(4)]
    found = []
    for _ in range(3):
        with GlobalDraws.put_back_once():
            found.append([drawn(owner) for owner in owners])
    assert [list(draw) for draw in zip(*found, strict=True)] == expected
    with pytest.raises(ZeroDivisionError), GlobalDraws.put_back_once(), owners[0].lent():
        draws()
        raise ZeroDivisionError
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    drawn(owners[1])  # by itself once more
    assert random.getstate() == before[0]


def test_what_seeds_or_replaces_the_generators_does_so_for_the_owner_only():
    before = np.random.get_state()[1].tolist()
    owner = GlobalDraws(3)
    with owner.lent():
        np.random.seed(4)
        assert np.random.get_state()[1].tolist() == np.random.RandomState(4).get_state()[1].tolist()
        np.random.set_state(np.random.get_state())
        np.random.set_state(np.random.get_state(legacy=False))
    with owner.lent():
        assert np.random.random() == np.random.RandomState(4).random()
        np.random.set_bit_generator(np.random.PCG64(1))
        expected = copy.deepcopy(np.random.get_bit_generator())
    twin = copy.deepcopy(owner)
    for each in (owner, twin):
        with each.lent():
            assert np.random.random() == np.random.RandomState(copy.deepcopy(expected)).random()
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda owner: pickle.loads(pickle.dumps(owner))])
def test_copies_of_every_kind_go_on_by_themselves(copied):
    owner = GlobalDraws(3)
    with owner.lent():
        np.random.normal()
    twin = copied(owner)
    drawn(copied(owner))

    def more(one):
        with one.lent():
            return [*draws(), np.random.normal(), np.random.normal()]

    assert more(owner) == more(twin)
    assert more(owner) == more(twin)
