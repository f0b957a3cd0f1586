"""The one evaluation protocol: what a player is worth on a task, exactly where that is possible.

Evaluation starts come from a seed of their own and never from training. On a finite task with few enough observation
prefixes the expected return is computed exactly; otherwise episodes are played in a batch through the engine, with a
cached session. Greedy and sampled play are separate evaluations. Nothing here touches a generator of training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, cast

import numpy as np

from ..agents import Act, Policy, certain, policy_of
from ..algorithms.collecting import Observer, Step, play, queue
from ..envs import (
    Engine,
    FiniteTask,
    Task,
    TokenGymError,
    TooManyNodesError,
    derive_start,
    evaluate_policy,
    make_task,
    solve,
)
from ..envs.checking import NotNegative, Range, Seed, checked
from ..envs.columns import ColumnTotals
from .kl_reference import KLReference
from .student import quantile

_ROWS = 128


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a player is worth on a task."""

    value: float
    """What is scored: the expected return, less beta times the KL where a beta was given."""
    expected_return: float
    """Expected undiscounted sum of rewards."""
    standard_error: float | None
    """Standard error of `expected_return`; 0 where it is exact, None where one episode says nothing about it."""
    standard_deviation: float | None
    """Standard deviation of an episode's return; None where one episode says nothing about it."""
    length: float
    """Mean number of agent tokens in an episode."""
    entropy: float | None
    """Expected sum over an episode of the policy's entropy, in nats; None for a player that gives no probabilities."""
    kl: float | None
    """Expected sum over an episode of the KL to the reference, by default the uniform policy, in nats."""
    exact: bool
    """Whether the numbers are exact."""
    episodes: int
    """Episodes that were played; 0 where the numbers are exact."""
    play: str = ""
    """How tokens were chosen, as `play_of` names it."""
    columns: Mapping[str, float] = field(default_factory=dict)
    """What the task reported beside the reward, by name, summed up as `Task.columns` says."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary, without columns where there are none."""
        fields = asdict(self)
        return fields if self.columns else {key: value for key, value in fields.items() if key != "columns"}

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95% interval of `expected_return` (Student's t); None where nothing is known."""
        if self.exact or self.standard_error is None:
            return None
        return quantile(self.episodes) * self.standard_error


@dataclass(frozen=True, kw_only=True)
class References:
    """The two returns between which a score is normalised."""

    random: float
    """Return of uniform random play; with a beta also its regularised value, for its KL is 0."""
    optimal: float
    """Largest return; with a beta the largest regularised value."""

    def to_dict(self) -> dict[str, float]:
        """Return the fields as a dictionary."""
        return asdict(self)


@checked
def evaluate_agent(
    player: Any,
    task: Task | str,
    *,
    episodes: Annotated[int, Range(least=1, most=100_000_000)] = 1000,
    seed: Seed = 1_000_003,
    deterministic: bool = True,
    beta: NotNegative | None = None,
    reference: Any = None,
    action_masks: bool = False,
    exact_limit: Annotated[int, Range(least=0, most=10**15)] = 20_000,
) -> Evaluation:
    """Evaluate a player on a task.

    Args:
        player: A `Policy`, an `Agent`, an algorithm that has one, or anything with `predict`; exact evaluation also
            needs `probabilities`.
        task: A task, or the id of a registered environment.
        episodes: Episodes to play where the exact value is out of reach.
        seed: Seed of the evaluation starts and, for sampled play, of the draws.
        deterministic: Say the most probable token always (greedy), instead of drawing.
        beta: Coefficient of the KL that is taken off the return in `Evaluation.value`.
        reference: What the KL is measured to: None for the uniform policy, or a player that gives probabilities, such
            as an `Agent`; see `reference_of`. Where tokens are masked it is taken over the legal ones.
        action_masks: Choose among legal tokens only.
        exact_limit: Most observation prefixes for which the exact value is computed; 0 always plays episodes.

    Raises:
        TokenGymError: If `episodes` is not positive, or `beta` or a reference is given for a player without
            probabilities, or the reference has none, or the task pays what is not finite.
    """
    task = make_task(task) if isinstance(task, str) else task
    policy = policy_of(player, seed, measured=True)
    to = None if reference is None else KLReference(reference, policy, task, action_masks, deterministic)
    evaluation = _evaluate(policy, task, episodes, seed, deterministic, beta, to, action_masks, exact_limit)
    return replace(evaluation, play=play_of(policy, deterministic))


@checked
def play_of(player: Any, deterministic: bool) -> str:
    """Return how a player chooses tokens, in words.

    ``"greedy"`` is always the most probable token. ``"sampled"`` draws from the player's own policy. A player that has
    Qs and no policy, such as DQN's, samples by a rule that is not what it learnt, which stands behind:
    ``"sampled (Boltzmann over Q, temperature 1)"``.
    """
    if deterministic:
        return "greedy"
    rule = policy_of(player).sampling
    return "sampled" if rule == "policy" else f"sampled ({rule})"


def _evaluate(
    policy: Policy,
    task: Task,
    episodes: int,
    seed: int,
    deterministic: bool,
    beta: float | None,
    to: KLReference | None,
    action_masks: bool,
    exact_limit: int,
) -> Evaluation:
    if exact_limit > 0 and task.finite and hasattr(policy, "probabilities"):
        evaluation = _evaluate_exactly(policy, task, deterministic, beta, to, action_masks, exact_limit)
        if evaluation is not None:
            return evaluation
    return _evaluate_by_playing(policy, task, episodes, seed, deterministic, beta, to, action_masks)


@checked
def references(
    task: Task,
    *,
    beta: NotNegative | None = None,
    random_return: float | None = None,
    optimal_return: float | None = None,
) -> References:
    """Return random and optimal return of a task: as given, else as the task declares, else solved exactly.

    Play is among all tokens, also for agents that keep to the legal ones, so that one scale serves both.

    Args:
        task: The task.
        beta: Coefficient of the KL to the uniform policy; the optimum is then the KL-regularised one.
        random_return: Overrides what the task declares.
        optimal_return: Overrides what the task declares.

    Raises:
        TokenGymError: If a return is neither given nor declared and the task cannot be solved.
    """
    if beta is None:
        random_return = task.random_return if random_return is None else random_return
        optimal_return = task.optimal_return if optimal_return is None else optimal_return
    if random_return is None or optimal_return is None:
        if not task.finite:
            raise TokenGymError(
                f"task {task.name!r} declares no random and optimal return and is not finite, so scores cannot be "
                "normalised; give random_return and optimal_return for it in the study"
            )
        solution = solve(cast(FiniteTask, task), beta=beta)
        best = solution.optimal_return if beta is None else cast(float, solution.kl_optimal_return)
        random_return = solution.random_return if random_return is None else random_return
        optimal_return = best if optimal_return is None else optimal_return
    return References(random=float(random_return), optimal=float(optimal_return))


@checked
def known_references(task: Task, *, beta: NotNegative | None = None) -> References | None:
    """Return what `references` does, or None for a task that neither declares its returns nor can be solved."""
    try:
        return references(task, beta=beta)
    except TokenGymError:
        return None


def uses_masks(player: Any) -> bool:
    """Return whether a player learnt, and so has to be evaluated, with the task's action masks."""
    return bool(getattr(getattr(player, "config", None), "action_masks", False))


def _evaluate_exactly(
    player: Any,
    task: Task,
    deterministic: bool,
    beta: float | None,
    to: KLReference | None,
    action_masks: bool,
    limit: int,
) -> Evaluation | None:
    """Return the exact evaluation, or None where there are more than `limit` prefixes."""

    def policy(tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        given = player.probabilities(tokens, lengths, masks)
        return certain(given.argmax(axis=1), given.shape[1]) if deterministic else given

    try:
        reference = None if to is None else to.probabilities
        result = evaluate_policy(cast(FiniteTask, task), policy, reference, masked=action_masks, max_nodes=limit)
    except TooManyNodesError:
        return None
    return Evaluation(
        value=result.expected_return if beta is None else result.kl_regularised(beta),
        expected_return=result.expected_return,
        standard_error=0.0,
        standard_deviation=math.sqrt(max(result.variance, 0.0)),
        length=result.expected_length,
        entropy=result.entropy,
        kl=result.kl,
        exact=True,
        episodes=0,
        columns=result.columns,
    )


class _Sums(Observer):
    """What every episode came to; the k-th that begins plays the k-th start."""

    def __init__(self, episodes: int, rows: int, num_actions: int, deterministic: bool) -> None:
        self.returns, self.lengths, self.entropies, self.divergences = np.zeros((4, episodes))
        self.columns = ColumnTotals()
        self.known = True
        """Whether the policy tells how its tokens are distributed."""
        self._num_actions = num_actions
        self._deterministic = deterministic
        self._episode = np.zeros(rows, np.int64)
        self._begun = 0

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Note which episode each row plays."""
        self._episode[rows] = np.arange(self._begun, self._begun + len(rows))
        self._begun += len(rows)

    def stepped(self, step: Step) -> None:
        """Add up what was paid and said."""
        playing = self._episode[step.rows]
        self.returns[playing] += step.result.rewards
        self.lengths[playing] += step.said
        if step.result.columns is not None:
            self.columns.add(step.result.columns)
        entropy = _entropy(step.act, self._deterministic)
        if entropy is None:
            self.known = False
        else:
            legal = self._num_actions if step.masks is None else step.masks.sum(axis=1)
            self.entropies[playing] += entropy
            self.divergences[playing] += np.log(legal) - entropy


def _entropy(act: Act, deterministic: bool) -> np.ndarray | None:
    """Return the entropy (m,) of what each row's token was drawn from, or None where the policy does not tell."""
    given = act.probabilities
    if given is None or "entropy" in act.columns:
        return act.columns.get("entropy")
    if deterministic:
        return np.zeros(len(given))
    return -(given * np.log(np.where(given > 0, given, 1.0))).sum(axis=1)


def _evaluate_by_playing(
    policy: Policy,
    task: Task,
    episodes: int,
    seed: int,
    deterministic: bool,
    beta: float | None,
    to: KLReference | None,
    action_masks: bool,
) -> Evaluation:
    rows = min(_ROWS, episodes)
    sums = _Sums(episodes, rows, task.vocabulary.num_actions, deterministic)
    starts = queue(derive_start(seed, np.arange(episodes)))
    engine = Engine(task, rows)
    observers: list[Observer] = [sums] if to is None else [sums, to.on(engine)]
    play(engine, policy, starts, observers, action_masks=action_masks, deterministic=deterministic)
    returns, value = sums.returns, float(sums.returns.mean())
    if not math.isfinite(value):
        worst = returns[np.flatnonzero(~np.isfinite(returns))[:1]]
        paid = f"an episode of it came to {worst[0]:g}" if len(worst) else "their sum is beyond what floats hold"
        raise TokenGymError(
            f"task {task.name!r} cannot be evaluated: {paid}; expected finite rewards: mend the task or its "
            "reward, and evaluate again"
        )
    kl = float(sums.divergences.mean()) if sums.known else None
    kl = kl if to is None else to.total / episodes
    if beta is not None:
        if kl is None:
            name = type(getattr(policy, "player", policy)).__name__
            raise TokenGymError(
                f"a KL-regularised value needs a player that gives probabilities, got {name}; leave beta out for it"
            )
        value -= beta * kl
    deviation = float(returns.std(ddof=1)) if episodes > 1 else None
    return Evaluation(
        value=value,
        expected_return=float(returns.mean()),
        standard_error=None if deviation is None else deviation / math.sqrt(episodes),
        standard_deviation=deviation,
        length=float(sums.lengths.mean()),
        entropy=float(sums.entropies.mean()) if sums.known else None,
        kl=kl,
        exact=False,
        episodes=episodes,
        columns=sums.columns.summary(task.columns, episodes),
    )
