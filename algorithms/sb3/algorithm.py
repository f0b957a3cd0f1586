"""Stable-Baselines3's own PPO, A2C and DQN as references, with the interface of this library's algorithms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from ...agents import build_agent, check_agent_spec
from ...agents.devices import usable_device
from ...agents.models import Trunk
from ...agents.specs import machine_memory
from ...envs import TokenGymError
from ...envs.checking import AllowImports, Seed, Total, checked
from ..configs import SB3A2CConfig, SB3Config, SB3DQNConfig, SB3PPOConfig
from ..constructors import Constructed
from ..parts import DivergedError, derive_seed, first_nonfinite, naming_the_update
from ..requirements import chosen_config, resolve_task, warn_of_budget
from ..runs import Callback, RunLogger, as_callback, checkpoint
from ..runs import state as saving
from .agent import SB3Agent
from .bridge import Bridge
from .env import SB3VecEnv
from .lent_generators import LentGenerators
from .policy import TokenExtractor, TrunkExtractor

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..configs import SB3A2COverrides, SB3DQNOverrides, SB3PPOOverrides


class SB3Algorithm(Constructed):
    """A `Learner`: an algorithm of Stable-Baselines3 on a token task, with same budget, callbacks and evaluation.

    It learns from transitions, so that every token encodes its whole prefix again. Its policy reads tokens with a small
    network of its own (``agent="mlp"``) or with the trunk of an agent. The library seeds and draws from the global
    random generators; they are lent to it while it works and given back as they were.

    Args:
        env: an environment id, a `TokenEnv`, a `TokenVectorEnv` or a `Task`.
        agent: "mlp" for `TokenExtractor`, or a specification for `build_agent`, whose trunk is then used; the table
            has none.
        config: the algorithm's `Config`; None takes the defaults.
        seed: seeds the weights, the episodes and every draw.
        device: where the networks live.
        **overrides: fields of the config to change.

    Attributes:
        model: the algorithm of Stable-Baselines3.
        agent: its policy with the face of an agent.

    Raises:
        TokenGymError: an unknown id, field or agent.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SB3Config]]
    heads: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    resumable: ClassVar[bool] = False
    learns_q: ClassVar[bool] = False
    """Whether it learns Qs from a replay, not a policy from what it has just said."""
    report_every: ClassVar[int] = 1
    """Tokens between two calls of the callbacks at least; they are called only between updates."""

    @checked
    def __init__(
        self,
        env: Any,
        agent: Any = "mlp",
        config: Any = None,
        *,
        seed: Seed = 0,
        device: str | torch.device = "cpu",
        **overrides: Any,
    ) -> None:
        self.config = cast(SB3Config, chosen_config(self, config, overrides))
        self.device = usable_device(device)
        self.task, self.env_spec = resolve_task(env)
        self.seed = seed
        if isinstance(agent, (str, Mapping)):
            check_agent_spec(agent, also=["mlp"])
        self.agent_spec = self.saved_agent = agent
        self.total_timesteps = 0
        self.num_updates = 0
        self.num_episodes = 0
        self._only_weights = False
        self._generators = LentGenerators()
        model_class = self.model_class()
        self._check_memory()
        with self._generators:
            self.model = model_class(
                "MultiInputPolicy",
                SB3VecEnv(self.task, self.config.num_envs),
                policy_kwargs={**self._policy_arguments(), **self.config.policy_arguments()},
                seed=derive_seed(seed, "sb3") % 2**32,
                device=self.device,
                **self.config.arguments(),
            )
        # Without one, each `learn` leaves an empty folder among the temporary ones.
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.agent = SB3Agent(
            self.model,
            self.task.vocabulary,
            self.task.max_length,
            seed=derive_seed(seed, "sb3-predict"),
            learns_q=self.learns_q,
        )

    @classmethod
    def model_class(cls) -> Any:
        """Return the library's class.

        Raises:
            TokenGymError: it belongs to an extra that is not installed.
        """
        raise NotImplementedError

    @property
    def num_timesteps(self) -> int:
        """Agent tokens said so far."""
        return self.model.num_timesteps

    @property
    def spent(self) -> int:
        """What has been spent of the budget: agent tokens."""
        return self.num_timesteps

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 … 1."""
        return min(self.num_timesteps / self.total_timesteps, 1.0) if self.total_timesteps else 0.0

    def finished(self) -> str | None:
        """Return why learning ends before its budget is spent: it never does."""
        return None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy by way of pickling: the library keeps tensors with their graph, which `copy.deepcopy` itself refuses."""
        return saving.copied_by_pickling(self)

    @checked
    def learn(
        self,
        total_timesteps: Total,
        callback: Callback | BaseCallback | Sequence[Callback | BaseCallback] | None = None,
        progress_bar: bool = False,
        log_dir: str | Path | None = None,
        tensorboard: bool = True,
    ) -> SB3Algorithm:
        """Learn until ``total_timesteps`` agent tokens have been said in all; see `Algorithm.learn`.

        Args:
            total_timesteps: agent tokens in all; the last collection may run over it by less than its size.
            callback: callbacks of this library (`on_episodes` is not called: there are transitions, no episodes) or
                of Stable-Baselines3.
            progress_bar: show tokens, return and tokens per second.
            log_dir: where to write metrics; None writes nothing.
            tensorboard: whether ``log_dir`` gets TensorBoard events, too.

        Raises:
            TokenGymError: a bad total or callback.
            DivergedError: a reward is not finite, or the library's weights no longer are.
        """
        given: list[Any] = list(callback) if isinstance(callback, Sequence) else [callback]
        theirs = [one for one in given if isinstance(one, BaseCallback)]
        ours = as_callback([one for one in given if one is not None and not isinstance(one, BaseCallback)])
        self.total_timesteps = total_timesteps
        warn_of_budget(self.name, self.config, self.spent, total_timesteps)
        remaining = self.total_timesteps - self.num_timesteps
        with RunLogger(log_dir, self, progress_bar, tensorboard) as logger:
            ours.on_start(self)
            if remaining > 0:
                if self._only_weights:
                    raise TokenGymError(
                        f"{self.name} was loaded from a checkpoint, which holds no optimiser, replay or generators of "
                        "Stable-Baselines3; it can predict and be evaluated. Train a new one from the start."
                    )
                bridge = Bridge(self, ours, logger)
                with naming_the_update(self), self._naming_weights(), self._generators, self._kernels():
                    self.model.learn(
                        remaining,
                        callback=[bridge, *theirs],
                        log_interval=None,  # type: ignore[arg-type] # never, so that all metrics can still be read
                        reset_num_timesteps=self.num_timesteps == 0,
                        **self._learn_arguments(),
                    )
            ours.on_end(self)
        return self

    @checked
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Choose actions for one observation or a batch of them; see `Player.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)

    @checked
    def save(self, path: str | Path) -> None:
        """Write the weights to a sealed checkpoint folder, for predicting and evaluating.

        Raises:
            TokenGymError: something that is not a checkpoint is already at ``path``.
        """
        counters = {name: getattr(self, name) for name in saving.COUNTERS}
        data = {
            "algorithm": self.name,
            "config": self.config.to_dict(),
            "env": self.env_spec,
            "seed": self.seed,
            "agent": self.saved_agent,
            "counters": counters,
            "epsilon": self.agent.epsilon,
        }
        checkpoint.write(path, dict(self.model.policy.state_dict()), data)

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
        """Read the weights back into an algorithm that can predict and be evaluated, not go on learning.

        Takes and raises what `Algorithm.load` does.
        """
        tensors, data = checkpoint.read(path)
        with saving.complete(data):
            saving.check_kind(cls, data)
            config = cls.Config.restored(data["config"])
            env = saving.saved_task(data, env, path, allow_imports, arguments)
            algorithm = cls(env, data["agent"], config, seed=data["seed"], device=device)
            algorithm.env_spec = data["env"]
            algorithm.model.policy.load_state_dict(tensors)
            if algorithm.learns_q:
                algorithm.model.exploration_rate = data["epsilon"]
            for name in saving.COUNTERS:
                holder = algorithm.model if name == "num_timesteps" else algorithm
                setattr(holder, name, data["counters"][name])
        algorithm._only_weights = True
        return algorithm

    def _learn_arguments(self) -> dict[str, Any]:
        """Return what the library's `learn` takes beside what all of them take."""
        return {}

    def _kernels(self) -> AbstractContextManager[Any]:
        """Return what chooses torch's kernels while it learns: nothing does."""
        return nullcontext()

    @contextmanager
    def _naming_weights(self) -> Iterator[None]:
        """Name the first weight that is not finite, where the library finds its distributions to be none."""
        try:
            yield
        except ValueError as error:
            weights = dict(self.model.policy.named_parameters())
            if all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
                raise
            remedy = "The library has changed them: train anew with a lower learning rate or max_grad_norm."
            raise DivergedError(first_nonfinite(weights), self.num_updates, remedy, kept=False) from error

    def _check_memory(self) -> None:
        """Refuse a buffer that no memory holds: the library would end with a MemoryError, or be killed later on."""
        needed = self.config.transitions * 2 * (4 * self.task.max_length + 4)
        there = machine_memory()
        if needed > there:
            field = "buffer_size" if self.learns_q else "n_steps"
            raise TokenGymError(
                f"{field} is {getattr(self.config, field):,}: {self.config.transitions:,} transitions of two "
                f"observations of {self.task.max_length:,} tokens take {needed / 2**30:,.1f} GiB; this machine has "
                f"{there / 2**30:,.1f} GiB: make it smaller."
            )

    def _policy_arguments(self) -> dict[str, Any]:
        if self.agent_spec == "mlp":
            return {"features_extractor_class": TokenExtractor, "net_arch": [64]}
        arguments = {
            "features_extractor_class": TrunkExtractor,
            "features_extractor_kwargs": {"make_trunk": self._make_trunk},
            "net_arch": [],
        }
        # An orthogonal start is right for small tanh networks and wrong for a model that has its own.
        return arguments if self.learns_q else {**arguments, "ortho_init": False}

    def _make_trunk(self) -> Trunk:
        agent = build_agent(
            self.agent_spec,
            self.task.vocabulary,
            self.task.max_length,
            heads=("policy",),
            seed=derive_seed(self.seed, "agent"),
            device=self.device,
        )
        self.saved_agent = agent.config()["spec"]  # what a checkpoint can hold, whatever was given
        return agent.trunk


class SB3PPO(SB3Algorithm):
    """PPO of Stable-Baselines3."""

    name = "sb3-ppo"
    Config = SB3PPOConfig

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp",
            config: SB3PPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            **overrides: Unpack[SB3PPOOverrides],
        ) -> None: ...

    @classmethod
    def model_class(cls) -> type[PPO]:
        """Return Stable-Baselines3's class."""
        return PPO


class SB3A2C(SB3Algorithm):
    """A2C of Stable-Baselines3."""

    name = "sb3-a2c"
    Config = SB3A2CConfig

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp",
            config: SB3A2CConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            **overrides: Unpack[SB3A2COverrides],
        ) -> None: ...

    @classmethod
    def model_class(cls) -> type[A2C]:
        """Return Stable-Baselines3's class."""
        return A2C


class SB3DQN(SB3Algorithm):
    """DQN of Stable-Baselines3."""

    name = "sb3-dqn"
    Config = SB3DQNConfig
    learns_q = True
    report_every = 512

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp",
            config: SB3DQNConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            **overrides: Unpack[SB3DQNOverrides],
        ) -> None: ...

    @classmethod
    def model_class(cls) -> type[DQN]:
        """Return Stable-Baselines3's class."""
        return DQN
