"""The one evaluation protocol: what a player is worth on a task, exactly where that is possible.

Evaluation starts come from a seed of their own and never from training. On a finite task with few enough observation
prefixes the expected return is computed exactly; otherwise episodes are played in a batch through the engine, with a
cached session. Greedy and sampled play are separate evaluations. Nothing here touches a generator of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, cast

import numpy as np

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
from ..envs.checking import NotNegative, Range, Seed, checked, shown

Choice = Callable[[np.ndarray, np.ndarray, np.ndarray, "np.ndarray | None"], tuple[np.ndarray, "np.ndarray | None"]]
"""Rows (m,), their tokens (m, L), lengths (m,) and masks (m, A) or None to actions (m,) and entropies (m,) or None."""

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
    """Expected sum over an episode of the KL to the uniform policy, in nats."""
    exact: bool
    """Whether the numbers are exact."""
    episodes: int
    """Episodes that were played; 0 where the numbers are exact."""
    play: str = ""
    """How tokens were chosen, as `play_of` names it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95% interval of `expected_return` (Student's t); None where nothing is known."""
        if self.exact or self.standard_error is None:
            return None
        from scipy.stats import t

        return float(t.ppf(0.975, self.episodes - 1)) * self.standard_error


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
    action_masks: bool = False,
    exact_limit: Annotated[int, Range(least=0, most=10**15)] = 20_000,
) -> Evaluation:
    """Evaluate a player on a task.

    Args:
        player: An `Agent`, an algorithm that has one, or anything with `predict`; exact evaluation also needs
            `probabilities`.
        task: A task, or the id of a registered environment.
        episodes: Episodes to play where the exact value is out of reach.
        seed: Seed of the evaluation starts and, for sampled play, of the draws.
        deterministic: Say the most probable token always (greedy), instead of drawing.
        beta: Coefficient of the KL to the uniform policy that is taken off the return in `Evaluation.value`.
        action_masks: Choose among legal tokens only.
        exact_limit: Most observation prefixes for which the exact value is computed; 0 always plays episodes.

    Raises:
        TokenGymError: If `episodes` is not positive, or `beta` is given for a player without probabilities.
    """
    task = make_task(task) if isinstance(task, str) else task
    player = acting(player)
    if isinstance(player, type) or not (hasattr(player, "predict") or hasattr(player, "probabilities")):
        raise TokenGymError(f"player is {shown(player)}; expected an Agent, an algorithm, or what has a predict(…)")
    evaluation = _evaluate(player, task, episodes, seed, deterministic, beta, action_masks, exact_limit)
    return replace(evaluation, play=play_of(player, deterministic))


@checked
def play_of(player: Any, deterministic: bool) -> str:
    """Return how a player chooses tokens, in words.

    ``"greedy"`` is always the most probable token. ``"sampled"`` draws from the player's own policy. A player that has
    Qs and no policy, such as DQN's, samples by a rule that is not what it learnt, which stands behind:
    ``"sampled (Boltzmann over Q, temperature 1)"``.
    """
    if deterministic:
        return "greedy"
    rule = getattr(acting(player), "sampling", "policy")
    return "sampled" if rule == "policy" else f"sampled ({rule})"


def _evaluate(
    player: Any,
    task: Task,
    episodes: int,
    seed: int,
    deterministic: bool,
    beta: float | None,
    action_masks: bool,
    exact_limit: int,
) -> Evaluation:
    if exact_limit > 0 and task.finite and hasattr(player, "probabilities"):
        evaluation = _evaluate_exactly(player, task, deterministic, beta, action_masks, exact_limit)
        if evaluation is not None:
            return evaluation
    return _evaluate_by_playing(player, task, episodes, seed, deterministic, beta, action_masks)


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
    player: Any, task: Task, deterministic: bool, beta: float | None, action_masks: bool, limit: int
) -> Evaluation | None:
    """Return the exact evaluation, or None where there are more than `limit` prefixes."""

    def policy(tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        given = player.probabilities(tokens, lengths) if masks is None else player.probabilities(tokens, lengths, masks)
        return np.eye(given.shape[1])[given.argmax(axis=1)] if deterministic else given

    try:
        result = evaluate_policy(cast(FiniteTask, task), policy, masked=action_masks, max_nodes=limit)
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
    )


def _evaluate_by_playing(
    player: Any, task: Task, episodes: int, seed: int, deterministic: bool, beta: float | None, action_masks: bool
) -> Evaluation:
    rows = min(_ROWS, episodes)
    engine, starts = Engine(task, rows), derive_start(seed, np.arange(episodes))
    returns, lengths, entropies, divergences = np.zeros((4, episodes))
    episode = np.arange(rows)  # which episode each row plays
    engine.reset(None, starts[:rows])
    waiting, live, known = rows, np.arange(rows), True
    with chooser(player, rows, seed, deterministic) as choose:
        while len(live):
            masks = engine.action_mask(live) if action_masks else None
            actions, entropy = choose(live, engine.tokens[live], engine.lengths[live], masks)
            result = engine.step(live, actions)
            playing = episode[live]
            returns[playing] += result.rewards
            lengths[playing] += 1
            if entropy is None:
                known = False
            else:
                legal = task.vocabulary.num_actions if masks is None else masks.sum(axis=1)
                entropies[playing] += entropy
                divergences[playing] += np.log(legal) - entropy
            over = result.terminated | result.truncated
            if over.any():
                # A queue of starts worked off by the rows as they come free: every start is played, long ones too.
                free = live[over]
                again = free[: max(0, min(len(free), episodes - waiting))]
                if len(again):
                    episode[again] = np.arange(waiting, waiting + len(again))
                    engine.reset(again, starts[episode[again]])
                    waiting += len(again)
                live = np.sort(np.concatenate([live[~over], again]))
    value, kl = float(returns.mean()), float(divergences.mean()) if known else None
    if beta is not None:
        if kl is None:
            raise TokenGymError(
                f"a KL-regularised value needs a player that gives probabilities, got {type(player).__name__}; "
                "leave beta out for it"
            )
        value -= beta * kl
    deviation = float(returns.std(ddof=1)) if episodes > 1 else None
    return Evaluation(
        value=value,
        expected_return=float(returns.mean()),
        standard_error=None if deviation is None else deviation / math.sqrt(episodes),
        standard_deviation=deviation,
        length=float(lengths.mean()),
        entropy=float(entropies.mean()) if known else None,
        kl=kl,
        exact=False,
        episodes=episodes,
    )


def acting(player: Any) -> Any:
    """Return what acts: an algorithm's agent where it has one that gives probabilities, else the player itself."""
    agent = getattr(player, "agent", None)
    return agent if hasattr(agent, "probabilities") else player


@contextmanager
def chooser(player: Any, num_rows: int, seed: int, deterministic: bool) -> Iterator[Choice]:
    """Give what chooses a player's tokens: by cached session, by probabilities or by `predict`, as it can.

    The player must not learn within the block.
    """
    if hasattr(player, "session") and hasattr(player, "acting_logits"):
        session = player.session(num_rows)
        with session.fixed_weights():
            yield _session_chooser(player, session, seed, deterministic)
    elif hasattr(player, "probabilities"):
        yield _probability_chooser(player, seed, deterministic)
    else:
        yield _predict_chooser(player, seed, deterministic)


def _session_chooser(agent: Any, session: Any, seed: int, deterministic: bool) -> Choice:
    import torch

    from ..agents import Sampler
    from ..agents.sampling import entropy, log_softmax

    sampler = Sampler(derive_start(seed, 0) >> 1)

    def choose(rows: np.ndarray, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None) -> Any:
        logits = agent.acting_logits(session.step(tokens, lengths, rows))
        allowed = None if masks is None else torch.from_numpy(masks).to(logits.device)
        actions, _ = sampler.sample(logits, allowed, deterministic)
        if deterministic:
            return actions.cpu().numpy(), np.zeros(len(rows))
        log_probs = log_softmax(logits.double(), allowed)
        return actions.cpu().numpy(), entropy(log_probs).cpu().numpy()

    return choose


def _probability_chooser(player: Any, seed: int, deterministic: bool) -> Choice:
    from ..agents.players import draw_actions

    generator = np.random.default_rng(seed)

    def choose(rows: np.ndarray, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None) -> Any:
        given = player.probabilities(tokens, lengths) if masks is None else player.probabilities(tokens, lengths, masks)
        if deterministic:
            return given.argmax(axis=1), np.zeros(len(rows))
        return draw_actions(given, generator), -(given * np.log(np.where(given > 0, given, 1.0))).sum(axis=1)

    return choose


def _predict_chooser(player: Any, seed: int, deterministic: bool) -> Choice:
    import torch

    state = {"random": torch.Generator().manual_seed(derive_start(seed, 0) >> 1).get_state()}

    def choose(rows: np.ndarray, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None) -> Any:
        observation = {"tokens": tokens, "length": lengths[:, None]}
        # Such a player may draw from torch's global generator; it gets one of ours, and training's is left alone.
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(state["random"])
            actions, _ = player.predict(observation, deterministic=deterministic)
            state["random"] = torch.random.get_rng_state()
        return np.asarray(actions), None

    return choose
