"""Every public constructor and function that takes plain values refuses wrong ones at its door, and names them."""

import importlib
import inspect
import math
import pkgutil
import types
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import pytest

import tokengym
from tokengym import make_task
from tokengym.agents import RandomPlayer, Sampler
from tokengym.agents.policies import Policy
from tokengym.algorithms import ALGORITHMS, DQN, PPO
from tokengym.algorithms.sb3.algorithm import SB3Algorithm
from tokengym.envs.checking.arguments import checked, checked_functions, hints_of
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.checking.fields import Range, check_value
from tokengym.envs.finite.task import FiniteTask
from tokengym.envs.task import Task
from tokengym.experiments import evaluate_agent, statistics
from tokengym.experiments.statistics import interquartile_mean, mean_difference, stratified_bootstrap, summarise

_PACKAGES = (tokengym.agents, tokengym.algorithms, tokengym.experiments)

for package in _PACKAGES:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

NOT_A_VALUE: list[Any] = [object(), b"1", 1j, {"value": 1}, [object()], (None,)]
WRONG = {
    int: [True, np.True_, 1.5, "3", "", math.nan, math.inf, 2**64, 10**400, [1]],
    float: [True, "0.5", "", math.nan, -math.inf, 10**400, [0.5]],
    bool: [0, 1, 0.0, "false", "", np.int64(1), [True]],
    str: [3, True, ["x"]],
    Path: [3, True, "", "a\0b", ["x"]],
}


def taken_apart(annotation: Any) -> list[tuple[Any, list[Range]]]:
    """The plain types that an annotation allows, each with its ranges."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for one in get_args(annotation) for part in taken_apart(one)]
    if get_origin(annotation) is Annotated:
        plain, *metadata = get_args(annotation)
        return [(kind, [one for one in metadata if isinstance(one, Range)]) for kind, _ in taken_apart(plain)]
    return [(annotation, [])]


def wrong_values(annotation: Any) -> list[Any]:
    """Values that an annotation does not allow; none where it allows anything, or more than plain values."""
    parts = taken_apart(annotation)
    kinds = {get_origin(kind) or kind for kind, _ in parts} - {type(None)}
    if Path in kinds:
        kinds -= {str}
    if len(kinds) != 1 or not kinds <= {*WRONG, Literal}:
        return []
    (kind,) = kinds
    wrong = [*NOT_A_VALUE, *WRONG.get(kind, ["", "no such choice", 1, True])]
    if not any(plain is type(None) for plain, _ in parts):
        wrong.append(None)
    for bounds in [one for _, ranges in parts for one in ranges]:
        wrong += [] if bounds.below is None else [bounds.below]
        wrong += [-1 if bounds.least is None else bounds.least - 1] if bounds.above is None else [bounds.above]
        wrong += [] if bounds.most is None else [bounds.most + 1]
        if bounds.whole_floats:
            wrong.append(1e300)
    return wrong


def plain_parameters(function: Callable[..., Any]) -> list[str]:
    hints = hints_of(function)
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and wrong_values(hints.get(parameter.name, Any))
    ]


def right_value(annotation: Any) -> Any:
    """Something that an annotation allows; the function never sees it, as another argument is wrong."""
    kind, ranges = taken_apart(annotation)[0]
    origin = get_origin(kind) or kind
    if kind in (int, float):
        return kind(next((one.least for one in ranges if one.least is not None), 1))
    if kind in (Task, FiniteTask):
        return make_task("Copy")
    if kind is Policy:
        return RandomPlayer(make_task("Copy").vocabulary)
    if origin is Callable:
        return len
    plain = {str: "x", bool: True, Path: Path("x"), tuple: (), list: [], Sequence: [], dict: {}, np.ndarray: None}
    if origin in plain:
        return plain[origin]
    if origin is Literal:
        return get_args(kind)[0]
    return kind.__new__(kind) if inspect.isclass(kind) and kind is not Any else None


DOORS = {f"{one.__module__.removeprefix('tokengym.')}:{one.__qualname__}": one for one in checked_functions()}
BATTERY = [(where, name) for where, one in DOORS.items() for name in plain_parameters(one)]
ELSEWHERE = {
    "agents.agent:Agent.__init__": "build_agent is its door",
    "agents.agent:Agent.score": "called for every minibatch",
    "agents.sampling:Sampler.sample": "called for every token, by what was checked",
    "agents.sampling:Sampler.draw": "called for every token, by what was checked",
    "agents.policies.players:ExpertPlayer.act": "called for every token",
    "agents.policies.of_agents:AgentPolicy.act": "called for every token",
    "agents.policies.of_agents:AgentPolicy.choose": "called for every token, by act",
    "agents.policies.of_agents:MaskedPolicy.act": "called for every token",
    "agents.policies.policy:Policy.act": "called for every token",
    "agents.policies.beside:ReferenceExploring.act": "called for every token",
    "agents.policies.nucleus:NucleusPolicy.act": "called for every token",
    "agents.policies.turns:BestOfN.act": "called by the loop that plays",
    "agents.policies.turns:ExternalPolicy.act": "called by the loop that plays",
    "algorithms.configs.schedule:Schedule.at": "called at every update, by what was checked",
    "algorithms.learner:Learner.predict": "a protocol",
    "algorithms.learner:Learner.save": "a protocol",
    "algorithms.learner:Learner.load": "a protocol",
    "algorithms.off_policy.base:OffPolicy.move_target": "called by update alone",
    "algorithms.online:Online.warn_where_tied": "called by updates alone",
    "algorithms.off_policy.path_consistency:PathConsistency.move_target": "called by update alone",
    "algorithms.offline.base:Offline.read_data": "called by the constructor, with the configuration's path",
    "algorithms.registry:register_algorithm": "checked by the registry that it enters",
    "experiments.statistics:rounded": "called for every cell of a table, with what was worked out",
}
"""Public, and checked in another way."""


@pytest.mark.parametrize(("where", "name"), BATTERY)
def test_a_wrong_argument_is_refused_by_name(where: str, name: str):
    function, hints = DOORS[where], hints_of(DOORS[where])
    others = {
        parameter.name: right_value(hints.get(parameter.name, Any))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    for value in wrong_values(hints[name]):
        with pytest.raises(TokenGymError, match=rf"^{name}(\[.*\])? is .*; expected "):
            function(**{**others, name: value})


def public_functions() -> dict[str, Callable[..., Any]]:
    """The public functions, constructors and methods of the faces and of the statistics; records are no doors."""
    faces = [getattr(package, name) for package in _PACKAGES for name in package.__all__]
    found: list[Any] = []
    for one in [*faces, SB3Algorithm, *vars(statistics).values()]:
        if inspect.isclass(one) and one.__module__.startswith(tuple(package.__name__ for package in _PACKAGES)):
            members = [getattr(value, "__func__", value) for value in vars(one).values()]
            found += [
                f for f in members if inspect.isfunction(f) and not (f.__name__ == "__init__" and is_dataclass(one))
            ]
        elif inspect.isfunction(one) and (one in faces or one.__module__ == statistics.__name__):
            found.append(one)
    return {
        f"{one.__module__.removeprefix('tokengym.')}:{one.__qualname__}": one
        for one in found
        if one.__name__ == "__init__" or not one.__name__.startswith("_")
    }


def test_no_public_function_is_forgotten():
    functions = {where: one for where, one in public_functions().items() if where not in DOORS}
    forgotten = {where: plain_parameters(one) for where, one in functions.items() if plain_parameters(one)}
    assert forgotten == {where: forgotten.get(where) for where in ELSEWHERE}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PPO("Copy", config={}), r"config is {}; expected a PPOConfig or None.*PPO\(env, learning_rate=…\)"),
        (lambda: PPO("Copy", config=DQN.Config()), "expected a PPOConfig"),  # type: ignore[arg-type]
        (lambda: PPO("Copy", config=PPO.Config), "expected a PPOConfig"),  # type: ignore[arg-type]
        (lambda: ALGORITHMS["sb3-ppo"]("Copy", config={}), "expected a SB3PPOConfig"),
        (lambda: PPO("Copy", device="foo"), "device is 'foo', which names none: take 'cpu'"),
        (lambda: PPO("Copy", device="meta"), "device is 'meta', which cannot be used"),
        (lambda: PPO("Copy", device="cuda:99"), "device is 'cuda:99', which cannot be used"),
        (lambda: PPO("Copy", device=0), "device is 0; expected a text or a device"),  # type: ignore[arg-type]
        (lambda: PPO("Copy", seed=2**63), "seed is 9223372036854775808; expected a whole number of at least 0"),
        (lambda: Sampler(2**64), "seed is 18446744073709551616"),
        (lambda: PPO("Copy", reference="initial"), "reference is 'initial'; expected None or an Agent"),  # type: ignore[arg-type]
    ],
)
def test_what_an_algorithm_is_made_of_is_checked_before_anything_is_built(make: Any, says: str):
    with pytest.raises(TokenGymError, match=says):
        make()


NO_SCORES: list[Any] = [3, "x", None, [], {}, [[]], [["a"]], [[True]], [[1j]], [[None]], [[math.nan]], [[math.inf]]]


@pytest.mark.parametrize(
    "scores", [*NO_SCORES, [0.1, 0.5], [[[0.1], [0.2]]], [[0.1, [0.2]]], np.zeros((2, 0))], ids=str
)
def test_what_are_no_scores_has_no_statistics(scores: Any):
    for statistic in (stratified_bootstrap, lambda given: mean_difference(given, given)):
        with pytest.raises(TokenGymError, match=r"score|first is"):
            statistic(scores)


@pytest.mark.parametrize("runs", NO_SCORES, ids=str)
def test_what_are_no_numbers_has_no_mean(runs: Any):
    for statistic in (interquartile_mean, summarise, statistics.mean, statistics.optimality_gap):
        with pytest.raises(TokenGymError, match="score"):
            statistic(runs)


def test_scores_may_be_lists_or_the_rows_of_an_array():
    rows = np.arange(8.0).reshape(2, 4)
    assert stratified_bootstrap(rows) == stratified_bootstrap(rows.tolist())


def test_a_player_and_an_observation_are_looked_at():
    agent = PPO("Copy", "gru-tiny").agent
    for player in (3, "random", None, PPO):
        with pytest.raises(TokenGymError, match=r"player is .*; expected an Agent"):
            evaluate_agent(player, "Copy")
    right = {"tokens": np.ones(4, np.int32), "length": np.array([2])}
    wrong: list[Any] = [3, None, "tokens", {}, {"tokens": [1]}, {**right, "tokens": "x"}, {**right, "tokens": [1.5, 2]}]
    for observation in [*wrong, {**right, "tokens": [[1, 2], [1]]}, {**right, "length": [1, 2]}]:
        with pytest.raises(TokenGymError, match="observation"):
            agent.predict(observation)
    with pytest.raises(TokenGymError, match=r"action_masks is .*; expected"):
        agent.predict(right, action_masks=[True])


def test_a_buffer_that_no_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tokengym.algorithms.sb3.algorithm.machine_memory", lambda: 2**20)
    with pytest.raises(TokenGymError, match=r"buffer_size is 1,000,000: .* take 0.1 GiB; .*: make it smaller"):
        ALGORITHMS["sb3-dqn"]("Copy", buffer_size=1_000_000)


def test_what_was_checked_is_plain_and_the_function_still_shows_its_parameters():
    @checked
    def doubled(count: int, *, by: float = 2.0) -> Any:
        return [count, by]

    assert [type(value) for value in doubled(np.int64(3), by=np.float32(2))] == [int, float]
    assert str(inspect.signature(doubled)) == "(count: int, *, by: float = 2.0) -> Any"
    with pytest.raises(TypeError, match="missing a required argument: 'count'"):
        doubled()  # type: ignore[call-arg]


def test_an_alias_is_what_it_stands_for():
    """NumPy 2.5 declares `ArrayLike` and `NDArray` by the statement ``type``."""
    aliases = pytest.importorskip("typing_extensions")
    element = TypeVar("element")
    share = aliases.TypeAliasType("share", Annotated[float, Range(least=0, most=1)] | None)
    array = aliases.TypeAliasType("array", np.ndarray[Any, np.dtype[element]], type_params=(element,))
    assert check_value("part", share, 0.5) == 0.5 and check_value("part", share, None) is None
    assert check_value("scores", array[np.float64] | None, [1.0]) == [1.0]
    with pytest.raises(TokenGymError, match="part is 2"):
        check_value("part", share, 2.0)
