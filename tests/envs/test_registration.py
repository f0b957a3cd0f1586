"""Names: every environment can be made by its id, and a wrong name gets a useful answer."""

import subprocess
import sys

import gymnasium
import pytest

import tokengym
from tokengym.envs import FAMILIES, TASKS, Entry, Task, TokenGymError, make_task
from tokengym.envs.registration import register_all
from tokengym.envs.scores import suite_scores

INSTALLED = [name for name, entry in TASKS.items() if not entry.missing]


@pytest.mark.parametrize("name", INSTALLED)
def test_every_name_makes_its_task(name):
    task = make_task(name)
    assert isinstance(task, Task)
    task.check()
    assert task.name == (TASKS[name].variant_of or name)
    assert task.family != Task.family
    assert task.spec == {"id": f"tokengym/{name}-v0", "kwargs": {}}


def test_ids_and_names_make_the_same_task():
    assert tokengym.list_ids() == [f"tokengym/{name}-v0" for name in TASKS]
    for name in ("Lattice", "tokengym/Lattice-v0", "tokengym:tokengym/Lattice-v0"):
        assert make_task(name).name == "Lattice"


def test_a_tasks_specification_makes_it_again():
    task = make_task("Lattice", num_steps=4, transforms=[{"name": "time_limit", "max_tokens": 3}])
    assert task.spec is not None
    again = make_task(task.spec["id"], **task.spec["kwargs"])
    assert again.spec == task.spec
    assert again.max_episode_tokens == task.max_episode_tokens == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_task("Latice"), "unknown environment 'Latice': did you mean 'Lattice'"),
        (lambda: make_task("tokengym/lattice-v0"), "did you mean 'Lattice'"),
        (lambda: make_task("tokengym/Copy-v1"), "'Copy' has no version 1: its id is tokengym/Copy-v0"),
        (lambda: make_task("zzzz"), "known: .*CartPole, .*Copy, "),
        (lambda: make_task("Lattice", num_step=3), "argument of environment 'Lattice'.*'num_step'.*'num_steps'"),
        (lambda: make_task("Lattice", transforms="time_limit"), "give a list of mappings"),
        (lambda: make_task("Lattice", transforms=[{"max_tokens": 3}]), "a mapping with a name"),
        (lambda: make_task("Lattice", transforms=[{"name": "timelimit"}]), "did you mean 'time_limit'"),
        (lambda: make_task("Lattice", transforms=[{"name": "time_limit"}]), "max_tokens"),
        (lambda: make_task("Lattice", transforms=3), "give a list of mappings"),
        (lambda: make_task("Lattice", num_steps=0), "num_steps"),
        (lambda: make_task("KLTree", instance_seed=-1), "instance_seed=-1 is negative"),
        (lambda: make_task("TokenBandit", reward_scale="much"), "reward_scale.*much"),
        (lambda: make_task("TextGeneration", stop=0), "stop.*0"),
        (lambda: make_task("CartPole", bounds=0), "bounds.*0"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(call, message):
    with pytest.raises(TokenGymError, match=message):
        call()


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    register_all()
    assert dict(gymnasium.registry) == before


def test_gymnasium_finds_the_environments_by_module_and_without_torch():
    code = (
        "import gymnasium, sys; gymnasium.make('tokengym:tokengym/Lattice-v0').reset(seed=0); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_thresholds_do_not_exceed_the_optimum():
    for name in INSTALLED:
        threshold = gymnasium.spec(f"tokengym/{name}-v0").reward_threshold
        optimum = make_task(name).optimal_return
        if threshold is not None and optimum is not None:
            assert threshold <= optimum


def test_a_variants_arguments_can_be_overridden_and_a_missing_dependency_is_named(monkeypatch):
    entry = Entry("control.lattice:Lattice", kwargs={"num_steps": 4, "max_position": 2}, variant_of="Lattice")
    monkeypatch.setitem(TASKS, "Lattice-short", entry)
    assert make_task("Lattice-short").max_episode_tokens == 4
    task = make_task("tokengym/Lattice-short-v0", num_steps=3)
    assert task.max_episode_tokens == 3 and task.spec == {"id": "tokengym/Lattice-short-v0", "kwargs": {"num_steps": 3}}
    monkeypatch.setitem(TASKS, "Far", Entry("far:Far", extra="far", modules=("a_module_nobody_has",)))
    with pytest.raises(TokenGymError, match=r"'Far' needs a_module_nobody_has.*pip install 'tokengym\[far\]'"):
        make_task("Far")


def test_variants_follow_their_base_in_the_catalogue():
    for family in FAMILIES.values():
        for name, entry in family.items():
            if entry.variant_of is not None:
                assert name.startswith(f"{entry.variant_of}-") and TASKS[entry.variant_of].variant_of is None
                assert TASKS[entry.variant_of].task == entry.task and entry.kwargs


def test_what_is_solved_has_a_threshold_between_random_and_optimal():
    for name, scores in suite_scores().items():
        threshold = TASKS[name].reward_threshold
        # Probe2's return is a coin flip whatever is said; the optima of the last two are those of what is inside by
        # default, and a threshold would stay when something else is put there.
        if scores.optimal is not None and name not in ("Probe2", "TextGeneration", "Gym"):
            assert threshold is not None and scores.random <= threshold <= scores.optimal, name
