"""Tasks of one's own: the module on the page runs as it stands, and is found by name, here and in other processes."""

import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence

import tokengym
from tokengym.envs import (
    FAMILIES,
    TASKS,
    Engine,
    FiniteTask,
    Initial,
    TokenEnv,
    TokenGymError,
    TokenTask,
    Transition,
    TurnResult,
    Vocabulary,
    make_task,
)
from tokengym.envs.exact.solver import solve

PAGE = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "your-own-task.md"
NAMES = ("Lamp", "Lamp-long", "Sum", "Guess", "Shout")


def page_module():
    """The blocks of the page that are no sessions, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return "\n\n".join(block for block in blocks if not block.startswith(">>>"))


@pytest.fixture(autouse=True)
def clean_registry():
    """Forgets afterwards what a test registered."""
    mappings = [FAMILIES, TASKS, gymnasium.registry, *FAMILIES.values()]
    before = [dict(mapping) for mapping in mappings]
    yield
    # In place: other modules hold on to these very objects.
    for mapping, entries in zip(mappings, before, strict=True):
        mapping.clear()
        mapping.update(entries)


@pytest.fixture
def my_tasks(tmp_path, monkeypatch):
    """The module of the page, importable as `my_tasks`."""
    (tmp_path / "my_tasks.py").write_text(page_module(), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_tasks", None)


def test_each_example_is_about_ten_lines():
    classes = re.findall(r"^(?:class|def) .*?(?=\n\n\n)", page_module(), flags=re.DOTALL | re.MULTILINE)
    assert len(classes) == 4
    for text in classes:
        code = [line for line in text.splitlines() if line.strip() and '"""' not in line]
        assert len(code) <= 14, text


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_an_environment_like_any_other(name, my_tasks):
    env_id = f"my_tasks:tokengym/{name}-v0"
    task = make_task(env_id)
    assert task.name == {"Shout": "TextGeneration"}.get(name, name)
    assert task.spec == {"id": env_id, "kwargs": {}}
    assert task.family == {"Shout": "text", "Guess": "games"}.get(name, "custom")
    assert f"tokengym/{name}-v0" in tokengym.list_ids()
    env = gymnasium.make(f"tokengym/{name}-v0")
    check_env(env.unwrapped)
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert data_equivalence(again.reset(seed=3), env.reset(seed=3), exact=True)
    envs = gymnasium.make_vec(f"tokengym/{name}-v0", num_envs=3)
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space


def test_the_finite_example_is_solved_and_its_variant_differs_in_its_steps(my_tasks):
    solution = solve(make_task("my_tasks:Lamp"))
    assert (solution.random_return, solution.optimal_return) == (1.5, 2.5)
    assert solve(make_task("Lamp-long")).optimal_return == 8.5
    assert make_task("Lamp-long", steps=2).spec == {"id": "my_tasks:tokengym/Lamp-long-v0", "kwargs": {"steps": 2}}


def test_the_token_example_pays_for_right_sums_alone(my_tasks):
    task = make_task("my_tasks:tokengym/Sum-v0")
    assert (task.max_episode_tokens, gymnasium.spec("tokengym/Sum-v0").reward_threshold) == (2, 0.95)
    engine = Engine(task, 50)
    engine.reset(None, np.arange(50))
    total = engine.tokens[:, 1] - 10
    said = np.stack([np.minimum(total, 9), total - np.minimum(total, 9)], axis=1)
    said[25:, 0] ^= 1
    result = engine.append(None, said, np.full(50, 2))
    assert result.rewards.tolist() == [1.0] * 25 + [0.0] * 25 and result.terminated.all()


def test_the_text_example_is_won_by_halving(my_tasks):
    task = make_task("my_tasks:tokengym/Guess-v0")
    engine = Engine(task, 1)
    for start in range(6):
        engine.reset(None, start)
        low, high, result = 1, 7, None
        while not engine.over[0]:
            guess = (low + high) // 2
            ids = task.unwrapped.encode(f"{guess}\n")
            result = engine.append(None, [ids], [len(ids)])
            said = task.render_tokens(engine.tokens[0, : engine.lengths[0]]).splitlines()[-1]
            low, high = (guess + 1, high) if said == "higher" else (low, guess - 1)
        assert result is not None and result.rewards[0] == 1.0


def test_the_reward_function_scores_its_variant_of_text_generation(my_tasks):
    task = make_task("my_tasks:tokengym/Shout-v0")
    engine = Engine(task, 2)
    engine.reset(None, 0)
    turns = [[*task.unwrapped.encode(text), task.vocabulary.eos] for text in ("SAYs", "sayS")]
    assert engine.append(None, turns, [5, 5]).rewards.tolist() == [0.75, 0.25]


def test_another_process_finds_an_environment_by_its_module(my_tasks):
    code = (
        "import gymnasium, tokengym; env = gymnasium.make('my_tasks:tokengym/Lamp-v0', steps=2); env.reset(seed=0); "
        "print(env.step(0)[4], tokengym.make_task('my_tasks:tokengym/Lamp-long-v0').max_episode_tokens)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=my_tasks, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "{} 9"


class Turns(TokenTask):
    """Two turns; the task answers each with the token that was said."""

    vocabulary = Vocabulary.of(["a", "b"])
    max_turns, max_length = 2, 6
    fields = {"count": np.int64}  # noqa: RUF012

    def begin(self, state, rows, random):
        state["count"][rows] = 0
        return np.ones((len(rows), 1), np.int64)

    def respond(self, state, rows, turn_tokens, counts, random):
        state["count"][rows] += 1
        return TurnResult(turn_tokens, state["count"][rows].astype(float))


def test_a_token_task_may_answer_with_plain_ids_and_ends_with_its_last_turn():
    engine = Engine(Turns(), 2)
    engine.reset(None, 0)
    first = engine.step(None, [0, 1])
    second = engine.step(None, [1, 1])
    assert (first.terminated.tolist(), second.terminated.tolist()) == ([False] * 2, [True] * 2)
    assert (first.rewards.tolist(), second.rewards.tolist()) == ([1.0] * 2, [2.0] * 2)
    assert engine.tokens[:, 1:].tolist() == [[1, 0, 0, 1, 1], [1, 1, 1, 1, 1]]
    engine.reset([0], [1])
    assert not engine.step([0], [0]).terminated[0]


def test_what_a_token_task_lacks_or_says_wrongly_is_named():
    class NoEnd(Turns):
        max_turns = None

    class Wrong(Turns):
        def begin(self, state, rows, random):
            return np.ones(len(rows))

    with pytest.raises(TokenGymError, match="set max_turns, or max_episode_tokens"):
        Engine(NoEnd(), 1)
    with pytest.raises(TokenGymError, match=r"integer ids of shape \(rows, tokens\), got float64"):
        Engine(Wrong(), 1).reset(None, 0)


def test_registering_again_from_the_same_module_replaces_and_another_modules_name_is_refused():
    tokengym.register_task("Mine", Turns, family="games")
    assert make_task("Mine").family == "games" and "Mine" in FAMILIES["games"]
    tokengym.register_task(
        "Mine", "tokengym.envs.tasks.diagnostics.tree:KLTree", kwargs={"depth": 2}, reward_threshold=0.5
    )
    assert make_task("Mine").max_episode_tokens == 2 and "Mine" not in FAMILIES["games"]
    assert gymnasium.spec("tokengym/Mine-v0").reward_threshold == 0.5
    with pytest.raises(TokenGymError, match=r"belongs to module 'test_own_tasks' already"):
        exec("import tokengym\ntokengym.register_task('Mine', 'a:B')", {"__name__": "elsewhere"})


def test_a_script_registers_for_its_own_process():
    exec(
        "import tokengym\nfrom tokengym.envs.tasks.diagnostics.tree import KLTree\n"
        "tokengym.register_task('Scripted', KLTree)",
        {"__name__": "__main__"},
    )
    task = make_task("Scripted")
    assert task.spec == {"id": "tokengym/Scripted-v0", "kwargs": {}} and task.name == "KLTree"


def test_a_registered_variant_starts_from_the_variants_arguments():
    tokengym.register_task("Tree", "KLTree", kwargs={"depth": 2})
    tokengym.register_task("Tree-wide", "Tree", kwargs={"num_tokens": 5})
    task = make_task("Tree-wide")
    assert (task.max_episode_tokens, task.vocabulary.num_actions) == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lamp", Turns), "give a capital first"),
        (("Lamp_x", Turns), "give a capital first"),
        ((3, Turns), "give a capital first"),
        (("Lattice", Turns), "belongs to the suite already"),
        (("Mine", Engine), "neither a Task class nor a function"),
        (("Mine", 3), "neither a Task class nor a function"),
        (("Mine", "a b:c"), "give 'module:Class'"),
        (("Mine", "Latice"), "did you mean 'Lattice'"),
        (("Mine", Turns, {"steps": 3}), "argument of task 'Mine'.*'steps'"),
    ],
)
def test_a_registration_that_cannot_work_is_refused(arguments, message):
    name, task, *kwargs = arguments
    with pytest.raises(TokenGymError, match=message):
        tokengym.register_task(name, task, kwargs=kwargs[0] if kwargs else None)
    assert "Mine" not in TASKS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:tokengym/Lamp-v0", "there is no module 'no_such_module' here: run from its folder"),
        ("my_tasks:tokengym/Lamb-v0", "unknown environment of module 'my_tasks' 'Lamb': did you mean 'Lamp'"),
        ("my_tasks:Lattice-v1", "unknown environment of module 'my_tasks'|has no version 1"),
    ],
)
def test_a_module_or_name_that_does_not_exist_is_named(name, message, my_tasks):
    with pytest.raises(TokenGymError, match=message):
        make_task(name)


def test_what_is_wrong_in_a_registered_module_or_class_is_told(tmp_path, monkeypatch):
    (tmp_path / "half_done.py").write_text("import nothing_of_the_kind\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TokenGymError, match="'half_done' cannot be imported: No module named 'nothing_of_the_kind'"):
        make_task("half_done:tokengym/Mine-v0")
    tokengym.register_task("Mine", "tokengym.envs.tasks.diagnostics.tree:Missing")
    with pytest.raises(TokenGymError, match="has no 'Missing'"):
        make_task("Mine")
    tokengym.register_task("Mine", lambda: 3)
    with pytest.raises(TokenGymError, match="made 3, which is no Task"):
        make_task("Mine")


class Walk(FiniteTask):
    """As many steps as it is told: an argument without a default."""

    vocabulary = Vocabulary.of(["stay", "go"])

    def __init__(self, steps):
        self.steps = steps

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(1.0, None if state + 1 == self.steps else state + 1, float(action))]


def test_what_was_registered_with_a_required_argument_is_made_everywhere():
    from tokengym.algorithms import PPO

    tokengym.register_task("Walk", Walk, kwargs={"steps": 3})
    assert make_task("Walk").max_episode_tokens == 3
    assert make_task("Walk", steps=5).max_episode_tokens == 5
    env = gymnasium.make("tokengym/Walk-v0")
    assert env.spec is not None
    for made in (env.unwrapped, gymnasium.make(EnvSpec.from_json(env.spec.to_json())).unwrapped):
        assert isinstance(made, TokenEnv) and made.task.max_episode_tokens == 3
    ppo = PPO("Walk", "table")
    assert ppo.task.max_episode_tokens == 3 and ppo.env_spec["kwargs"] == {}
    with pytest.raises(TokenGymError, match="unknown argument of environment 'Walk': 'step'"):
        make_task("Walk", step=3)
