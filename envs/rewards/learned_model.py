"""Reward models as `envs` knows them: by a folder, which is read by what lies above, when it is first needed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from ..checking import TokenGymError, load_entry_point, unknown_name
from ..vocabulary import Vocabulary

_LOADER = "tokengym.algorithms.reward_models.loading:load_reward_model"
_SEALS = ("manifest.json", "config.json")
_COMBINES = ("mean", "worst", "variance")


class LoadedModel(Protocol):
    """What a reward model's folder holds, once it is read; see `algorithms.reward_models`."""

    process: bool

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The ids that it reads, or None where it takes texts alone."""
        ...

    @property
    def max_length(self) -> int:
        """The longest sequence that it reads."""
        ...

    def score(self, tokens: Any, lengths: Any, said: Any = None) -> np.ndarray:
        """Give float64 (B,)."""
        ...


def open_reward_model(path: Any, combine: Any = None) -> LoadedModel:
    """Read the reward model in a folder, or give the one that was read from there before.

    Args:
        path: the folder.
        combine: how an ensemble's scores are combined, in place of what was chosen when it was fitted.

    Raises:
        TokenGymError: there is none, it is broken, or it is no ensemble.
    """
    if not isinstance(path, (str, Path)) or not str(path) or not Path(path).is_dir():
        raise TokenGymError(
            f"reward_model: path={path!r} is no folder: give one written by RewardModel.save, or by transformers for a "
            "sequence classification model"
        )
    seals = [Path(path) / name for name in _SEALS if (Path(path) / name).is_file()]
    if not seals:
        raise TokenGymError(
            f"reward_model: the folder {path} has neither {' nor '.join(_SEALS)}: it holds no reward model"
        )
    stamp = tuple((seal.stat().st_mtime_ns, seal.stat().st_size) for seal in seals)
    model = _read(str(Path(path).resolve()), stamp)
    if combine is None:
        return model
    if combine not in _COMBINES:
        raise unknown_name("reward_model: combine", str(combine), _COMBINES)
    if len(getattr(model, "members", ())) < 2:
        raise TokenGymError(f"reward_model: combine={combine!r}, and {path} is a single model: leave it out")
    return cast(Any, model).with_combine(combine)


def ids_fit(model: LoadedModel, vocabulary: Vocabulary) -> bool:
    """Tell whether a model reads the ids of a vocabulary: the same tokens under the same numbers."""
    known = model.vocabulary
    return known is not None and known.tokens == vocabulary.tokens and known.bos == vocabulary.bos


def refusal(path: Any, model: LoadedModel, vocabulary: Vocabulary) -> TokenGymError:
    """Give the error of a model for another vocabulary."""
    known = model.vocabulary
    said = "has no tokenizer beside it" if known is None else f"reads {known!r}"
    return TokenGymError(
        f"the reward model {path} {said}, and the task's is {vocabulary!r}: fit one on comparisons of this task, or "
        "take the tokenizer that it was fitted with"
    )


@lru_cache(8)
def _read(path: str, stamp: tuple[Any, ...]) -> LoadedModel:
    return load_entry_point("reward model", _LOADER)(path)
