"""The agent: a causal model and the heads that an algorithm reads off it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..envs import TokenGymError, Vocabulary
from ..envs.checking import Count, checked
from . import export, sampling
from .base_weights import StandsOnBase
from .decoding import OwnDistribution, Rule
from .heads import CRITIC_HEADS, read
from .masks import PackedMasks
from .models import Trunk
from .observations import rows_of, states_of
from .scoring import ReferenceLogits, Scores, score
from .session import Rows, Session, StepOutput
from .specs import learning_rate


@dataclass
class Evaluation(StepOutput):
    """One teacher-forced pass, read at N states.

    Attributes:
        logits: float (N, A), policy logits divided by the temperature, or None where not computed.
        values: float (N,) or None.
        q: float (N, A) or None.
        q2: float (N, A) or None.
        final: the same for the F final states, or None where none were asked for.
    """

    final: StepOutput | None = None


class Agent(StandsOnBase):
    """A causal model with heads of width A. Built by `build_agent`.

    Every state is a prefix: the state of (row, column) is `tokens[row, :column]`, what was known before
    `tokens[row, column]` was said. Policy logits come out divided by `temperature`, everywhere and only here, so
    log-probabilities at roll-out, in the update and of a reference all belong to the same distribution. There is no
    dropout in any mode.

    Attributes:
        vocabulary: the ids that it reads and says.
        max_length: longest sequence that it reads.
        heads: the names of the heads that it has.
        temperature: divides the policy's logits; for agents with Q heads alone, the Boltzmann temperature of `predict`.
        trunk: the model under the policy, and under all heads unless there is a `critic_trunk`.
        critic_trunk: a model of its own for the value and Q heads, or None.
    """

    def __init__(
        self,
        trunk: Trunk,
        critic_trunk: Trunk | None,
        readouts: nn.ModuleDict,
        heads: tuple[str, ...],
        vocabulary: Vocabulary,
        max_length: int,
        temperature: float,
        seed: int,
        settings: dict[str, Any],
    ):
        super().__init__()
        self.trunk = trunk
        self.critic_trunk = critic_trunk
        self.readouts = readouts
        self.heads = heads
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.temperature = temperature
        self.sampler = sampling.Sampler(seed)
        self._settings = settings

    def __repr__(self) -> str:
        """Return the kind of model, its sizes, the heads and the number of parameters."""
        spec = {name: value for name, value in self._settings["spec"].items() if not isinstance(value, dict)}
        sizes = [spec.pop("kind"), *(f"{name}={value!r}" for name, value in spec.items() if value is not None)]
        own = [] if self.critic_trunk is None else ["a critic of its own"]
        count = sum(parameter.numel() for parameter in self.parameters())
        adapters = [] if self.lora is None else [f"lora={self.lora.rank}"]
        said = [*sizes, *adapters, f"heads={'+'.join(self.heads)}", f"max_length={self.max_length}", *own]
        return f"Agent({', '.join(said)}; {count:,} parameters)"

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the model under the heads computes with."""
        return next(self.trunk.parameters(), next(self.parameters())).dtype

    @property
    def acting_heads(self) -> tuple[str, ...]:
        """The heads that choosing an action needs: the policy, or the Q heads where there is none."""
        if "policy" in self.heads:
            return ("policy",)
        acting = tuple(name for name in self.heads if name in ("q", "twin_q"))
        if not acting:
            raise TokenGymError(f"an agent with heads {self.heads} cannot act; give it 'policy', 'q' or 'twin_q'")
        return acting

    def trunks_of(self, heads: tuple[str, ...]) -> list[Trunk]:
        """The trunks that these heads stand on, each once."""
        if self.critic_trunk is None:
            return [self.trunk]
        trunks = [self.trunk] if "policy" in heads else []
        return trunks + ([self.critic_trunk] if any(head in CRITIC_HEADS for head in heads) else [])

    def apply_heads(self, features: list[torch.Tensor], heads: tuple[str, ...]) -> StepOutput:
        """Outputs of heads.

        Args:
            features: one tensor for each of `trunks_of(heads)`.
            heads: names.
        """
        out = StepOutput()
        for name in heads:
            given = features[0] if name == "policy" else features[-1]
            if name == "policy":
                out.logits = self.policy_logits(given)
                continue
            if name == "value":
                out.values = read(self.readouts["value"], given).squeeze(-1)
            elif name == "q":
                out.q = read(self.readouts["q"], given)
            else:
                out.q, out.q2 = read(self.readouts["q"], given), read(self.readouts["q2"], given)
        return out

    def _checked_heads(self, heads: tuple[str, ...] | None) -> tuple[str, ...]:
        if heads is None:
            return self.heads
        for head in heads:
            if head not in self.heads:
                raise TokenGymError(
                    f"this agent has no head {head!r}, only {', '.join(self.heads)}; name it in heads=…"
                )
        return tuple(heads)

    def evaluate(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        final_rows: torch.Tensor | None = None,
        heads: tuple[str, ...] | None = None,
        groups: torch.Tensor | None = None,
    ) -> Evaluation:
        """One teacher-forced pass over whole sequences, read at the states asked for.

        Args:
            tokens: int (B, L), right-padded; what stands in the padding cannot matter.
            lengths: int (B,).
            rows: int (N,), the row of each state.
            columns: int (N,), the column of each state, from 1 on: its state is `tokens[row, :column]`.
            final_rows: int (F,), rows whose state after their last token is wanted as well, or None.
            heads: the heads to compute; None for all that the agent has.
            groups: int (B,), equal for rows that follow one another and may begin alike, as episodes with one prompt
                do: what they have in common may then be read once (see `Trunk.states`). None for none.

        Returns:
            An `Evaluation` of flat tensors, part of the graph unless run under `torch.no_grad()`.

        Raises:
            TokenGymError: on a token outside the vocabulary, a sequence beyond the agent's context, a state outside
                its row, or a head that the agent has not.
        """
        heads = self._checked_heads(heads)
        features = self.features(tokens, lengths, rows, columns, final_rows, heads, groups)
        if final_rows is None:
            return Evaluation(**vars(self.apply_heads(features, heads)))
        states = self.apply_heads([f[: len(rows)] for f in features], heads)
        return Evaluation(**vars(states), final=self.apply_heads([f[len(rows) :] for f in features], heads))

    def score(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        actions: torch.Tensor,
        masks: PackedMasks | torch.Tensor | None = None,
        *,
        final_rows: torch.Tensor | None = None,
        heads: tuple[str, ...] = ("policy",),
        reference: ReferenceLogits | None = None,
        groups: torch.Tensor | None = None,
        chunk_bytes: Count | None = None,
    ) -> Scores:
        """One teacher-forced pass, and what the policy says of N tokens; no tensor of N times A numbers is held.

        Args:
            tokens: int (B, L), as of `evaluate`, as are the next three.
            lengths: int (B,).
            rows: int (N,).
            columns: int (N,).
            actions: int (N,), the tokens to score.
            masks: bool (N, A), True where allowed, packed or not, or None.
            final_rows: int (F,), rows whose value after their last token is wanted as well, or None.
            heads: ``("policy",)``, or ``("policy", "value")`` for the values of the same pass.
            reference: gives the logits that the KL is measured to (see `reference_logits`), or None.
            groups: int (B,) or None, as of `evaluate`.
            chunk_bytes: what a tensor as wide as the vocabulary may take; None is `chunks.CHUNK_BYTES`.
        """
        heads = self._checked_heads(heads)
        features = self.features(tokens, lengths, rows, columns, final_rows, heads, groups)
        count, others = len(rows), tuple(head for head in heads if head != "policy")
        of_policy = features[0] if final_rows is None else features[0][:count]
        said = torch.as_tensor(actions, device=self.device).long()
        width = self.vocabulary.num_actions
        scores = score(self.policy_logits, of_policy, said, width, masks, reference, chunk_bytes)
        if others:
            scores.values = self.apply_heads([features[-1][:count]], others).values
            if final_rows is not None:
                scores.final = self.apply_heads([features[-1][count:]], others)
        return scores

    @torch.no_grad()
    def reference_logits(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        groups: torch.Tensor | None = None,
    ) -> ReferenceLogits:
        """One pass without gradients, whose logits can be asked for in runs of the N states: a reference of `score`."""
        features = self.features(tokens, lengths, rows, columns, None, ("policy",), groups)[0]
        return torch.no_grad()(lambda part: self.policy_logits(features[part]))

    def policy_logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (n, A) of the policy head, divided by the temperature."""
        logits = read(self.readouts["policy"], features)
        return logits if self.temperature == 1.0 else sampling.wide(logits) / self.temperature

    def features(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        final_rows: torch.Tensor | None = None,
        heads: tuple[str, ...] | None = None,
        groups: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """What heads read in N states, and behind them in F final ones; arguments as of `evaluate`.

        Returns:
            (N + F, D), or int64 (N + F,) for a table, for each of `trunks_of(heads)`.
        """
        trunks = self.trunks_of(self._checked_heads(heads))
        states = states_of(tokens, lengths, rows, columns, final_rows, self)
        return [trunk.states(*states, groups) for trunk in trunks]

    @checked
    def session(self, num_rows: Rows, heads: tuple[str, ...] | None = None) -> Session:
        """A session of incremental decoding.

        Args:
            num_rows: number of rows.
            heads: the heads that its steps compute; None for those that acting needs (`acting_heads`).
        """
        return Session(self, num_rows, self.acting_heads if heads is None else self._checked_heads(heads))

    @property
    def sampling(self) -> str:
        """What it draws tokens from when it samples, in words: Qs are no probabilities, a temperature makes them so."""
        if "policy" in self.acting_heads:
            return "policy"
        return f"Boltzmann over Q, temperature {self.temperature:g}"

    @checked
    @torch.no_grad()
    def probabilities(
        self,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        batch_size: Count = 4096,
        *,
        rule: Rule | None = None,
        heads: tuple[str, ...] | None = None,
    ) -> np.ndarray:
        """What the agent would say next, for whole sequences, without a cache.

        Args:
            tokens: int32 (m, L), right-padded.
            lengths: int (m,).
            masks: bool (m, A), True where allowed, or None.
            batch_size: rows in one pass.
            rule: makes logits of what the heads say; None is the agent's own distribution.
            heads: what the rule reads; None for the heads that the agent acts with.

        Returns:
            float64 (m, A), rows of probabilities.
        """
        rule = OwnDistribution(self.temperature) if rule is None else rule
        heads = self.acting_heads if heads is None else heads
        lengths = np.asarray(lengths).reshape(-1)
        result = np.empty((len(lengths), self.vocabulary.num_actions))
        for first in range(0, len(lengths), batch_size):
            part = slice(first, first + batch_size)
            rows = np.arange(len(lengths[part]))
            out = self.evaluate(
                torch.from_numpy(np.asarray(tokens[part])),
                torch.from_numpy(lengths[part]),
                torch.from_numpy(rows),
                torch.from_numpy(lengths[part]),
                heads=heads,
            )
            allowed = None if masks is None else torch.from_numpy(np.asarray(masks[part], dtype=bool)).to(self.device)
            result[part] = sampling.log_softmax(rule(out, allowed).double(), allowed).exp().cpu().numpy()
        return result

    @checked
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
        *,
        rule: Rule | None = None,
        heads: tuple[str, ...] | None = None,
    ) -> tuple[Any, Session]:
        """Choose actions, with the signature of Stable-Baselines3.

        The observation is the truth; the state is only a cache, so `episode_start` is not needed and may be wrong.

        Args:
            observation: `tokens` (L,) or (n, L) and `length` (1,) or (n, 1).
            state: the session returned by the call before, or None.
            episode_start: ignored.
            deterministic: take the most probable token (the largest Q) instead of drawing one.
            action_masks: bool (A,) or (n, A), True where allowed, or None.
            rule: makes logits of what the heads say; None is the agent's own distribution.
            heads: what the rule reads; None for the heads that the agent acts with.

        Returns:
            The action, np.int64 for a single observation and int64 (n,) for a batch, and the session.
        """
        seen = rows_of(observation, action_masks, self.vocabulary.num_actions)
        if state is not None and (not isinstance(state, Session) or state.agent is not self):
            whose = "a session of another agent" if isinstance(state, Session) else f"a {type(state).__name__}"
            raise TokenGymError(f"state is {whose}: give what this agent's predict returned before, or None")
        if state is None or state.num_rows != len(seen.tokens):
            state = self.session(len(seen.tokens), heads)
        masks = None if seen.masks is None else sampling.masks_on(self.device, seen.masks)
        logits = (rule or OwnDistribution(self.temperature))(state.step(seen.tokens, seen.lengths), masks)
        actions = self.sampler.draw(logits, masks, deterministic)[0]
        return (actions[0] if seen.single else actions), state

    @property
    def learning_rate(self) -> float:
        """Adam's step size that suits this kind of model, for configurations that name none."""
        return learning_rate(self._settings["spec"]["kind"], self.lora)

    def config(self) -> dict[str, Any]:
        """All that `rebuild_agent` needs to build this agent again, but its weights; JSON-able."""
        return copy.deepcopy({**self._settings, "temperature": self.temperature, **self.adapter_settings()})

    @checked
    def save_pretrained(self, folder: str | Path, tokenizer: Any = None, card: str = "") -> None:
        """Write the policy as an ordinary folder of transformers, which `AutoModelForCausalLM` loads with equal logits.

        Args:
            folder: a new or an empty one.
            tokenizer: the task's, of transformers; None writes one whose tokens are the vocabulary's names.
            card: the text of the folder's README.md.

        Raises:
            TokenGymError: a folder that holds something, or an agent that no model of transformers expresses; says
                which part.
        """
        export.save_pretrained(self, folder, tokenizer, card)
