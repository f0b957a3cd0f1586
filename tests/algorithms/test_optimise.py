"""What an optimiser's step must leave behind, and what it refuses."""

import dataclasses

import pytest
import torch

from tokengym.algorithms import A2C
from tokengym.algorithms.off_policy.dqn import DQN
from tokengym.envs import TokenGymError


def test_a_session_notices_the_optimisers_step():
    algorithm = DQN("Copy", learning_starts=0, rollout_tokens=64, num_rows=4, learning_rate=0.05)
    episodes = algorithm.collect()
    tokens, lengths = episodes.tokens[:4], episodes.lengths[:4]
    session = algorithm.agent.session(4)
    before = session.step(tokens, lengths).q
    algorithm.learn(200)
    cached = session.step(tokens, lengths).q
    fresh = algorithm.agent.session(4).step(tokens, lengths).q
    assert not torch.equal(before, fresh)
    assert torch.equal(cached, fresh)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda total: total * torch.ones(3),
            r"the loss has shape \(3,\), with a graph; expected one number",
        ),
        (lambda total: total.detach(), r"update 0: the loss has shape \(\), without a graph"),
    ],
)
def test_a_loss_that_is_no_number_or_has_no_graph_is_named_with_its_step(spoil, told):
    class Spoilt(A2C):
        def loss(self, part, prepared):
            found = super().loss(part, prepared)
            return dataclasses.replace(found, total=spoil(found.total))

    algorithm = Spoilt("Copy", "mlp-tiny", seed=0)
    before = [parameter.clone() for parameter in algorithm.agent.parameters()]
    with pytest.raises(TokenGymError, match=told):
        algorithm.learn(100)
    assert all(map(torch.equal, before, algorithm.agent.parameters()))
