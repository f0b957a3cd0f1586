"""Exporting a reward model as a sequence classification model of transformers, which any other trainer reads."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from ...agents.export import tokenizer_of
from ...agents.models import TransformerTrunk, quiet_bars
from ...agents.new_folder import new_folder
from ...envs import TokenGymError
from ...envs.checking import checked
from .classifier import READS_BOS, Classifier
from .model import RewardModel

TOLERANCE = 1e-4
"""How far the scores of what was written may be from the model's, relative to the largest of them."""


@checked
def export_reward_model(model: RewardModel, folder: str | Path, tokenizer: Any = None) -> None:
    """Write a folder that `AutoModelForSequenceClassification` loads, with one label: the score, but for a constant.

    Such a model has no bias: the mean that the scores were given is lost, and no difference of scores.

    Args:
        model: a single model of whole sequences, on gpt2, llama or a checkpoint folder.
        folder: a new or an empty one.
        tokenizer: the task's, of transformers; None writes one whose tokens are the vocabulary's names.

    Raises:
        TokenGymError: a model that none of transformers expresses, or a folder that holds something.
    """
    if len(model.members) > 1 or model.process:
        what = "scores steps" if model.process else f"is an ensemble of {len(model.members)}"
        raise TokenGymError(f"the reward model {what}, which no classifier of transformers is: export a single one.")
    member = model.members[0]
    trunk, head = member.trunk, member.readouts["value"]
    if not isinstance(trunk, TransformerTrunk) or not isinstance(head, nn.Linear):
        raise TokenGymError(
            f"the reward model stands on a {type(trunk).__name__}, which transformers has not: fit a gpt2, a llama or "
            "a checkpoint folder to export it."
        )
    config = copy.deepcopy(trunk.body.config)
    config.num_labels, config.pad_token_id = 1, model.vocabulary.pad
    setattr(config, READS_BOS, True)
    written: Any = AutoModelForSequenceClassification.from_config(config)
    written.base_model.load_state_dict(trunk.body.state_dict())
    with torch.no_grad():
        written.score.weight.copy_(head.weight / model.scale)
    spoken = tokenizer_of(model.vocabulary) if tokenizer is None else tokenizer
    with new_folder(folder) as begun:
        with quiet_bars():
            written.save_pretrained(begun)
            spoken.save_pretrained(begun)
            _check(model, begun)


def _check(model: RewardModel, folder: Path) -> None:
    """Read the folder as a stranger would, and compare differences of scores."""
    draws = np.random.default_rng(0).integers(0, model.num_tokens, (4, min(8, model.max_length)))
    lengths = np.full(4, draws.shape[1])
    apart = Classifier.load(folder).score(draws, lengths) - model.score(draws, lengths)
    if np.ptp(apart) > TOLERANCE * max(1.0, float(np.abs(model.score(draws, lengths)).max())):
        raise TokenGymError(
            f"what transformers reads from the export differs from the reward model by {np.ptp(apart):.3g}; nothing "
            "was written"
        )
