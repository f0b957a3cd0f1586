"""The critic alone learns at first, where that is asked for: the policy does not move by a bit."""

from typing import Any

import pytest
import torch

from tokengym.algorithms import A2C, PPO, Callback
from tokengym.envs import TokenGymError


class Watching(Callback):
    """Notes after every update whether policy and critic are what they were at the start."""

    def on_start(self, algorithm: Any) -> None:
        self.first = {name: value.clone() for name, value in algorithm.agent.state_dict().items()}
        self.moved: list[tuple[int, bool, bool]] = []

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> None:
        now = algorithm.agent.state_dict()
        changed = {name for name, value in now.items() if not torch.equal(value, self.first[name])}
        critic = {name for name in changed if name.startswith(("critic_trunk", "readouts.value"))}
        self.moved.append((algorithm.num_timesteps, bool(changed - critic), bool(critic)))


@pytest.mark.parametrize("kind", [PPO, A2C])
@pytest.mark.parametrize("agent", ["mlp-tiny", "gpt2-tiny"])
@pytest.mark.parametrize("separate", [False, True])
def test_the_policy_stands_still_until_the_critic_has_had_its_tokens(kind: Any, agent: str, separate: bool):
    watching = Watching()
    algorithm = kind(
        "tokengym/Copy-v0", agent=agent, seed=1, rollout_tokens=64, critic_warmup=200, separate_critic=separate
    )
    algorithm.learn(400, callback=watching)
    assert [policy for tokens, policy, _ in watching.moved] == [tokens > 200 for tokens, _, _ in watching.moved]
    assert all(critic for _, _, critic in watching.moved)
    assert {tokens > 200 for tokens, _, _ in watching.moved} == {False, True}


def test_without_tokens_for_the_critic_nothing_is_held():
    watching = Watching()
    PPO("tokengym/Copy-v0", seed=1, rollout_tokens=64).learn(64, callback=watching)
    assert watching.moved[0][1:] == (True, True)


def test_the_gradient_after_it_reaches_the_policy_again():
    algorithm = PPO("tokengym/Copy-v0", seed=1, rollout_tokens=64, critic_warmup=63)
    algorithm.learn(64)
    assert all(parameter.requires_grad for parameter in algorithm.agent.parameters())


def test_a_critic_that_learns_nothing_cannot_warm_up():
    with pytest.raises(TokenGymError, match="critic_warmup is 100"):
        PPO("tokengym/Copy-v0", value_coef=0.0, critic_warmup=100)
