"""What a checkpoint names is not imported unless the user allows it."""

import json
import sys
from types import ModuleType

import pytest

from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.registry import load_algorithm
from tokengym.algorithms.runs import checkpoint
from tokengym.envs.checking.entry_points import load_entry_point, untrusted
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.registration import make_task
from tokengym.experiments.commands.main import main

REWARD = "ran = []\ndef reward(completions, **_):\n    ran.append(1)\n    return [1.0] * len(completions)\n"
TABLE = {"kind": "table", "capacity": 64}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint on text, as it should be."""
    folder = tmp_path_factory.mktemp("whole")
    PPO("TextGeneration", TABLE, num_rows=2, rollout_tokens=8).save(folder / "checkpoint")
    return folder / "checkpoint"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's own that can be imported and was not yet."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "my_untrusted_rewards.py").write_text(REWARD)
    monkeypatch.syspath_prepend(tmp_path / "own")
    yield "my_untrusted_rewards"
    sys.modules.pop("my_untrusted_rewards", None)


def altered(whole, tmp_path, env):
    """The checkpoint with another environment in its state, sealed again as an attacker would."""
    tensors, data = checkpoint.read(whole)
    checkpoint.write(tmp_path / "altered", tensors, data | {"env": env})
    return tmp_path / "altered"


def generation(**kwargs):
    return {"id": "tokengym/TextGeneration-v0", "kwargs": kwargs}


def touching(path):
    return {"entry_point": "subprocess:getoutput", "kwargs": {"cmd": f"touch {path}"}}


MARK = "MARK"
NAMED = {
    "reward": (generation(reward=touching(MARK)), "subprocess:getoutput"),
    "reward in a list": (generation(reward=[{"name": "length", "target": 3}, touching(MARK)]), "subprocess:getoutput"),
    "reward in a weighted sum": (
        generation(reward={"name": "weighted_sum", "terms": [{"weight": 1.0, "reward": touching(MARK)}]}),
        "subprocess:getoutput",
    ),
    "reward as a string": (generation(reward="os:system"), "os:system"),
    "through a module of ours": (
        generation(reward="tokengym.envs.tasks.games.opponents:os.system"),
        "opponents:os.system",
    ),
    "through the command line": (
        generation(
            reward={"entry_point": "tokengym.experiments.commands.main:main", "kwargs": {"arguments": ["list"]}}
        ),
        "tokengym.experiments.commands.main:main",
    ),
    "through a rule's module": (generation(reward="tokengym.envs.rewards.rules:re.compile"), "re.compile"),
    "module before the id": ({"id": "antigravity:tokengym/X-v0", "kwargs": {}}, "antigravity:tokengym/X-v0"),
    "inner environment": (
        {"id": "tokengym/Gym-v0", "kwargs": {"env_id": "antigravity:CartPole-v1"}},
        "antigravity:CartPole-v1",
    ),
    "inner environment of ours": (
        {
            "id": "tokengym/Gym-v0",
            "kwargs": {"env_id": "tokengym/TextGeneration-v0", "env_kwargs": {"reward": touching(MARK)}},
        },
        "subprocess:getoutput",
    ),
    "an object": (generation(tokenizer={"$import": "antigravity:this"}), "antigravity:this"),
    "an object in a transform": (
        {
            "id": "tokengym/Copy-v0",
            "kwargs": {"transforms": [{"name": "reward_scale", "scale": {"$import": "antigravity:this"}}]},
        },
        "antigravity:this",
    ),
    "opponent": ({"id": "tokengym/Nim-v0", "kwargs": {"opponent": touching(MARK)}}, "subprocess:getoutput"),
    "opponent as a string": ({"id": "tokengym/TicTacToe-v0", "kwargs": {"opponent": "os:system"}}, "os:system"),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_a_checkpoint_names_is_shown_and_not_imported(case, whole, tmp_path):
    env, shown = NAMED[case]
    mark = tmp_path / "ran"
    folder = altered(whole, tmp_path, json.loads(json.dumps(env).replace(MARK, str(mark))))
    with pytest.raises(TokenGymError, match="allow_imports=True") as caught:
        load_algorithm(folder)
    assert shown in str(caught.value) and str(folder) in str(caught.value)
    assert not mark.exists() and "antigravity" not in sys.modules


def test_the_commands_do_not_import_what_a_checkpoint_names_unless_told(whole, module, tmp_path, capsys):
    folder = str(altered(whole, tmp_path, generation(reward=f"{module}:reward")))
    shown = ["evaluate", folder, "--episodes", "2", "--samples", "0"]
    seen = ["watch", "TextGeneration", "--agent", folder, "--delay", "0"]
    for words in (shown, seen):
        assert main(words) == 2
        assert "my_untrusted_rewards:reward" in capsys.readouterr().err and module not in sys.modules
    assert main([*shown, "--allow-imports"]) == 0 and sys.modules[module].ran
    del sys.modules[module]
    assert main([*seen, "--allow-imports"]) == 0 and sys.modules[module].ran


def test_the_caller_may_allow_all_or_some_modules(whole, module, tmp_path):
    folder = altered(whole, tmp_path, generation(reward=f"{module}:reward"))
    with pytest.raises(TokenGymError, match=f"{module}:reward"):
        PPO.load(folder, allow_imports=["my_untrusted"])
    assert PPO.load(folder, allow_imports=[module]).task.scorer.function is sys.modules[module].reward
    assert PPO.load(folder, allow_imports=True).task.scorer.function is sys.modules[module].reward


def test_a_module_that_the_program_imported_may_be_named_but_not_what_it_imported_itself(whole, module, tmp_path):
    import my_untrusted_rewards  # type: ignore[import-not-found]

    my_untrusted_rewards.system = __import__("os").system
    assert PPO.load(altered(whole, tmp_path, generation(reward=f"{module}:reward")))
    for name in ("system", "os.system", "reward.__call__"):
        my_untrusted_rewards.os = __import__("os")
        with pytest.raises(TokenGymError, match=f"{module}:{name}"):
            PPO.load(altered(whole, tmp_path, generation(reward=f"{module}:{name}")))


def test_a_program_names_what_it_likes_before_and_after_a_file_was_read(whole, module):
    with untrusted("a file"), pytest.raises(TokenGymError, match="os:getcwd"):
        load_entry_point("reward", "os:getcwd")
    assert load_entry_point("reward", "os:getcwd")
    with untrusted("a file"), untrusted("the file that it names", allow_imports=True), pytest.raises(TokenGymError):
        load_entry_point("reward", "os:getcwd")
    with pytest.raises(TokenGymError, match="unknown environment"):
        make_task(f"{module}:tokengym/X-v0")
    assert isinstance(sys.modules[module], ModuleType)


def test_rules_without_side_effects_may_be_named_by_any_file(whole, tmp_path):
    rule = {"entry_point": "tokengym.envs.rewards.rules:Keyword", "kwargs": {"words": ["sea"]}}
    assert PPO.load(altered(whole, tmp_path, generation(reward=rule)))


def test_a_model_configuration_names_no_code(whole, tmp_path):
    from tokengym.agents.models.build import without_code

    config = {"model_type": "gpt2", "auto_map": {"AutoModelForCausalLM": "x.Y"}, "text_config": {"n": 1}}
    config["text_config"]["_attn_implementation"] = "someone/kernel"
    assert without_code(config) == {"model_type": "gpt2", "text_config": {"n": 1}}
