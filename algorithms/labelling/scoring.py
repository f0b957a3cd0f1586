"""Completions scored by any reward function, whoever said them and whatever they were paid for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...envs import build_reward
from ...envs.checking import checked
from ...envs.rewards import Scorer, read_under
from ..data import Episodes, TextEncoder


@checked
def score_episodes(episodes: Episodes, reward: Any, text: Any, template: str | None = None) -> npt.NDArray[np.float64]:
    """Score episodes by a reward function, in one call: the gold reward of a simulated labeller, say.

        gold = score_episodes(episodes, {"name": "keyword", "words": ["sea"]}, task)
        labelled = label_episodes(episodes, task.vocabulary, SimulatedLabeller(), 100, gold=gold)

    Args:
        episodes: what was said; of one sequence each.
        reward: a reward function or what names one, as in `tokengym.envs.rewards.build_reward`.
        text: whose text it is, as in `TextEncoder`: a task, a tokenizer, a vocabulary.
        template: the chat template under which a tokenizer writes messages.

    Returns:
        float64 (E,); 0 where the function abstained.

    Raises:
        TokenGymError: the episodes cannot be told as text, or the function fails or gives no finite numbers.
    """
    encoder = TextEncoder(text, template is not None, template)
    function = build_reward(reward)
    scorer = Scorer(function if encoder.writer is None else read_under(function, encoder.writer))
    told = [encoder.read(episodes, index) for index in range(len(episodes))]
    flat = episodes.flat
    ids = [part.tolist() for part in np.split(flat.action, flat.episode_offsets[1:-1])]
    return scorer([prompt for prompt, _ in told], [said for _, said in told], ids).rewards
