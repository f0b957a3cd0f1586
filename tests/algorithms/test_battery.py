"""What holds for every algorithm: each option runs and does something, seeds, resuming, masks, half precision."""

import dataclasses
import functools
import re

import numpy as np
import pytest
import torch
from battery_cases import ANY, ELSEWHERE, IDLE, OF, QUICK, SMALL

from tokengym.algorithms import ALGORITHMS, Callback, EpisodeDataset, StopAfter, load_algorithm
from tokengym.algorithms.data import PreferenceDataset, PreferencePairs
from tokengym.algorithms.offline import record
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments.zoo.pages import PAGES, page_of

# The collections here are so small that all their groups may be tied.
pytestmark = pytest.mark.filterwarnings("ignore:.*within every one of the .*groups")

OURS = [name for name in ALGORITHMS.built_in if not name.startswith("sb3-")]


def of_any_task(name):
    """Whether it learns from replies that are drawn, and from turns that are sequences of their own."""
    return "deterministic" not in ALGORITHMS[name].requires


@functools.cache
def task_of(env):
    """A task by name; "credited" is one whose reward is told token by token when a turn ends."""
    if env == "credited":
        return make_task("TextGeneration", reward=credits)
    return make_task(env)


def credits(prompts, completions, completion_ids, **columns):
    """Something for each token, known when the turn ends."""
    return [[float(token % 5) for token in ids] for ids in completion_ids]


def fields_of(name):
    return [field.name for field in dataclasses.fields(ALGORITHMS.config(name))]


def counted_in_updates(name):
    return ALGORITHMS.config(name).budget == "updates"


def made(name, env="LengthBias", agent="mlp-tiny", **given):
    """An algorithm of small sizes."""
    known = fields_of(name)
    usual = {key: value for key, value in QUICK.items() if key in known}
    if "data" in given or "dataset" in given:
        for key in ("demonstrations", "labels", "reference_samples"):
            usual.pop(key, None)
    if env == "credited" and "player" in known:
        usual["player"] = "random"
    return ALGORITHMS[name](task_of(env), agent, seed=0, **{**usual, **given})


def learnt(name, **given):
    algorithm = made(name, **given)
    return algorithm.learn(budget_of(name))


def budget_of(name):
    if counted_in_updates(name):
        return 3
    return 180 if "branches" in fields_of(name) else 60


def bits(algorithm):
    return torch.cat([parameter.detach().flatten() for parameter in algorithm.agent.parameters()])


def told(algorithm):
    """What two runs are told apart by."""
    return algorithm.num_updates, algorithm.num_timesteps, hash(bits(algorithm).numpy().tobytes())


def some_data(name, folder):
    """A file of what an algorithm learns from."""
    task = task_of("LengthBias")
    ranked = "reference_samples" in fields_of(name)  # among others of their start
    episodes, _ = record(task, made("ppo").agent, 12, 3, group_size=4 if ranked else 1)
    path = folder / "data.safetensors"
    if "labels" in fields_of(name):
        pairs = PreferencePairs([0, 1, 2, 3], [4, 5, 6, 7])
        PreferenceDataset(episodes, task.vocabulary, pairs).save(path)
    else:
        EpisodeDataset(episodes, task.vocabulary).save(path)
    return str(path)


@pytest.mark.filterwarnings("ignore:filtered-bc. all .* have the return")  # too few and too alike to choose
@pytest.mark.parametrize("name", OURS)
def test_every_field_is_tried_by_itself_and_does_something(name, tmp_path):
    cases = {field: OF.get(name, {}).get(field) or ANY.get(field) for field in fields_of(name)}
    forgotten = [field for field, case in cases.items() if case is None and field not in ELSEWHERE]
    assert not forgotten, "give them a case in battery_cases.py"
    usual, idle = {}, []
    for field, case in cases.items():
        if case is None:
            continue
        if field in IDLE.get(name, ()):
            with pytest.raises(TokenGymError, match=f"{field} is .* since it does nothing"):
                made(name, **{field: case.value})
            continue
        beside = {key: value for key, value in case.beside.items() if key in fields_of(name)}
        given = {"env": case.env, "agent": case.agent, **beside}
        changed = {**given, field: case.value}
        for options in (given, changed):
            if options.get("data") == "file":
                options["data"] = some_data(name, tmp_path)
        key = repr(given)
        if case.changes and key not in usual:
            usual[key] = told(learnt(name, **given))
        with_it = learnt(name, **changed)
        assert torch.isfinite(bits(with_it)).all(), field
        if case.changes and told(with_it) == usual[key]:
            idle.append(field)
    assert not idle, "they change nothing"


class Names(Callback):
    """The names of all metrics of a run."""

    def __init__(self):
        self.seen = set()

    def on_update(self, algorithm, metrics):
        self.seen.update(metrics)


def told_of(page):
    """The section of a page that tells of metrics, and those whose metrics it says that it has, too."""
    sections, waiting = {}, [page]
    while waiting:
        name = waiting.pop()
        if name not in sections:
            text = (PAGES / f"{name}.md").read_text(encoding="utf-8").partition("\n## Logged metrics\n")[2]
            sections[name] = text.partition("\n<!-- Below")[0].partition("\n## ")[0]
            # "`task/*` are those of [PPO]" takes that family alone, which is named where it is said.
            waiting += re.findall(r"(?:Those|others are those) of \[[^]]+\]\(([\w-]+)\.md#", sections[name])
    return "\n".join(sections.values())


@pytest.mark.parametrize("name", OURS)
def test_every_metric_that_a_run_logs_is_on_its_page(name):
    asked = {"kl_coef": 0.5, "group_size": 4, "replay_capacity": 32, "replay_share": 0.5}
    known = {key: value for key, value in asked.items() if key in set(fields_of(name)) - set(IDLE.get(name, ()))}
    names = Names()
    made(name, **known).learn(budget_of(name), callback=names)  # LengthBias reports columns of its own, too
    text = told_of(page_of(name))
    families = set(re.findall(r"`(\w+/)\*`", text))
    assert names.seen
    unknown = {one for one in names.seen if f"`{one}`" not in text and one.partition("/")[0] + "/" not in families}
    assert not sorted(unknown)


@pytest.mark.parametrize("name", OURS)
def test_equal_seeds_are_equal_and_a_resumed_run_goes_on_to_the_same_bits(name, tmp_path):
    through, again = learnt(name, agent=SMALL), learnt(name, agent=SMALL)
    assert told(through) == told(again)
    half, budget = (1, 3) if counted_in_updates(name) else (24, budget_of(name))
    halfway = made(name, agent=SMALL).learn(budget, callback=StopAfter(half))
    assert told(halfway) != told(through)
    halfway.save(tmp_path / "half")
    assert told(load_algorithm(tmp_path / "half").learn(budget)) == told(through)


@pytest.mark.filterwarnings("ignore:filtered-bc. all .* have the return")  # too few and too alike to choose
@pytest.mark.parametrize(
    ("name", "env"),
    [(name, env) for name in OURS for env in ("Countdown", "Nim") if env == "Countdown" or of_any_task(name)],
)
def test_masks_are_never_violated(name, env):
    given = {"player": "random"} if "player" in fields_of(name) else {}
    seen = []
    algorithm = made(name, env=env, action_masks=True, **given)
    if hasattr(algorithm, "collector"):
        collect = algorithm.collector.collect

        def watched(*args, **kwargs):
            seen.append(collect(*args, **kwargs))
            return seen[-1]

        algorithm.collector.collect = watched
    algorithm.learn(budget_of(name))
    seen.append(record(task_of(env), algorithm, 24, 1, action_masks=True)[0])
    for episodes in seen:
        legal = episodes.action_masks.unpack().numpy()
        assert legal[np.arange(len(episodes.flat)), episodes.flat.action].all()
        assert not legal.all(), "there is something to violate"


@pytest.mark.parametrize("name", OURS)
def test_it_learns_in_bfloat16_with_finite_float32_copies(name):
    algorithm = made(name, agent=SMALL, dtype="bfloat16")
    start = [parameter.detach().clone() for parameter in algorithm.parameters]
    algorithm.learn(budget_of(name))
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in algorithm.parameters)
    assert any(not torch.equal(one, other) for one, other in zip(start, algorithm.parameters, strict=True))
    assert algorithm.agent.dtype == torch.bfloat16
    weights = [weight for weight in algorithm.agent.parameters() if weight.requires_grad]
    for weight, master in zip(weights, algorithm.parameters, strict=True):
        assert torch.equal(weight, master.to(weight.dtype))


@pytest.mark.parametrize("name", OURS)
def test_cutting_a_batch_changes_nothing_that_is_learnt(name):
    found = []
    for limit in (None, 3 * task_of("KeywordCover").max_length):
        algorithm = made(name, env="KeywordCover", agent=SMALL, dtype="float64", micro_batch_tokens=limit)
        algorithm.learn(2 if counted_in_updates(name) else 64)
        found.append(bits(algorithm))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-7)
    assert not torch.equal(found[0], bits(made(name, env="KeywordCover", agent=SMALL, dtype="float64")))
