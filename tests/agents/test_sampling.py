import math

import pytest
import torch

from tokengym.agents import Sampler
from tokengym.agents.sampling import action_log_probs, entropy, log_softmax
from tokengym.envs.checking.errors import TokenGymError


def test_frequencies_follow_the_softmax():
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0])
    actions, _ = Sampler(0).sample(logits.expand(40000, 4))
    torch.testing.assert_close(
        torch.bincount(actions, minlength=4) / 40000, torch.softmax(logits, 0), atol=0.01, rtol=0
    )


def test_log_probs_are_those_of_the_masked_distribution():
    logits = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    masks = torch.rand(500, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    masks[:, 0] = True
    actions, log_probs = Sampler(3).sample(logits, masks)
    assert masks[torch.arange(500), actions].all()
    by_hand = logits.masked_fill(~masks, -math.inf).log_softmax(-1)[torch.arange(500), actions]
    torch.testing.assert_close(log_probs, by_hand)
    torch.testing.assert_close(action_log_probs(logits, actions, masks), by_hand)


def test_forbidden_actions_are_never_said_however_likely():
    logits = torch.zeros(20000, 3)
    logits[:, 0] = 1e4
    masks = torch.tensor([False, True, True]).expand(20000, 3)
    for deterministic in (False, True):
        assert (Sampler(0).sample(logits, masks, deterministic)[0] > 0).all()


def test_entropy_and_its_gradient_stay_finite_under_masks():
    logits = torch.zeros(1, 4, requires_grad=True)
    masks = torch.tensor([[True, True, False, False]])
    value = entropy(log_softmax(logits, masks))
    value.sum().backward()
    assert value.item() == pytest.approx(math.log(2)) and bool(logits.grad.isfinite().all())
    assert log_softmax(logits, masks).exp()[0, 2] == 0


def test_a_sampler_resumes_from_its_state():
    logits, sampler = torch.zeros(100, 9), Sampler(4)
    sampler.sample(logits)
    state = sampler.get_state()
    expected = sampler.sample(logits)[0]
    other = Sampler(0)
    other.set_state(state)
    assert torch.equal(other.sample(logits)[0], expected)


def test_bad_rows_are_refused():
    with pytest.raises(TokenGymError, match="row 1 allows no action"):
        Sampler(0).sample(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]]))
    for deterministic in (False, True):
        with pytest.raises(TokenGymError, match="not finite"):
            Sampler(0).sample(torch.tensor([[0.0, math.nan]]), deterministic=deterministic)
