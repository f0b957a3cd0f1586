"""Targets of the off-policy algorithms, as pure functions on flat arrays of agent tokens.

A batch of episodes is seen as the ``N`` tokens that the agent said, in order, cut into ``E`` episodes by ``offsets``
(``E + 1`` ascending integers from 0 to ``N``). Prompts and replies of the environment are not in these arrays, so
every recursion skips them by construction. The state of a token is what was known before saying it; the value of the
state in which an episode ended is given apart, as ``final_values (E,)``: 0 where the episode terminated, the bootstrap
where it was truncated.

Everything here returns plain numbers to regress on: call it under ``torch.no_grad()`` or with detached arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...envs import TokenGymError
from ..data import Batch


class EpisodeGrid:
    """The map between ``N`` flat tokens and an ``(E, T)`` grid, one row an episode, padded at the end.

    Args:
        offsets: ``E + 1`` ascending integers; episode ``e`` holds the tokens ``offsets[e]`` to ``offsets[e + 1] - 1``,
            at least one.
        device: where the arrays that it is applied to live.

    Attributes:
        num_episodes: E.
        num_tokens: N.
        longest: T, the tokens of the longest episode.
        lengths: ``(E,)`` int64, tokens of each episode.
        episode: ``(N,)`` int64, the episode of each token.
        step: ``(N,)`` int64, the place of each token in its episode.
        last: ``(E,)`` int64, the flat index of each episode's last token.

    Raises:
        TokenGymError: when the offsets do not start at 0 or an episode is empty.
    """

    def __init__(self, offsets: Tensor | np.ndarray | Sequence[int], device: torch.device | str = "cpu"):
        offsets = torch.as_tensor(offsets, dtype=torch.int64, device=device)
        lengths = offsets.diff()
        if len(offsets) < 2 or int(offsets[0]) != 0 or bool((lengths < 1).any()):
            raise TokenGymError(
                f"offsets are {offsets.tolist()}; expected ascending integers from 0, one more than there are "
                "episodes, every episode with at least one token: leave out those in which the agent said nothing"
            )
        self.lengths = lengths
        self.num_episodes = len(lengths)
        self.num_tokens = int(offsets[-1])
        self.longest = int(lengths.max())
        self.episode = torch.repeat_interleave(torch.arange(self.num_episodes, device=device), lengths)
        self.step = torch.arange(self.num_tokens, device=device) - offsets[self.episode]
        self.last = offsets[1:] - 1

    def pad(self, flat: Tensor) -> Tensor:
        """Lay ``flat (N,)`` out as ``(E, T)``, with zeros behind the end of each episode."""
        grid = flat.new_zeros((self.num_episodes, self.longest))
        grid[self.episode, self.step] = flat
        return grid

    def flatten(self, grid: Tensor) -> Tensor:
        """Undo `pad`: the ``(N,)`` entries of ``grid (E, T)`` at which there is a token."""
        return grid[self.episode, self.step]

    def following(self, values: Tensor, final_values: Tensor) -> Tensor:
        """Value of the state after each token, ``(N,)``: the next token's, or the final one's behind the last token."""
        following = torch.roll(values, -1)
        following[self.last] = final_values.to(values.dtype)
        return following


def episodes_within(part: Batch) -> tuple[Tensor, EpisodeGrid]:
    """Return the numbers of the e episodes in which the agent speaks in a part, int64 (e,), and their grid."""
    episodes, owner = torch.unique_consecutive(part.episodes[part.rows], return_inverse=True)
    offsets = torch.nn.functional.pad(torch.bincount(owner).cumsum(0), (1, 0))
    return episodes, EpisodeGrid(offsets, part.rows.device)


def n_step_targets(
    rewards: Tensor,
    values: Tensor,
    final_values: Tensor,
    grid: EpisodeGrid,
    steps: int,
    gamma: float,
    corrections: Tensor | None = None,
) -> Tensor:
    """N-step returns (Sutton 1988; Hessel et al. 2018), corrected for the tokens said on the way or not.

    ``G_t = r_t + γ r_{t+1} + … + γ^(m−1) r_{t+m−1} + γ^m V(s_{t+m})``, where ``m`` is ``steps`` or what is left of the
    episode; at the end of the episode ``V`` is ``final_values``. Corrections are added to every reward but the first.
    With ``V(s) − Q(s, a)`` for them the return does not blame a token for what was said behind it (Harutyunyan et al.
    2016), and at a soft optimum, where ``V − Q = −β (log π − log π_ref)``, it is the path-consistent return of Nachum
    et al. 2017, exact whatever the behaviour.

    Args:
        rewards: ``(N,)``, reward received after each token.
        values: ``(N,)``, bootstrap value of the state of each token.
        final_values: ``(E,)``, bootstrap value of the state in which each episode ended (0 where it terminated).
        grid: the episodes.
        steps: n, at least 1.
        gamma: discount a token.
        corrections: ``(N,)``, added to the reward of each token that is not the first of a return.

    Returns:
        ``(N,)`` targets for ``Q(s_t, a_t)``.

    Raises:
        TokenGymError: when ``steps`` is below 1.
    """
    if steps < 1:
        raise TokenGymError(f"the number of steps of a return is {steps}; expected at least 1")
    remaining = grid.lengths[grid.episode] - grid.step
    reach = remaining.clamp(max=steps)
    inside = reach < remaining
    index = torch.arange(grid.num_tokens, device=rewards.device)
    bootstrap = torch.where(
        inside, values[(index + reach).clamp(max=grid.num_tokens - 1)], final_values[grid.episode].to(values.dtype)
    )
    padded = torch.nn.functional.pad(grid.pad(rewards if corrections is None else rewards + corrections), (0, steps))
    total = rewards
    for k in range(1, min(steps, grid.longest)):
        total = total + gamma**k * padded[grid.episode, grid.step + k]
    return total + torch.pow(torch.as_tensor(gamma, dtype=rewards.dtype, device=rewards.device), reach) * bootstrap


def trace_targets(
    rewards: Tensor,
    values: Tensor,
    action_values: Tensor,
    traces: Tensor,
    final_values: Tensor,
    grid: EpisodeGrid,
    gamma: float,
) -> Tensor:
    """Returns corrected by traces (Munos et al. 2016, Retrace).

    ``G_t = r_t + γ [V(s_{t+1}) + c_{t+1} (G_{t+1} − Q(s_{t+1}, a_{t+1}))]``, and ``G = r + γ V(final)`` at the last
    token. What the traces ``c`` are makes the method: see `retrace_traces` and `cut_traces`. All zero gives
    the one-step target; all one with ``V(s) = Q(s, a)`` gives the Monte-Carlo return.

    Args:
        rewards: ``(N,)``, reward received after each token.
        values: ``(N,)``, value of the state of each token under the target policy (hard or soft).
        action_values: ``(N,)``, value of the token that was said in that state.
        traces: ``(N,)``, how far the return behind each token is trusted; the first of an episode is not used.
        final_values: ``(E,)``, bootstrap value of the state in which each episode ended (0 where it terminated).
        grid: the episodes.
        gamma: discount a token.

    Returns:
        ``(N,)`` targets for ``Q(s_t, a_t)``.
    """
    one_step = grid.pad(rewards + gamma * grid.following(values, final_values))
    traces_grid, action_values_grid = grid.pad(traces), grid.pad(action_values)
    targets = one_step.clone()
    # Behind the end of an episode the padded trace is 0, so nothing leaks from the padding into the last token.
    for t in range(grid.longest - 2, -1, -1):
        correction = traces_grid[:, t + 1] * (targets[:, t + 1] - action_values_grid[:, t + 1])
        targets[:, t] = one_step[:, t] + gamma * correction
    return grid.flatten(targets)


def retrace_traces(log_probs: Tensor, behaviour_log_probs: Tensor, trace_lambda: float) -> Tensor:
    """Traces of Retrace, ``λ min(1, π/μ)``, from ``(N,)`` log-probabilities of the tokens that were said."""
    return trace_lambda * torch.exp((log_probs - behaviour_log_probs).clamp(max=0.0))


def cut_traces(actions: Tensor, greedy_actions: Tensor, trace_lambda: float) -> Tensor:
    """Traces of Watkins's Q(λ): ``λ`` where the token that was said is the greedy one, 0 elsewhere.

    With ``V`` the value of the greedy token the trace target is then the λ-return cut at off-policy actions.
    """
    return trace_lambda * (actions == greedy_actions).double()


def greedy_actions(q: Tensor, masks: Tensor | None = None) -> Tensor:
    """The best legal token of each state: ``(N,)`` int64 from ``q (N, A)`` and bool ``masks (N, A)``."""
    return mask_illegal(q, masks).argmax(-1)


def mask_illegal(q: Tensor, masks: Tensor | None) -> Tensor:
    """``q (N, A)`` with minus infinity where ``masks (N, A)`` is False, so that no maximum falls there."""
    return q if masks is None else q.masked_fill(~masks, -torch.inf)


def at_actions(values: Tensor, actions: Tensor) -> Tensor:
    """Entries ``(N,)`` of ``values (N, A)`` at int64 ``actions (N,)``."""
    return values.gather(-1, actions[:, None])[:, 0]


def dueling_q(values: Tensor, advantages: Tensor, masks: Tensor | None = None) -> Tensor:
    """``Q = V + A − mean A`` (Wang et al. 2016), ``(N, A)``: the mean is over the legal tokens of each state."""
    if masks is None:
        mean = advantages.sum(-1, keepdim=True) / advantages.shape[-1]
    else:
        mean = advantages.masked_fill(~masks, 0.0).sum(-1, keepdim=True) / masks.sum(-1, keepdim=True)
    return values[:, None] + advantages - mean
