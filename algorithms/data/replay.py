"""Replay of whole episodes: token ids once, a few scalars a token, nothing as wide as the vocabulary but packed masks.

A transition-level buffer stores the prefix of every token again; here an episode is stored once and everything else
(logits, values, the states themselves) is recomputed by one teacher-forced pass over the sampled episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch

from ...agents.masks import PackedMasks
from ...envs import TokenGymError
from ...envs.checking import Count, NotNegative, Range, Seed, Share, checked
from ..configs import Prioritisation
from .episodes import Episodes
from .ring import Ring, ranges


@dataclass(frozen=True)
class ReplaySample:
    """What a draw from the replay returns.

    Attributes:
        episodes: the drawn episodes, one for each draw (an episode drawn twice is there twice).
        weights: ``(N,)`` a token of ``episodes``; ``mean(weights · loss)`` is the loss to minimise. All one
            without prioritisation.
        positions: ``(E,)`` int64, the replay's own name of each drawn episode, for `EpisodeReplay.prioritise`.
    """

    episodes: Episodes
    weights: np.ndarray
    positions: np.ndarray


class EpisodeReplay:
    """A first-in-first-out buffer of whole episodes with uniform or prioritised draws (Schaul et al. 2016).

    Prioritised draws are proportional: what has priority ``p = (|δ| + 1e-6)^α`` is drawn with probability ``p / Σ p``
    and weighted ``(N · P)^(−β)``, divided by the largest such weight in the draw; what is new has the largest
    priority seen so far.

    - ``"episode"``: whole episodes are drawn; the ``δ`` of an episode is ``.9 · max + .1 · mean`` of its tokens'
      (Kapturowski et al. 2019), and all its tokens share a weight.
    - ``"token"``: every single draw of a token has the probability above, but draws come in clusters, so that the
      sequences read are put to use: an episode is drawn by the sum of its tokens' priorities, then as many of its
      tokens (with repetition) as an average episode has. Tokens not drawn have weight 0.

    Args:
        capacity: episodes held; the oldest goes first.
        pad: the token id behind the end of a sequence.
        num_actions: A where action masks are stored (one bit an action), or None.
        prioritised: ``"none"`` for uniform draws, ``"episode"`` or ``"token"``.
        alpha: exponent of the priorities; 0 is uniform, 1 is greedy in ``|δ|``.
        seed: of the generator that draws; the generator belongs to the replay and is saved with it.
        numbers: the dtype of rewards, log-probabilities and weights.
        streams: keep what the draws of each episode came from, which is needed to enter its states again.

    Raises:
        TokenGymError: at a capacity below 1, an unknown kind of prioritisation, or a negative ``alpha``.
    """

    @checked
    def __init__(
        self,
        capacity: Count,
        pad: Annotated[int, Range(least=0, most=2**31 - 1)],
        num_actions: Annotated[int, Range(least=1, most=2**31 - 1)] | None = None,
        prioritised: Prioritisation = "none",
        alpha: NotNegative = 0.6,
        seed: Seed = 0,
        numbers: Literal["float32", "float64"] = "float32",
        streams: bool = False,
    ):
        self.numbers = np.dtype(numbers)
        self.capacity = capacity
        self.pad = pad
        self.num_actions = num_actions
        self.prioritised: Prioritisation = prioritised
        self.alpha = alpha
        self.streams = streams
        self.generator = np.random.Generator(np.random.PCG64(seed))
        self._largest_priority = 1.0
        mask_bytes = None if num_actions is None else (num_actions + 7) // 8
        masked = {} if mask_bytes is None else {"masks": (np.uint8, mask_bytes)}
        self._ids = Ring(ids=(np.int32, None), spoken=(np.bool_, None))
        token_priority = {"priority": (np.float32, None)} if prioritised == "token" else {}
        self._tokens = Ring(rewards=(self.numbers, None), log_probs=(self.numbers, None), **token_priority, **masked)
        self._sequences = Ring(length=(np.int32, None), turn=(np.int32, None))
        self._episodes = Ring(
            start=(np.uint64, None),
            terminated=(np.bool_, None),
            truncated=(np.bool_, None),
            first_id=(np.int64, None),
            first_token=(np.int64, None),
            first_sequence=(np.int64, None),
            **({"priority": (np.float32, None)} if prioritised == "episode" else {}),
            **({"stream": (np.uint64, None)} if streams else {}),
            **masked,
        )
        self._rings = {
            "ids": self._ids,
            "tokens": self._tokens,
            "sequences": self._sequences,
            "episodes": self._episodes,
        }

    def __len__(self) -> int:
        """Episodes held."""
        return len(self._episodes)

    @property
    def num_tokens(self) -> int:
        """Agent tokens held."""
        return len(self._tokens)

    @property
    def nbytes(self) -> int:
        """Bytes of the episodes held."""
        return sum(ring.nbytes for ring in self._rings.values())

    @property
    def nbytes_per_token(self) -> float:
        """Bytes held for each token id held (prompts, replies and the agent's), everything counted."""
        return self.nbytes / max(1, len(self._ids))

    def add(self, episodes: Episodes) -> None:
        """Store a batch of episodes, and forget the oldest where there are more than ``capacity``.

        Raises:
            TokenGymError: when an episode has no agent token, or masks are there that are not expected, or the reverse,
                or streams are not there that are to be kept.
        """
        flat = episodes.flat
        offsets = np.asarray(flat.episode_offsets, np.int64)
        num_tokens = np.diff(offsets)
        if (num_tokens < 1).any():
            raise TokenGymError("an episode without a single agent token came to the replay; expected at least one")
        if (episodes.action_masks is None) != (self.num_actions is None):
            expected, got = ("without", "with") if self.num_actions is None else ("with", "without")
            raise TokenGymError(f"episodes {got} action masks came to a replay {expected} them; make both the same")
        if self.streams and episodes.streams is None:
            raise TokenGymError("episodes without streams came to a replay that keeps them; collect them in groups")
        sequence_lengths = np.asarray(episodes.lengths, np.int64)
        inside = np.arange(episodes.tokens.shape[1]) < sequence_lengths[:, None]
        num_episodes = len(num_tokens)
        num_sequences = np.bincount(episodes.episode_id, minlength=num_episodes)
        num_ids = np.bincount(episodes.episode_id, weights=sequence_lengths, minlength=num_episodes).astype(np.int64)
        last_sequences = np.cumsum(num_sequences) - 1
        token_columns: dict[str, np.ndarray] = {"rewards": flat.reward, "log_probs": flat.log_prob}
        episode_columns: dict[str, np.ndarray] = {
            "start": episodes.starts,
            "terminated": episodes.terminated[last_sequences],
            "truncated": episodes.truncated[last_sequences],
            "first_id": self._ids.end + np.cumsum(num_ids) - num_ids,
            "first_token": self._tokens.end + offsets[:-1],
            "first_sequence": self._sequences.end + np.cumsum(num_sequences) - num_sequences,
        }
        if self.num_actions is not None:
            assert episodes.action_masks is not None
            token_columns["masks"] = episodes.action_masks.bits.numpy()
            final_masks = episodes.final_action_masks
            if final_masks is None:
                final_masks = PackedMasks.full(num_episodes, self.num_actions)
            episode_columns["masks"] = final_masks.bits.numpy()
        if self.streams:
            assert episodes.streams is not None
            episode_columns["stream"] = episodes.streams
        if self.prioritised == "episode":
            episode_columns["priority"] = np.full(num_episodes, self._largest_priority)
        elif self.prioritised == "token":
            token_columns["priority"] = np.full(len(flat.reward), self._largest_priority)
        self._ids.append(ids=episodes.tokens[inside], spoken=episodes.agent_mask[inside])
        self._tokens.append(**token_columns)
        self._sequences.append(length=sequence_lengths, turn=episodes.turn)
        self._episodes.append(**episode_columns)
        self._forget()

    def _forget(self) -> None:
        surplus = len(self) - self.capacity
        if surplus <= 0:
            return
        self._episodes.begin += surplus
        oldest = np.array([self._episodes.begin])
        self._ids.begin = int(self._episodes.get("first_id", oldest)[0])
        self._tokens.begin = int(self._episodes.get("first_token", oldest)[0])
        self._sequences.begin = int(self._episodes.get("first_sequence", oldest)[0])

    def _extent(self, what: Literal["id", "token", "sequence"], positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows of each episode begin in their ring, and how many there are: up to the next one's first."""
        ring = {"id": self._ids, "token": self._tokens, "sequence": self._sequences}[what]
        first = self._episodes.get(f"first_{what}", positions)
        newest = positions + 1 == self._episodes.end
        following = np.where(newest, ring.end, self._episodes.get(f"first_{what}", positions + 1))
        return first, following - first

    def get(self, positions: np.ndarray) -> Episodes:
        """The episodes at ``positions (E,)``, in that order, renumbered from 0."""
        first_sequence, num_sequences = self._extent("sequence", positions)
        sequences = ranges(first_sequence, num_sequences)
        ids = ranges(*self._extent("id", positions))
        tokens = ranges(*self._extent("token", positions))
        lengths = self._sequences.get("length", sequences)
        inside = np.arange(int(lengths.max())) < lengths[:, None]
        padded_ids = np.full(inside.shape, self.pad, np.int32)
        padded_ids[inside] = self._ids.get("ids", ids)
        agent_mask = np.zeros(inside.shape, np.bool_)
        agent_mask[inside] = self._ids.get("spoken", ids)
        rewards = np.zeros(inside.shape, self.numbers)
        rewards[agent_mask] = self._tokens.get("rewards", tokens)
        log_probs = np.zeros(inside.shape, self.numbers)
        log_probs[agent_mask] = self._tokens.get("log_probs", tokens)
        terminated = np.zeros(len(sequences), np.bool_)
        truncated = np.zeros(len(sequences), np.bool_)
        last_sequences = np.cumsum(num_sequences) - 1
        terminated[last_sequences] = self._episodes.get("terminated", positions)
        truncated[last_sequences] = self._episodes.get("truncated", positions)
        return Episodes(
            tokens=padded_ids,
            lengths=lengths,
            agent_mask=agent_mask,
            rewards=rewards,
            log_probs=log_probs,
            episode_id=np.repeat(np.arange(len(positions)), num_sequences),
            turn=self._sequences.get("turn", sequences),
            terminated=terminated,
            truncated=truncated,
            starts=self._episodes.get("start", positions),
            action_masks=self._masks(self._tokens, tokens),
            final_action_masks=self._masks(self._episodes, positions),
            pad=self.pad,
            extras={},  # what was reported is for logs: it is not kept
            streams=self._episodes.get("stream", positions) if self.streams else None,
        )

    def _masks(self, ring: Ring, positions: np.ndarray) -> PackedMasks | None:
        if self.num_actions is None:
            return None
        return PackedMasks(torch.from_numpy(ring.get("masks", positions)), self.num_actions)

    @checked
    def sample(self, count: Annotated[int, Range(least=1, most=10_000_000)], beta: Share = 1.0) -> ReplaySample:
        """Draw ``count`` episodes, with replacement.

        Args:
            count: draws, at least 1.
            beta: exponent of the importance weights; 0 leaves the bias of prioritised draws, 1 removes it.

        Raises:
            TokenGymError: when the replay is empty or ``count`` below 1.
        """
        if len(self) == 0:
            raise TokenGymError("a draw from an empty replay; expected episodes: collect some first")
        if self.prioritised == "none":
            positions = self._episodes.begin + self.generator.integers(len(self), size=count)
            episodes = self.get(positions)
            return ReplaySample(episodes, np.ones(episodes.num_tokens, self.numbers), positions)
        if self.prioritised == "episode":
            priorities = self._episodes.get("priority").astype(np.float64)
            chosen = self._draw(priorities, count)
            positions = self._episodes.begin + chosen
            weights = _importance_weights(priorities[chosen], beta)
            _, lengths = self._extent("token", positions)
            return ReplaySample(self.get(positions), np.repeat(weights, lengths).astype(self.numbers), positions)
        return self._sample_tokens(count, beta)

    @checked
    def sample_groups(self, count: Count, size: Count) -> Episodes:
        """Draw groups of ``size`` episodes that were added one after the other, uniformly and none twice.

        Args:
            count: groups; all of them, in a random order, where fewer are held.
            size: episodes a group, as many as there were in each that was added.

        Raises:
            TokenGymError: not one group is held.
        """
        held = len(self) // size
        if not held:
            raise TokenGymError(f"a draw of groups of {size} from a replay of {len(self)} episodes; collect some first")
        first = self._episodes.end - size * (1 + self.generator.permutation(held)[:count])
        return self.get((first[:, None] + np.arange(size)).ravel())

    def _draw(self, priorities: np.ndarray, count: int) -> np.ndarray:
        """``count`` indices, each proportional to its priority."""
        cumulative = np.cumsum(priorities)
        return np.searchsorted(cumulative, self.generator.random(count) * cumulative[-1], side="right").clip(
            max=len(priorities) - 1
        )

    def _sample_tokens(self, count: int, beta: float) -> ReplaySample:
        priorities = self._tokens.get("priority").astype(np.float64)
        first = self._episodes.get("first_token") - self._tokens.begin
        chosen = self._draw(np.add.reduceat(priorities, first), count)
        positions = self._episodes.begin + chosen
        _, lengths = self._extent("token", positions)
        cluster = max(1, round(self.num_tokens / len(self)))
        # One cumulative sum over the drawn episodes serves all clusters: each aims inside its own episode's stretch.
        tokens = ranges(first[chosen], lengths)
        cumulative = np.cumsum(priorities[tokens])
        ends = np.cumsum(lengths)
        lower = np.concatenate([[0.0], cumulative])[ends - lengths]
        aims = lower[:, None] + self.generator.random((count, cluster)) * (cumulative[ends - 1] - lower)[:, None]
        drawn = np.searchsorted(cumulative, aims, side="right").clip((ends - lengths)[:, None], (ends - 1)[:, None])
        multiplicity = np.bincount(drawn.ravel(), minlength=len(tokens))
        said = multiplicity > 0
        weights = np.zeros(len(tokens))
        weights[said] = multiplicity[said] * _importance_weights(priorities[tokens[said]], beta)
        weights *= len(tokens) / drawn.size
        return ReplaySample(self.get(positions), weights.astype(self.numbers), positions)

    def prioritise(self, sample: ReplaySample, errors: np.ndarray) -> None:
        """Set the priorities of a sample from its temporal-difference errors, ``(N,)`` in the sample's order.

        In the ``"token"`` kind every token of the sampled episodes is set, drawn or not: its error is known as well.
        Without prioritisation nothing happens.
        """
        if self.prioritised == "none":
            return
        errors = np.abs(np.asarray(errors, np.float64))
        first, lengths = self._extent("token", sample.positions)
        if self.prioritised == "episode":
            begins = np.cumsum(lengths) - lengths
            errors = 0.9 * np.maximum.reduceat(errors, begins) + 0.1 * np.add.reduceat(errors, begins) / lengths
        # Within what float32 holds, and above 0, however large the exponent: importance weights divide by them.
        priorities = np.exp(np.clip(self.alpha * np.log(errors + 1e-6), -69.0, 69.0))
        self._largest_priority = max(self._largest_priority, float(priorities.max()))
        if self.prioritised == "episode":
            self._episodes.put("priority", sample.positions, priorities)
        else:
            self._tokens.put("priority", ranges(first, lengths), priorities)

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Everything held, with the generator, as named arrays; `load_state_arrays` takes them back."""
        arrays = {
            f"{ring_name}.{name}": ring.get(name) for ring_name, ring in self._rings.items() for name in ring.columns
        }
        # Files of tensors know no unsigned 64-bit integers everywhere; the bits of signed ones do as well.
        for name in ("episodes.start", *(["episodes.stream"] if self.streams else [])):
            arrays[name] = arrays[name].view(np.int64)
        arrays["begins"] = np.array([ring.begin for ring in self._rings.values()], np.int64)
        arrays["largest_priority"] = np.array([self._largest_priority], np.float64)
        state: Any = self.generator.bit_generator.state
        wide = [state["state"]["state"], state["state"]["inc"]]
        words = [(number >> shift) & (2**64 - 1) for number in wide for shift in (0, 64)]
        arrays["generator"] = np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64).view(np.int64)
        return arrays

    def load_state_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `state_arrays` gave; the replay then goes on exactly as the saved one would have.

        Raises:
            TokenGymError: when arrays are missing or of another kind of replay, or hold more than the capacity.
        """
        columns = {f"{ring_name}.{name}" for ring_name, ring in self._rings.items() for name in ring.columns}
        expected = columns | {"begins", "largest_priority", "generator"}
        if set(arrays) != expected:
            raise TokenGymError(
                f"The saved replay differs in {sorted(set(arrays) ^ expected)}; expected the arrays of a replay with "
                "the same masks and prioritisation: load with the configuration that it was saved with"
            )
        if len(arrays["episodes.start"]) > self.capacity:
            raise TokenGymError(
                f"The saved replay holds {len(arrays['episodes.start'])} episodes, more than the capacity "
                f"{self.capacity}: load with the capacity that it was saved with"
            )
        for (ring_name, ring), begin in zip(self._rings.items(), arrays["begins"], strict=True):
            ring.begin = ring.end = int(begin)
            ring.append(
                **{name: arrays[f"{ring_name}.{name}"].astype(ring.columns[name].dtype) for name in ring.columns}
            )
        self._largest_priority = float(arrays["largest_priority"][0])
        words = [int(word) for word in np.asarray(arrays["generator"]).view(np.uint64)]
        state: Any = self.generator.bit_generator.state
        state["state"] = {"state": words[0] | words[1] << 64, "inc": words[2] | words[3] << 64}
        state["has_uint32"], state["uinteger"] = words[4], words[5]
        self.generator.bit_generator.state = state


def _importance_weights(priorities: np.ndarray, beta: float) -> np.ndarray:
    """``(N · P)^(−β)`` of everything drawn, divided by the largest: ``(p / p_min)^(−β)``.

    The smallest priority is that of the draw, not of the buffer: one long-settled episode would shrink all the weights.
    """
    return (priorities / priorities.min()) ** -beta
