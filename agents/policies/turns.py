"""Policies that say whole turns at once: the best of several drafts, and samplers from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np

from ...envs import Engine, TokenGymError
from ...envs.checking import Range, Seed, checked, shown
from ..session import Session
from .of_agents import AgentPolicy
from .policy import Act, Policy, no_masks, under_way

Ids = list[Sequence[int]]
"""Token ids, one sequence a row, of any lengths."""

Score = Callable[[list[list[int]], list[list[int]]], Sequence[float]]
"""From what was shown and said before, and the drafts of a turn that follow it, to a finite number for each."""

Sample = Callable[[list[list[int]], bool], "Ids | tuple[Ids, list[Sequence[float]]]"]
"""From what each row was shown and has said, and whether to be deterministic, to each row's turn, and if the sampler
knows them to the log-probabilities of its tokens."""


class BestOfN(Policy):
    """Drafts n turns for each row, and says the one with the best score; of equals the first.

    All drafts are drawn side by side; what a row was shown is read once for all of its own. A draft ends with the token
    that ends a turn, at the turn's longest, or where the context is full; what a task would end earlier is drafted in
    vain. What is said comes from no distribution that anybody could write down, so `log_probs` are NaN. Deterministic,
    it says the one draft of the most probable tokens.

    Args:
        policy: who drafts.
        n: drafts for each row; every token of each counts as drawn.
        score: what is best; asked once for all drafts of an act.
    """

    @checked
    def __init__(self, policy: AgentPolicy, n: Annotated[int, Range(least=1, most=65_536)], score: Score) -> None:
        self.policy = policy
        self.n = n
        self.score = score
        self._session: Session | None = None
        self._longest = self._width = 0
        self._end: int | None = None

    @property
    def sampling(self) -> str:
        """What it draws tokens from, in words."""
        return f"best of {self.n}"

    @contextmanager
    def playing(self, engine: Engine) -> Iterator[None]:
        """Enter a block within which drafts for the rows of an engine are cached."""
        if self._session is None or self._session.num_rows != engine.num_rows * self.n:
            self._session = self.policy.agent.session(engine.num_rows * self.n, self.policy.heads)
        self._longest, self._width = engine.task.max_turn_tokens, engine.task.max_length
        end = getattr(engine.task.unwrapped, "end_of_turn", None)
        self._end = engine.task.vocabulary.eos if end is None else end
        try:
            with self._session.fixed_weights():
                yield
        finally:
            self._session.release()

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Draft turns and choose among them; see `Policy.act`.

        Raises:
            TokenGymError: there are masks, which say nothing about the tokens after the next; a score is not finite.
        """
        no_masks("BestOfN", masks)
        n = 1 if deterministic else self.n
        m = len(lengths)
        before = np.repeat(lengths.astype(np.int64), n)
        drafts = np.zeros((m * n, self._width), np.int32)
        drafts[:, : tokens.shape[1]] = np.repeat(tokens, n, axis=0)
        cached = (np.arange(m) if rows is None else rows)[:, None] * self.n + np.arange(n)
        self._read(cached, tokens, lengths)
        counts = self._draft(cached.reshape(-1), drafts, before, deterministic)
        turns = [drafts[i, before[i] : before[i] + counts[i]].tolist() for i in range(m * n)]
        best = np.arange(m) * n + self._best(drafts, before, turns, m, n)
        said = np.zeros((m, int(counts[best].max())), np.int64)
        for row, chosen in enumerate(best.tolist()):
            said[row, : counts[chosen]] = turns[chosen]
        return Act(said, counts[best], np.full(said.shape, np.nan), counts.reshape(m, n).sum(axis=1))

    def _read(self, cached: np.ndarray, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Read what each row was shown once, for the first of its drafts in `cached` (m, n), and copy it."""
        session, n = under_way(self._session), cached.shape[1]
        if n > 1:
            session.step(tokens, lengths, cached[:, 0])
            session.fork(np.repeat(cached[:, 0], n - 1), cached[:, 1:].reshape(-1))

    def _draft(self, cached: np.ndarray, drafts: np.ndarray, before: np.ndarray, deterministic: bool) -> np.ndarray:
        """Write a draft behind each of `drafts` (k, L) from column `before` (k,) on; return their counts (k,)."""
        session = under_way(self._session)
        counts = np.zeros(len(drafts), np.int64)
        going = np.arange(len(drafts))
        while len(going):
            ends = before[going] + counts[going]
            output = session.step(drafts[going], ends, cached[going])
            said = self.policy.sampler.draw(self.policy.logits(output, None), None, deterministic)[0]
            drafts[going, ends] = said
            counts[going] += 1
            over = (counts[going] >= self._longest) | (ends + 1 >= drafts.shape[1])
            if self._end is not None:
                over |= said == self._end
            going = going[~over]
        return counts

    def _best(self, drafts: np.ndarray, before: np.ndarray, turns: list[list[int]], m: int, n: int) -> np.ndarray:
        """Return which of its n drafts each row says, (m,)."""
        if n == 1:
            return np.zeros(m, np.int64)
        prompts = [drafts[i, : before[i]].tolist() for i in range(m * n)]
        scores = np.asarray(self.score(prompts, turns), np.float64)
        if scores.shape != (m * n,) or not np.isfinite(scores).all():
            raise TokenGymError(
                f"the score of {m * n} drafts is {shown(scores)}; expected as many finite numbers, one for each"
            )
        return scores.reshape(m, n).argmax(axis=1)

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> BestOfN:
        """Return the same policy with draws of its own."""
        return BestOfN(self.policy.seeded(seed), self.n, self.score)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state of who drafts."""
        return self.policy.state()

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Give who drafts its state back."""
        self.policy.load_state(tensors, data)


class ExternalPolicy(Policy):
    """Says whole turns of a sampler from outside: an inference server, another library, a script.

    The sampler is given ids and gives ids; nothing is decoded and encoded again. Tokens behind the turn's end are not
    said, and are counted as drawn. The sampler's draws are its own: no seed of this package reaches them.

    Args:
        sample: the sampler.
        name: what it is called in reports.
    """

    @checked
    def __init__(self, sample: Sample, name: str = "external") -> None:
        self.sample = sample
        self.name = name

    @property
    def sampling(self) -> str:
        """What it draws tokens from, in words."""
        return self.name

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Ask the sampler for a turn of every row; see `Policy.act`.

        Raises:
            TokenGymError: there are masks; the sampler gave another number of turns, an empty one, or log-probabilities
                that do not fit.
        """
        no_masks(self.name, masks)
        seen = [row[:length].tolist() for row, length in zip(tokens, lengths.tolist(), strict=True)]
        given = self.sample(seen, deterministic)
        turns, log_probs = given if isinstance(given, tuple) else (given, None)
        counts = np.array([len(turn) for turn in turns], np.int64)
        if len(counts) != len(seen) or not counts.all():
            raise TokenGymError(
                f"the sampler {self.name} gave {len(counts)} turns of {counts.tolist()} tokens for {len(seen)} rows; "
                "expected one a row, of at least one token"
            )
        if log_probs is not None and [len(one) for one in log_probs] != counts.tolist():
            raise TokenGymError(
                f"the sampler {self.name} gave log-probabilities of {[len(one) for one in log_probs]} tokens for turns "
                f"of {counts.tolist()}; expected one a token"
            )
        said = np.zeros((len(counts), int(counts.max())), np.int64)
        known = np.full(said.shape, np.nan)
        for row, turn in enumerate(turns):
            said[row, : counts[row]] = turn
            if log_probs is not None:
                known[row, : counts[row]] = log_probs[row]
        return Act(said, counts, known, counts)
