"""Algorithm: the learning loop, and what every algorithm shares, whatever it learns from."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from ..agents import Agent, AgentPolicy, Policy
from ..agents.devices import usable_device
from ..agents.specs import Dtype
from ..envs import TokenGymError
from ..envs.checking import AllowImports, Seed, Total, checked, untrusted
from .configs import LearningConfig, Schedule, value_at
from .constructors import Constructed
from .data import Unit
from .making import make_agent, make_optimizer, named_gradients
from .parts import (
    DivergedError,
    Loss,
    Reference,
    Step,
    accumulate,
    derive_seed,
    first_nonfinite,
    naming_the_update,
)
from .registry import ALGORITHMS
from .requirements import (
    check_agent,
    check_micro_batches,
    check_reference,
    check_task,
    chosen_config,
    resolve_task,
    warn_of_budget,
)
from .runs import Callback, Callbacks, CallbackStates, RunLogger, as_callback, checkpoint, load_callback_states
from .runs import state as saving

ConfigT = TypeVar("ConfigT", bound=LearningConfig)


class Algorithm(Constructed, ABC, Generic[ConfigT]):
    """Learns to say tokens: asks for a batch, updates the agent on it, repeats.

    What plays episodes derives from `Online`, and mostly from `OnPolicy` or `OffPolicy`; what reads a dataset from
    `Offline`. A subclass is data and one method: its `Config`, the `heads` that its agent needs, what it `requires` of
    a task, and `update(batch) -> metrics`. An update has three parts by convention: ``prepare(batch)``, all that needs
    no gradient (targets, advantages, weights, log-probabilities of old and reference policies);
    ``loss(part, prepared) -> Loss`` of a part of the batch, a pure function; and `optimise`, which takes one step on
    the losses of all parts. Hooks for subclasses: `required_heads` and `requirements` where they follow from the
    configuration, `setup` (build what the update needs), `next_batch` (collect, draw or read), `policy` (who acts with
    what was learnt), and `extra_state` / `load_extra_state` (what a checkpoint must hold beyond agent, optimiser,
    generators, normalisers and counters).

    Args:
        env: an environment id, a `TokenEnv`, a `TokenVectorEnv` or a `Task`.
        agent: a specification that `build_agent` takes ("gpt2-tiny", a dict, a checkpoint folder, …), or an `Agent`.
        config: the algorithm's `Config`; None takes the defaults.
        seed: seeds the agent's weights, the starts of the episodes and every draw of the algorithm.
        device: where the agent lives and learns.
        dtype: what the agent computes with: ``"float32"``, ``"bfloat16"`` or ``"float64"``; None is float32, and for
            an `Agent` what it has.
        reference: the agent to which a KL is measured; None leaves it to the config.
        **overrides: fields of the config to change.

    Raises:
        TokenGymError: an unknown id or field, or a task or agent that lacks what the algorithm requires.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]] = LearningConfig
    heads: ClassVar[tuple[str, ...]] = ("policy",)
    requires: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[Unit] = "sequence"
    """The smallest part of a batch that its loss can be computed for."""
    resumable: ClassVar[bool] = True
    """Whether a checkpoint holds all that learning on needs."""
    weighs_policy: ClassVar[bool] = False
    """Whether it says its agent's policy weighed by values: that policy alone is then whoever was cloned."""

    config: ConfigT

    @checked
    def __init__(
        self,
        env: Any,
        agent: Any = "mlp-tiny",
        config: ConfigT | None = None,
        *,
        seed: Seed = 0,
        device: str | torch.device = "cpu",
        dtype: Dtype | None = None,
        reference: Agent | None = None,
        **overrides: Any,
    ) -> None:
        self.config = cast(ConfigT, chosen_config(self, config, overrides))
        self.device = usable_device(device)
        self.task, self.env_spec = resolve_task(env)
        self.seed = seed
        check_task(self.name, self.requirements(), self.task, self.config)
        check_micro_batches(self.read_whole, self.task, self.config)
        self.agent = make_agent(
            agent,
            self.task,
            self.config,
            self.device,
            self.required_heads(),
            dtype=dtype,
            seed=derive_seed(seed, "agent"),
            **self.agent_options(),
        )
        check_agent(self.name, self.required_heads(), self.agent, self.task)
        check_reference(reference, self.task)
        self.reference = self.build_reference(reference)
        self.optimizer, self.parameters = make_optimizer(self.agent, self.config, self.peak_learning_rate)
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "update"))
        self.num_timesteps = 0
        self.num_episodes = 0
        self.num_updates = 0
        self.total_timesteps = 0
        self.callbacks = Callback()
        self.waiting_states: CallbackStates = {}
        self.make_parts()
        self.setup()

    # Hooks -----------------------------------------------------------------------------------------------------------

    def required_heads(self) -> tuple[str, ...]:
        """Return the heads that the agent needs under ``self.config``; `heads`, unless overridden."""
        return self.heads

    def requirements(self) -> tuple[str, ...]:
        """Return what is required of a task under ``self.config``; `requires`, unless overridden."""
        return self.requires

    @property
    def read_whole(self) -> Unit:
        """What no pass of an update can cut under ``self.config``; `unit`, unless overridden."""
        return self.unit

    def make_parts(self) -> None:
        """Build what all algorithms of one kind, such as `Online`, have beyond the agent and its optimiser."""
        return None

    def setup(self) -> None:
        """Build what the update needs beyond the shared parts; called once, at the end of construction."""
        return None

    def agent_options(self) -> dict[str, Any]:
        """Return further arguments for `build_agent`, such as ``separate_critic``."""
        return {}

    def build_reference(self, given: Agent | None) -> Reference | None:
        """Return what a KL is measured to, or None without one; here a given one is refused, as nothing measures it."""
        if given is not None:
            raise TokenGymError(f"reference is given, and {self.name} measures no KL to one; leave it out")
        return None

    @property
    def policy(self) -> Policy:
        """Who acts with what was learnt: what is evaluated and watched; by default the agent's own distribution."""
        return AgentPolicy(self.agent)

    @abstractmethod
    def next_batch(self) -> Any:
        """Return what the next update learns from: collected, drawn or read."""

    @abstractmethod
    def update(self, batch: Any) -> dict[str, float]:
        """Learn from what `next_batch` returned and return the metrics."""

    def reduce(self, sums: Sequence[Tensor]) -> None:
        """Add up, in place, what all workers that share a step contribute to sums over its batch; alone, nothing."""
        return None

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (named tensors or arrays, JSON-able data) that a checkpoint must hold for this algorithm."""
        return {}, {}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        return None

    # Shared parts of updates -----------------------------------------------------------------------------------------

    @property
    def spent(self) -> int:
        """What has been spent of the budget: agent tokens asked of environments, whoever asked; or updates."""
        return self.num_updates if self.config.budget == "updates" else self.num_timesteps

    @property
    def num_tokens(self) -> int:
        """Agent tokens that have been asked of environments or read, which is what a speed is of."""
        return self.num_timesteps

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 … 1; what schedules run over."""
        return min(self.spent / self.total_timesteps, 1.0) if self.total_timesteps else 0.0

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate at the start: the config's, or what suits the agent's kind of model."""
        rate = self.config.learning_rate
        if isinstance(rate, Schedule):
            return rate.start
        return self.agent.learning_rate if rate is None else rate

    @property
    def learning_rate(self) -> float:
        """The learning rate at the present `progress`."""
        return self.config.learning_rate_at(self.progress, usual=self.agent.learning_rate)

    def scheduled(self, coefficient: float | Schedule) -> float:
        """Return a coefficient of the config at the present `progress`; a number is itself."""
        return value_at(coefficient, self.progress)

    def optimise(self, parts: Iterable[Loss]) -> Step:
        """Take one step of the optimiser on the sum of the losses of ``parts``.

        Give a generator: each part's gradient is taken before the next part is asked for, so that the memory of one is
        needed at a time. Weights are those of the whole batch, so the sum of the gradients is the gradient of the
        batch, however it was cut.

        Raises:
            DivergedError: a loss or a gradient is not finite; names the first of what the loss says it was made of
                (`Loss.named`), the loss, or the parameter. The weights are those before the step.
        """
        self.optimizer.zero_grad(set_to_none=True)
        terms, tokens = accumulate(parts, self.num_updates, getattr(self.optimizer, "gather", None))
        self.reduce([p.grad for p in self.parameters if p.grad is not None])
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        if not torch.isfinite(norm):
            gradients = named_gradients(self.agent, self.parameters)
            raise DivergedError(first_nonfinite(gradients), self.num_updates)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        self.optimizer.step()
        return Step(float(norm), terms, tokens)

    # Learning --------------------------------------------------------------------------------------------------------

    @checked
    def learn(
        self,
        total_timesteps: Total,
        callback: Callbacks = None,
        progress_bar: bool = False,
        log_dir: str | Path | None = None,
        tensorboard: bool = True,
    ) -> Self:
        """Update until ``total_timesteps`` of the budget have been spent in this algorithm's life.

        The budget is in agent tokens said, or in updates where nothing is played (``config.budget`` says which). The
        count goes on where an earlier call or a loaded checkpoint left it, and schedules run over the total: to train
        2N tokens in two halves, call ``learn(2 * N)`` both times and stop the first by a callback.

        Args:
            total_timesteps: the budget in all, above 0; the last collection may run a little over.
            callback: one `Callback` or a list of them; `on_update` returning False stops.
            progress_bar: show what is spent, return, KL, entropy and tokens per second.
            log_dir: where to write ``metrics.jsonl``, ``timings.jsonl`` and TensorBoard events, at most 10,000 rows of
                each; None writes nothing.
            tensorboard: whether ``log_dir`` gets TensorBoard events, too.

        Raises:
            TokenGymError: a bad total, or a callback of Stable-Baselines3.
            DivergedError: a loss or gradient, or a reward, is not finite.
        """
        callbacks = self.callbacks = as_callback(callback)
        load_callback_states(callbacks, self.waiting_states)
        self.total_timesteps = total_timesteps
        warn_of_budget(self.name, self.config, self.spent, total_timesteps)
        with RunLogger(log_dir, self, progress_bar, tensorboard) as logger:
            callbacks.on_start(self)
            while self.spent < self.total_timesteps and not self.finished():
                started = time.perf_counter()
                before = self.num_tokens
                with naming_the_update(self):
                    batch = self.next_batch()
                    collected = time.perf_counter()
                    metrics = {**self.received(batch), **self.update(batch)}
                self.count_collected()
                self.num_updates += 1
                updated = time.perf_counter()
                tokens = self.num_tokens - before
                logger.log(self, metrics, tokens, rollout=collected - started, update=updated - collected)
                if callbacks.on_update(self, metrics) is False:
                    break
            callbacks.on_end(self)
        return self

    def finished(self) -> str | None:
        """Return why learning ends before its budget is spent, or None: asked before each `next_batch`."""
        return None

    def received(self, batch: Any) -> dict[str, float]:
        """Note what `next_batch` returned before it is learnt from, and return metrics of it."""
        return {}

    def count_collected(self) -> int:
        """Add what has been asked of environments since the last look to the counters; here nothing ever is."""
        return 0

    @checked
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Choose actions for one observation or a batch of them, as Stable-Baselines3 has it; see `Agent.predict`."""
        policy = self.policy
        acting = policy if isinstance(policy, AgentPolicy) else self.agent
        return acting.predict(observation, state, episode_start, deterministic)

    # Saving ----------------------------------------------------------------------------------------------------------

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (named tensors, JSON-able data) that a checkpoint must hold for all algorithms of this kind."""
        return {}, {}

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `shared_state` returned, out of all that a checkpoint holds."""
        return None

    @classmethod
    def saved_arguments(cls, tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be given to the constructor besides agent, config, seed and reference, of a checkpoint."""
        return {}

    @checked
    def save(self, path: str | Path) -> None:
        """Write everything that going on needs to a sealed checkpoint folder; see `algorithms.checkpoint`.

        Call it between updates: before or after `learn`, or from a callback.

        Raises:
            TokenGymError: something that is not a checkpoint is already at ``path``.
        """
        tensors, data = saving.state_of(self)
        if self.name in ALGORITHMS:
            data["algorithm"] = ALGORITHMS.qualified(self.name)
        checkpoint.write(path, tensors, data)

    @classmethod
    @checked
    def load(
        cls,
        path: str | Path,
        env: Any = None,
        device: str | torch.device = "cpu",
        *,
        allow_imports: AllowImports = False,
        **arguments: Any,
    ) -> Self:
        """Read an algorithm back, ready to go on exactly as if it had not been interrupted.

        Args:
            path: a checkpoint, or a folder of checkpoints or of a run, of which the newest whole one is taken.
            env: where to learn on; None makes the environment that it was saved with, if that had an id.
            device: where to put it.
            allow_imports: whether the checkpoint may import what it names, such as a reward ``"module:callable"``:
                this runs code of that module, so say True, or the modules' names, only where you trust who wrote it.
                A module of yours that your program has imported already may be named anyway.
            **arguments: arguments of the saved environment that no file can hold, such as ``reward=`` a lambda.

        Raises:
            BrokenCheckpointError: the checkpoint is cut short or altered; names the file.
            TokenGymError: nothing there, another algorithm's checkpoint, no environment to be had, or one that would
                import what is not allowed.
        """
        tensors, data = checkpoint.read(path)
        with saving.complete(data):
            saving.check_kind(cls, data)
            env = saving.saved_task(data, env, path, allow_imports, arguments)
            with untrusted(f"the checkpoint {path}", allow_imports):
                return saving.rebuild(cls, tensors, data, env, device)
