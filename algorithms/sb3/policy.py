"""What Stable-Baselines3's policies read tokens with: a small embedding of their own, or an agent's trunk."""

from __future__ import annotations

from collections.abc import Callable

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from ...agents.models import Trunk
from ...envs import TokenGymError


def ids_and_lengths(observations: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return int64 tokens (n, K), cut to the longest, and int64 lengths (n,).

    Stable-Baselines3 hands over everything as float32, in which ids are exact below 2^24.
    """
    lengths = observations["length"].long().reshape(-1)
    return observations["tokens"].long()[:, : int(lengths.max())], lengths


class TokenExtractor(BaseFeaturesExtractor):
    """Embeds each token at its place and reads them with one hidden layer; cheap, and enough for short contexts.

    Every (position, token) pair acts through a matrix of its position, so that order is seen; padding is zeroed.

    Args:
        observation_space: the dictionary of tokens (L,) and length (1,).
        embedding_size: width of a token's embedding.
        features_dim: width of the features.
    """

    def __init__(self, observation_space: spaces.Dict, embedding_size: int = 16, features_dim: int = 64) -> None:
        super().__init__(observation_space, features_dim)
        tokens = observation_space["tokens"]
        assert isinstance(tokens, spaces.Box)
        self.length = tokens.shape[0]
        self.embedding = nn.Embedding(int(tokens.high.max()) + 1, embedding_size)
        self.hidden = nn.Linear(self.length * embedding_size, features_dim)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features (n, features_dim)."""
        ids, lengths = ids_and_lengths(observations)
        known = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        embedded = (self.embedding(ids) * known[:, :, None]).flatten(1)  # (n, K * embedding_size)
        # The columns beyond the longest row are all padding, so their weights have nothing to act on.
        weight = self.hidden.weight[:, : embedded.shape[1]]
        return torch.relu(nn.functional.linear(embedded, weight, self.hidden.bias))


class TrunkExtractor(BaseFeaturesExtractor):
    """Reads tokens with an agent's trunk, whose feature after the last token is handed on.

    A transition knows nothing of the one before it, so the whole prefix is encoded for every token.

    Args:
        observation_space: the dictionary of tokens (L,) and length (1,).
        make_trunk: returns a new trunk; called once an extractor, since online and target networks share nothing.
    """

    def __init__(self, observation_space: spaces.Dict, make_trunk: Callable[[], Trunk]) -> None:
        trunk = make_trunk()
        if trunk.feature_size < 1:
            raise TokenGymError(
                "the prefix table has no features for Stable-Baselines3's heads; use agent='mlp' or a neural one"
            )
        super().__init__(observation_space, trunk.feature_size)
        self.trunk = trunk

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features (n, D)."""
        ids, lengths = ids_and_lengths(observations)
        return self.trunk(ids, lengths)[torch.arange(len(ids), device=ids.device), lengths - 1]
