"""ReasoningGym: the procedural data sets of the package reasoning-gym as one-turn text environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...checking import TokenGymError, positive_int, whole_number
from ...sandbox import TROUBLES
from ...saved_state import is_index
from ...text import TextReply, TextTask, TextWriter, build_tokenizer, read_prompts
from .reasoning_gym_scoring import AnswerScorer, make_dataset

DATASET = {"name": "chain_sum", "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
"""The default data set: the sum or difference of two digits."""

RANDOM_RETURN = 0.0195142
"""Mean return of uniformly random tokens in the default setting, summed over all texts that they can write."""

_OPEN_ANSWER_TOKENS = 64
_MOST_QUESTIONS = 100_000
"""The length of a completion where the data set itself knows no answer to any of its questions."""


class ReasoningGym(TextTask):
    """Answer a question of any of the data sets of reasoning-gym; the data set scores the answer.

    ## Description
    The package reasoning-gym generates questions with verifiable answers: arithmetic, algebra, logic, graphs, puzzles,
    more than a hundred kinds, each with its own settings of difficulty. One of `size` questions is drawn, the agent
    writes an answer, and the data set's own scorer pays it. It isolates nothing: it is the way from the small
    environments of this family to the tasks on which language models are trained to reason. Mirrors reinforcement
    learning with verifiable rewards.

    Needs the extra: `pip install 'tokengym[reasoning]'`.

    ## Action space
    The tokenizer's tokens, all of them. By default one token a character of the questions and answers.

    ## Observation space
    `<bos>`, the question and a newline, then what the agent wrote.

    ## Rewards
    With the last token: the data set's `score_answer` of the text without white space around it, 0 … 1. A text that
    the scorer cannot read (it raises) gets 0, and so does one that would have to be run to be read, or whose scoring
    takes too long: `9**9**9` never ends in `countdown` and `puzzle24`. Answers are scored in a guarded process (see
    `docs/concepts/rewards.md`), and the columns under Information tell which came to grief there. Optimal 1 where the
    data set's own answers score 1, can be written with this tokenizer, and fit into a completion.

    ## Starting state
    One of the questions of the split, uniformly.

    ## Episode end
    Terminated by the end token or after `max_new_tokens`.

    ## Information
    With the last token `correct`, 1 where the reward is 1; `guard/time`, `guard/memory`, `guard/crash` and
    `guard/refused`, 1 for an answer whose scoring came to grief that way; and of a composite data set the reward as
    `reward/<data set>`.

    ## Arguments
    * `dataset=None`: a data set's name such as `"gcd"`, or a mapping with `name` and the settings that the data set
      takes, such as `{"name": "chain_sum", "max_terms": 3}`; by default the sum or difference of two digits.
    * `size=100`: questions to generate.
    * `tokenizer=None`: a tokenizer or its specification; by default the characters of the questions and answers.
    * `max_new_tokens=None`: most tokens of an answer, the end token included; by default as many as the data set's
      longest answer needs, or 64 where it knows none.
    * `split="train"`, `held_out=0.0`: ask the questions of one side, `"train"`, `"held_out"` or `"all"`, where this
      fraction of the different questions is held out.
    * `instance_seed=0`: the data set's seed. Most data sets draw question i from seed + i, so that seeds less than
      `size` apart share questions.
    * `answer_seconds=2.0`: computing time that the scoring of one answer may take.

    ## References
    Stojanovski et al., "Reasoning Gym: Reasoning Environments for Reinforcement Learning with Verifiable Rewards",
    2025.

    ## Version history
    * v0: first release.
    """

    name = "ReasoningGym"
    family = "reasoning"
    isolates = "nothing: a hundred kinds of questions"
    mirrors = "reasoning-gym"
    deterministic = True
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        dataset: Any = None,
        size: int = 100,
        tokenizer: Any = None,
        max_new_tokens: int | None = None,
        split: str = "train",
        held_out: float = 0.0,
        instance_seed: int = 0,
        answer_seconds: float = 2.0,
    ) -> None:
        is_default = dataset is None and tokenizer is None and max_new_tokens is None
        is_default &= (size, held_out, instance_seed) == (100, 0.0, 0)
        size = positive_int("size", size, _MOST_QUESTIONS)
        instance_seed = whole_number("instance_seed", instance_seed)
        self._settings = _settings(DATASET if dataset is None else dataset, size, instance_seed)
        self.dataset = make_dataset(self._settings)
        entries = [self.dataset[index] for index in range(size)]
        sources = [{"prompt": f"{entry['question']}\n", "entry": index} for index, entry in enumerate(entries)]
        prompts = read_prompts(sources, split, held_out)
        self.entries = [entries[index] for index in prompts.columns["entry"]]
        answers = [entry["answer"] for entry in entries if isinstance(entry["answer"], str)]
        if tokenizer is None:
            characters = sorted(set("".join([*(source["prompt"] for source in sources), *answers])))
            tokenizer = {"kind": "chars", "corpus": ["".join(characters)]}
        built = build_tokenizer(tokenizer)
        writer = TextWriter(built)
        lengths = [len(writer.ids(source["prompt"], "the question")) for source in sources]
        if max_new_tokens is None:
            known = [len(writer.ids(answer)) + 1 for answer in answers if writer.can_write(answer)]
            max_new_tokens = max(known, default=_OPEN_ANSWER_TOKENS)
        new_tokens = positive_int("max_new_tokens", max_new_tokens)
        super().__init__(built, max_turn_tokens=new_tokens, max_length=1 + max(lengths) + new_tokens)
        self.scorer = AnswerScorer(self._settings, self.entries, answer_seconds)
        if all(self._attains_one(entry) for entry in self.entries):
            self.optimal_return = 1.0
        self.random_return = RANDOM_RETURN if is_default else None

    def begin(self, random: np.random.Generator) -> tuple[int, str]:
        """Draws a question; the episode's state is its index among `entries`."""
        index = int(random.integers(len(self.entries)))
        return index, f"{self.entries[index]['question']}\n"

    def respond(self, episode: int, completion: str) -> TextReply:
        """Lets the data set score one answer, in a guarded process."""
        return self.respond_all([episode], [completion], [[]])[0]

    def respond_all(
        self, episodes: list[int], completions: list[str], completion_ids: list[list[int]]
    ) -> list[TextReply]:
        """Lets the data set score the answers, in a guarded process."""
        answers = [
            self._heard_answer(completion.strip(), self.entries[episode])
            for episode, completion in zip(episodes, completions, strict=True)
        ]
        return [
            TextReply(None, reward, True, columns=self._columns(episode, reward, trouble))
            for episode, (reward, trouble) in zip(episodes, self.scorer(episodes, answers), strict=True)
        ]

    def _columns(self, episode: int, reward: float, trouble: str | None) -> dict[str, float]:
        """Gives what is reported of an answer."""
        told = {"correct": float(reward == 1.0)}
        told |= {f"guard/{kind}": float(kind == trouble) for kind in TROUBLES if kind != "error"}
        if self._settings["name"] == "composite":
            told[f"reward/{self.entries[episode]['metadata']['source_dataset']}"] = reward
        return told

    def close(self) -> None:
        """Ends the process that scores; the next answer starts another one."""
        self.scorer.close()

    def __getstate__(self) -> dict[str, Any]:
        """Gives what a copy needs: not every data set can be pickled, but each can be made again."""
        return {name: value for name, value in vars(self).items() if name != "dataset"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes what `__getstate__` gave."""
        vars(self).update(state)
        self.dataset = make_dataset(self._settings)

    def is_episode(self, episode: Any) -> bool:
        """Tells whether a value is a question's index."""
        return is_index(episode, len(self.entries))

    def expert_text(self, episode: int) -> str | None:
        """Gives the data set's own answer, where it knows one that fits into a completion."""
        answer = self.entries[episode]["answer"]
        if not isinstance(answer, str) or not self.writer.can_write(answer):
            return None
        return answer if 0 < len(self.encode(answer)) <= self.max_turn_tokens else None

    def _attains_one(self, entry: Mapping[str, Any]) -> bool:
        """Tells whether the data set's own answer scores 1 as it reads after this tokenizer."""
        answer = entry["answer"]
        if not isinstance(answer, str) or not self.writer.can_write(answer):
            return False
        try:
            # The data set's own answer is no stranger's: it needs no guard.
            score = self.dataset.score_answer(self._heard_answer(self.writer.read(answer).strip(), entry), entry)
        except Exception:  # a scorer that cannot read what this tokenizer makes of it
            return False
        return len(self.encode(answer)) <= self.max_turn_tokens and score == 1.0

    def _heard_answer(self, text: str, entry: Mapping[str, Any]) -> str:
        """Gives the data set's own answer for what reads as it does under the tokenizer, and any other text as it is.

        The scorers compare with that very answer, which a tokenizer that lowers the case, say, cannot write.
        """
        answer = entry["answer"]
        return answer if isinstance(answer, str) and text == self.writer.read(answer).strip() else text


def _settings(dataset: Any, size: int, seed: int) -> dict[str, Any]:
    """Gives the settings of the data set that a name or a mapping with the name and its settings asks for."""
    settings = {"name": dataset} if isinstance(dataset, str) else dataset
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        raise TokenGymError(
            f"dataset={dataset!r}: give a data set's name, or a mapping with its name under 'name' and its settings"
        )
    for key, ours in (("size", "size"), ("seed", "instance_seed")):
        if key in settings:
            raise TokenGymError(f"dataset={dataset!r} has the setting {key!r}: give {ours}=… beside dataset instead")
    return {**settings, "size": size, "seed": seed}
