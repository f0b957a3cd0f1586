"""What an optimiser's step must leave behind: no session may go on with keys and values of older weights."""

import torch

from tokengym.algorithms.off_policy.dqn import DQN


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
