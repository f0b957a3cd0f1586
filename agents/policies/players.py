"""Players that do not learn: random, the exact optimum, a task's own expert, a person at the keyboard."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...envs import Engine, FiniteTask, TokenGymError, Vocabulary, solve
from ...envs.checking import Seed, checked, visible
from ..observations import rows_of
from .policy import Act, ProbabilityPolicy, certain, draw_actions


class Player(ProbabilityPolicy, ABC):
    """A policy with a distribution and with `predict`, which has the signature of `Agent.predict`.

    Args:
        vocabulary: what can be said.
        seed: starts the generator that stochastic choices draw from.
    """

    @checked
    def __init__(self, vocabulary: Vocabulary, seed: Seed = 0):
        super().__init__(seed)
        self.vocabulary = vocabulary

    def __repr__(self) -> str:
        """Return the kind of player and what it plays."""
        return f"{type(self).__name__}({self._plays()})"

    def _plays(self) -> str:
        return repr(self.vocabulary)

    @checked
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[Any, None]:
        """Choose actions for one observation (`tokens` (L,), `length` (1,)) or a batch ((n, L) and (n, 1)).

        Returns:
            The action, np.int64 for a single observation and int64 (n,) for a batch, and None: there is no state.
        """
        if state is not None:
            raise TokenGymError(f"state is a {type(state).__name__}: a {type(self).__name__} keeps no state, give None")
        seen = rows_of(observation, action_masks, self.vocabulary.num_actions)
        probabilities = self.probabilities(seen.tokens, seen.lengths, seen.masks)
        if deterministic:
            actions = probabilities.argmax(axis=1)
        else:
            actions = draw_actions(probabilities, self._generator)
        return (actions[0] if seen.single else actions), None


class RandomPlayer(Player):
    """Says any token, or any legal one where masks are given, with equal probability."""

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `Player.probabilities`."""
        allowed = np.ones((len(tokens), self.vocabulary.num_actions)) if masks is None else masks.astype(np.float64)
        return allowed / allowed.sum(axis=1, keepdims=True)


class OptimalPlayer(Player):
    """Plays a finite task as well as anyone can who sees what the agent sees; solved exactly when it is made.

    Args:
        task: a finite task, small enough for `solve`.
        masked: whether it keeps to the legal tokens.
    """

    @checked
    def __init__(self, task: FiniteTask, masked: bool = False):
        super().__init__(task.vocabulary)
        self._policy = solve(task, masked=masked).policy("optimal")
        self._task = f"{task!r}, masked=True" if masked else repr(task)

    def _plays(self) -> str:
        return self._task

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `Player.probabilities`; one-hot. Masks change nothing: ask for a masked player instead."""
        return self._policy(np.asarray(tokens), np.asarray(lengths))


class ExpertPlayer(Player):
    """Follows the task's own expert, which may know what the agent cannot see.

    Within `playing` it follows the engine that is played.

    Args:
        env: an `Engine`, or an environment that has one (`env.unwrapped.engine`); its rows are the ones observed.
    """

    def __init__(self, env: Any):
        unwrapped = getattr(env, "unwrapped", env)
        self._engine = getattr(unwrapped, "engine", unwrapped)
        super().__init__(self._engine.task.vocabulary)

    def _plays(self) -> str:
        return repr(self._engine)

    @contextmanager
    def playing(self, engine: Engine) -> Iterator[None]:
        """Follow the expert of an engine's task on its rows."""
        before, self._engine = self._engine, engine
        try:
            yield
        finally:
            self._engine = before

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Say what the expert advises on these rows of the engine; see `Policy.act`."""
        said = self._advised(rows)
        return Act.of_one(said, np.zeros(len(said)))

    def _advised(self, rows: np.ndarray | None) -> np.ndarray:
        advised = self._engine.expert(rows)
        if advised is None:
            name = self._engine.task.name
            raise TokenGymError(f"the task {name!r} has no expert; use an OptimalPlayer or a RandomPlayer")
        return advised

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `Player.probabilities`; one-hot.

        Raises:
            TokenGymError: if the observations are not those of the environment, or its task knows no expert.
        """
        engine = self._engine
        seen = np.arange(engine.tokens.shape[1]) < engine.lengths[:, None]
        if not np.array_equal(lengths, engine.lengths) or not np.array_equal(
            np.where(seen, tokens, 0), np.where(seen, engine.tokens, 0)
        ):
            raise TokenGymError(
                "the expert was shown observations of another environment than the one that it was made for; make an "
                "ExpertPlayer for the environment that is played, and let it see all rows"
            )
        return certain(self._advised(None), self.vocabulary.num_actions)


class HumanPlayer(Player):
    """Shows what an agent would see, and asks for the name of the next token.

    Args:
        vocabulary: names the tokens.
        ask: prints a prompt and returns a line, like `input`.
        show: prints a line.
    """

    @checked
    def __init__(
        self,
        vocabulary: Vocabulary,
        ask: Callable[[str], str] = input,
        show: Callable[[str], object] = print,
    ):
        super().__init__(vocabulary)
        self._ask = ask
        self._show = show

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `Player.probabilities`; one-hot on what the person said. Asks again until it is a token that can be said.

        Raises:
            TokenGymError: if more than one row is shown.
        """
        if len(tokens) != 1:
            raise TokenGymError(f"a person plays one environment at a time, not {len(tokens)}")
        self._show(visible(self.vocabulary.render(tokens[0, : lengths[0]].tolist())))
        while True:
            name = self._ask("next token> ").strip()
            try:
                action = self.vocabulary.encode([name])[0]
            except TokenGymError as error:
                self._show(str(error))
                continue
            if action >= self.vocabulary.num_actions or (masks is not None and not masks[0, action]):
                self._show(f"{name!r} cannot be said now")
                continue
            return certain(np.array([action]), self.vocabulary.num_actions)
