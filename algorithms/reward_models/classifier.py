"""Sequence classification models of transformers with one label, as reward models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from ...agents.devices import usable_device
from ...agents.models import quiet_bars
from ...envs import TokenGymError, Vocabulary
from ...envs.checking import checked
from .model import SCORED_TOKENS
from .reading import checked_sequences, padded

READS_BOS = "tokengym_reads_bos"
"""The entry of config.json that says whether sequences begin with `bos`, whatever the tokenizer does by itself."""


class Classifier:
    """A sequence classification model with one label, such as reward models are published as.

    Where its tokenizer is the task's, it reads the ids that were sampled; where it has another one, it is given texts.
    Rows of one length are read together, so that no padding is ever among them: which token a model takes for padding,
    and whether that is also its end token, does not matter.

    Args:
        model: the model, with one label.
        tokenizer: its own, or None where the folder has none.

    Attributes:
        model, tokenizer: as given.
        scale: 1: a difference of scores is the log-odds of a comparison.
        reads_bos: whether sequences begin with the token of the beginning, as its tokenizer or its config says.
    """

    scale = 1.0
    process = False

    def __init__(self, model: Any, tokenizer: Any = None) -> None:
        labels = int(model.config.num_labels)
        if labels != 1:
            raise TokenGymError(
                f"the sequence classification model has {labels} labels; a reward model has one score: expected "
                "num_labels = 1."
            )
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        # No id is this one, so a model that looks for the last token that is no padding finds the last one.
        model.config.pad_token_id = -1
        self._vocabulary = None if tokenizer is None else _vocabulary(tokenizer)
        begins = tokenizer is not None and list(tokenizer("")["input_ids"][:1])
        told = getattr(model.config, READS_BOS, None)
        self.reads_bos = (
            bool(begins and self._vocabulary and begins == [self._vocabulary.bos]) if told is None else told
        )

    @classmethod
    @checked
    def load(cls, folder: str | Path, device: str = "cpu") -> Classifier:
        """Read one from a folder; safetensors only, and no code from the folder is run.

        Raises:
            TokenGymError: no such model is there.
        """
        place = Path(folder)
        try:
            told = json.loads((place / "config.json").read_text(encoding="utf-8"))
            names = told.get("architectures") or []
            if not any(str(name).endswith("ForSequenceClassification") for name in names):
                raise TokenGymError(
                    f"the folder {place} holds {', '.join(map(str, names)) or 'no known architecture'}, which gives no "
                    "score: a reward model is a …ForSequenceClassification with one label. To make one of a language "
                    "model, fit it to comparisons: fit_reward_model(data, backbone=FOLDER)."
                )
            if "/" in str(told.get("_attn_implementation") or told.get("attn_implementation") or ""):
                raise TokenGymError(f"the config.json in {place} names attention to be fetched: take that line out.")
            options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
            with quiet_bars():
                settings = AutoConfig.from_pretrained(place, **options)
                model = AutoModelForSequenceClassification.from_pretrained(
                    place, config=settings, use_safetensors=True, dtype=torch.float32, **options
                )
            has_tokenizer = any((place / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
            tokenizer = AutoTokenizer.from_pretrained(place, **options) if has_tokenizer else None
        except TokenGymError:
            raise
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise TokenGymError(
                f"no sequence classification model could be read from {place}: {' '.join(str(error).split())}; it "
                "needs a config.json of a model type that transformers knows and weights in model.safetensors."
            ) from error
        return cls(model.to(usable_device(device)), tokenizer)

    def to(self, device: str | torch.device) -> Classifier:
        """Move the model to where it is to score, and return this one."""
        self.model.to(usable_device(device))
        return self

    @property
    def num_tokens(self) -> int:
        """How many ids it embeds."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Its tokenizer's ids, or None where it came without one."""
        return self._vocabulary

    @property
    def max_length(self) -> int:
        """The longest sequence that it reads."""
        most = getattr(self.model.config, "max_position_embeddings", None)
        return 1_000_000 if most is None else int(most)

    @checked
    @torch.no_grad()
    def score(self, tokens: Any, lengths: Any, said: Any = None) -> np.ndarray:
        """Score sequences of ids; see `RewardModel.score`."""
        ids, counts = checked_sequences(tokens, lengths, self.num_tokens, self.max_length)
        scores = np.zeros(len(counts))
        for length in np.unique(counts).tolist():
            rows = np.flatnonzero(counts == length)
            most = max(1, SCORED_TOKENS // length)
            for first in range(0, len(rows), most):
                part = rows[first : first + most]
                given = torch.from_numpy(ids[part, :length]).to(self.model.device)
                logits = self.model(input_ids=given, attention_mask=torch.ones_like(given)).logits
                scores[part] = logits[:, 0].double().cpu().numpy()
        return scores

    @checked
    def score_texts(self, prompts: Sequence[Any], completions: Sequence[Any]) -> np.ndarray:
        """Score completions under its own tokenizer: strings, or lists of messages under its chat template.

        Raises:
            TokenGymError: it has no tokenizer, or messages are given and it has no template for them.
        """
        if self.tokenizer is None:
            raise TokenGymError("the reward model's folder has no tokenizer, which texts need: save one beside it.")
        return self.score(*padded([self._ids(*pair) for pair in zip(prompts, completions, strict=True)]))

    def _ids(self, prompt: Any, completion: Any) -> list[int]:
        if isinstance(prompt, str) and isinstance(completion, str):
            return list(self.tokenizer(prompt + completion)["input_ids"])
        if getattr(self.tokenizer, "chat_template", None) is None:
            raise TokenGymError("the reward model's tokenizer has no chat template, which messages need.")
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        after = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion)
        text = self.tokenizer.apply_chat_template([*before, *after], tokenize=False)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _vocabulary(tokenizer: Any) -> Vocabulary | None:
    """Return what a tokenizer's ids are, or None where nothing says how a sequence begins."""
    try:
        return Vocabulary.from_tokenizer(tokenizer)
    except TokenGymError:  # it has no end token, as where texts have one length
        names = {number: name for name, number in tokenizer.get_vocab().items()}
        bos, pad = tokenizer.bos_token_id, tokenizer.pad_token_id
        if bos is None or sorted(names) != list(range(len(names))):
            return None
        tokens = tuple(names[number] for number in range(len(names)))
        return Vocabulary(tokens, len(tokens), bos, bos if pad is None else pad)
