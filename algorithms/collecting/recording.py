"""Recording: what happened on the rows of an engine, put together as episodes without a loop over tokens."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...agents.masks import PackedMasks
from ...agents.sampling import wide
from ...envs import Engine, Task
from ...envs.columns import Columns
from ..data import Episodes, Ring
from ..parts import RewardError
from .playing import Observer, Step


class Recording(Observer):
    """Collects one entry an act for all rows that acted, and sorts everything into `Episodes` at the end.

    Attributes:
        slot: int64 (n,), the episode that each row plays, counted in the order of starting; -1 where it is idle.
        episodes_started: how many episodes were started.
        episodes_finished: how many of them ended.
        tokens_finished: the agent's tokens in those.
    """

    def __init__(
        self,
        engine: Engine,
        task: Task,
        action_masks: bool,
        token_rewards: bool,
        numbers: np.dtype | type = np.float32,
    ) -> None:
        num_rows = len(engine.lengths)
        self.numbers = numbers
        self.engine = engine
        self.task = task
        self.by_turn = task.context == "turn"
        self.with_masks = action_masks
        self.with_token_rewards = token_rewards
        self.slot = np.full(num_rows, -1)
        self.episodes_started = 0
        self.episodes_finished = 0
        self.tokens_finished = 0
        self._sequence = np.zeros(num_rows, np.int64)
        self._turn = np.zeros(num_rows, np.int64)
        self._said = np.zeros(num_rows, np.int64)
        self._num_sequences = 0
        self._starts: list[np.ndarray] = []
        # One entry an act: the tokens that were said.
        self._token_slot: list[np.ndarray] = []
        self._token_sequence: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._log_probs: list[np.ndarray | Tensor] = []
        self._rewards: list[np.ndarray] = []
        # In one block that grows: an array a step, kept among the wide tensors that come and go, would leave the heap
        # in pieces too small for the next ones. Collecting 2,048 tokens of 50,000 took .7 GB more so.
        self._masks = Ring(bits=(np.uint8, -(-task.vocabulary.num_actions // 8)))
        self._noted = 0
        self._told: list[tuple[int, dict[str, np.ndarray]]] = []  # from which token on, and what was reported
        # One entry an event: sequences that began, texts that were seen, episodes that ended.
        self._begun: list[tuple[np.ndarray, np.ndarray]] = []
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._ended: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._final_masks: list[PackedMasks] = []
        self._credited: list[tuple[int, int, np.ndarray]] = []

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Note that new episodes began; see `Observer.began`."""
        self.slot[rows] = np.arange(self.episodes_started, self.episodes_started + len(rows))
        self.episodes_started += len(rows)
        self._starts.append(starts)
        self._said[rows] = 0
        self._turn[rows] = 0
        self._begin_sequences(rows)

    def stepped(self, step: Step) -> None:
        """Note what was said and what came of it; see `Observer.stepped`."""
        rows, result, over = step.rows, step.result, step.over
        self._note_tokens(step)
        if self.with_token_rewards and result.token_rewards is not None:
            for row, credit in zip(rows[result.turn_ended], result.token_rewards, strict=True):
                if credit is not None:
                    self._credited.append((int(self.slot[row]), int(self._said[row]), np.asarray(credit)))
        if self.by_turn:
            following = rows[(result.turn_ended & ~over) | (result.truncated & ~result.terminated)]
            if len(following):
                self._turn[following] += 1
                self._begin_sequences(following)
        if over.any():
            self._finish(rows[over], result.terminated[over])

    def _note_tokens(self, step: Step) -> None:
        """Note the tokens that were said, in each row one after the other, and what each of them earned."""
        rows, act = step.rows, step.act
        if act.tokens.shape[1] == 1:
            self._note_columns(step.result.columns, len(rows))
            self._said[rows] += 1
            self._token_slot.append(self.slot[rows])
            self._token_sequence.append(self._sequence[rows])
            self._columns.append(step.lengths)
            self._actions.append(act.tokens[:, 0])
            self._log_probs.append(act.log_probs[:, 0])
            self._rewards.append(np.asarray(step.result.rewards, self.numbers).copy())
            if step.masks is not None:
                self._masks.append(bits=np.packbits(step.masks, axis=1))
            return
        said = step.said
        self._said[rows] += said
        # A turn is said within one sequence, at columns that follow one another.
        row, place = np.nonzero(np.arange(act.tokens.shape[1]) < said[:, None])
        columns = step.result.columns
        self._note_columns(columns and {name: values[row, place] for name, values in columns.items()}, len(row))
        self._token_slot.append(self.slot[rows][row])
        self._token_sequence.append(self._sequence[rows][row])
        self._columns.append(step.lengths[row] + place)
        self._actions.append(act.tokens[row, place])
        self._log_probs.append(act.log_probs[row, place])
        self._rewards.append(step.per_token[row, place].astype(self.numbers))

    def _note_columns(self, columns: Columns | None, count: int) -> None:
        """Note the numbers that were reported with the next ``count`` tokens."""
        if columns:
            numbers = {name: values for name, values in columns.items() if values.dtype.kind == "f"}
            self._told.append((self._noted, numbers))
        self._noted += count

    def _extras(self, order: np.ndarray) -> dict[str, np.ndarray]:
        """Return what was reported, float32 (N,) each, in an order of the tokens."""
        found: dict[str, np.ndarray] = {}
        for first, numbers in self._told:
            for name, values in numbers.items():
                column = found.setdefault(name, np.full(self._noted, np.nan, np.float32))
                column[first : first + len(values)] = values
        return {name: column[order] for name, column in found.items()}

    def _begin_sequences(self, rows: np.ndarray) -> None:
        self._sequence[rows] = np.arange(self._num_sequences, self._num_sequences + len(rows))
        self._num_sequences += len(rows)
        self._begun.append((self.slot[rows], self._turn[rows]))
        if self.by_turn:
            self._see(rows)

    def _see(self, rows: np.ndarray) -> None:
        lengths = self.engine.lengths[rows]
        # Indexing with an array copies, so the live buffer may go on changing.
        self._seen.append((self._sequence[rows], lengths, self.engine.tokens[rows, : lengths.max()]))

    def _finish(self, rows: np.ndarray, terminated: np.ndarray) -> None:
        if not self.by_turn:
            self._see(rows)
        if self.with_masks:
            self._final_masks.append(PackedMasks.pack(self.engine.action_mask(rows)))
        self._ended.append((self.slot[rows], self._sequence[rows], terminated))
        self.episodes_finished += len(rows)
        self.tokens_finished += int(self._said[rows].sum())
        self.slot[rows] = -1

    def episodes(self) -> Episodes:
        """Put everything together; every episode that was started must have ended.

        Raises:
            RewardError: something was paid that is no finite number of those that are recorded.
        """
        token_slot = np.concatenate(self._token_slot)
        # Stable, so that the tokens of an episode stay in the order of time.
        order = np.argsort(token_slot, kind="stable")
        sequence_slot = np.concatenate([slot for slot, _ in self._begun])
        sequence_turn = np.concatenate([turn for _, turn in self._begun])
        by_episode = np.lexsort((sequence_turn, sequence_slot))
        place = np.empty(self._num_sequences, np.int64)
        place[by_episode] = np.arange(self._num_sequences)

        rows = place[np.concatenate(self._token_sequence)]
        columns = np.concatenate(self._columns).astype(np.int64)
        lengths = np.zeros(self._num_sequences, np.int32)
        for sequences, seen, _ in self._seen:
            lengths[place[sequences]] = seen
        np.maximum.at(lengths, rows, (columns + 1).astype(np.int32))

        pad = self.task.vocabulary.pad
        tokens = np.full((self._num_sequences, int(lengths.max())), pad, np.int32)
        for sequences, _, text in self._seen:
            tokens[place[sequences], : text.shape[1]] = text
        actions = np.concatenate(self._actions)
        tokens[rows, columns] = actions
        agent_mask = np.zeros(tokens.shape, bool)
        agent_mask[rows, columns] = True
        rewards = np.zeros(tokens.shape, self.numbers)
        rewards[rows, columns] = np.concatenate(self._rewards)
        log_probs = np.zeros(tokens.shape, self.numbers)
        log_probs[rows, columns] = _joined(self._log_probs)
        self._credit(rewards, rows[order], columns[order], token_slot)
        if not np.isfinite(rewards).all():  # here, before a replay or a running scale has it and cannot let it go
            sequence, place_said = np.argwhere(~np.isfinite(rewards))[0]
            raise RewardError(
                f"task {self.task.name!r} paid {rewards[sequence, place_said]:g} (as {np.dtype(self.numbers)}) for "
                f"token {place_said} of episode {sequence_slot[by_episode][sequence]} of {self.episodes_started} that "
                "were played; expected finite numbers: mend the task or its reward."
            )

        terminated = np.zeros(self._num_sequences, bool)
        truncated = np.zeros(self._num_sequences, bool)
        ended_slot, last, ended_well = (np.concatenate(parts) for parts in zip(*self._ended, strict=True))
        terminated[place[last]] = ended_well
        truncated[place[last]] = ~ended_well
        action_masks = final_masks = None
        if self.with_masks:
            final_masks = PackedMasks.concat(self._final_masks)[np.argsort(ended_slot)]
        if self.with_masks or len(self._masks):
            bits = torch.from_numpy(self._masks.get("bits")[order])
            action_masks = PackedMasks(bits, self.task.vocabulary.num_actions)
        return Episodes(
            tokens=tokens,
            lengths=lengths,
            agent_mask=agent_mask,
            rewards=rewards,
            log_probs=log_probs,
            episode_id=sequence_slot[by_episode],
            turn=sequence_turn[by_episode].astype(np.int32),
            terminated=terminated,
            truncated=truncated,
            starts=np.concatenate(self._starts),
            action_masks=action_masks,
            final_action_masks=final_masks,
            pad=pad,
            extras=self._extras(order),
        )

    def _credit(self, rewards: np.ndarray, rows: np.ndarray, columns: np.ndarray, token_slot: np.ndarray) -> None:
        """Spread the rewards of turns whose tasks said what each token earned; their sums stay what they were."""
        if not self._credited:
            return
        offsets = np.concatenate([[0], np.cumsum(np.bincount(token_slot))])
        for slot, said, credit in self._credited:
            end = offsets[slot] + said
            where = (rows[end - len(credit) : end], columns[end - len(credit) : end])
            paid = rewards[where].sum()
            rewards[where] = credit
            rewards[where[0][-1], where[1][-1]] += paid - credit.sum()


def _joined(parts: list[np.ndarray | Tensor]) -> np.ndarray:
    """Join what policies gave: tensors, which stayed on their device until now, or arrays."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if len(tensors) == len(parts):
        return wide(torch.cat(tensors)).cpu().numpy()
    return np.concatenate([part.cpu().numpy() if isinstance(part, Tensor) else part for part in parts])
