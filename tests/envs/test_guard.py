"""Guarded calls: what cannot be done in one, what one leaves behind, and rewards that are called so."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import guarded_functions
import numpy as np
import pytest
from guarded_functions import Longest, broken, count_calls, evaluate, evaluated, logged, place

from tokengym.envs import Engine, GuardedReward, TokenEnv, TokenGymError, build_reward, make_task
from tokengym.envs.rewards.scorer import Scorer
from tokengym.envs.sandbox.guard import Guard

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="calls share a process here")
WRITES = [
    "open({path!r}, 'w').write('x')",
    "['x' for _ in [open({path!r}, 'w').write('x')]]",
    "__import__('os').open({path!r}, 65)",
    "__import__('pathlib').Path({path!r}).touch()",
    "__import__('os').mkdir({path!r})",
    "__import__('os').symlink('a', {path!r})",
    "__import__('os').system('touch ' + {path!r})",
    "__import__('subprocess').run(['touch', {path!r}])",
    "__import__('shutil').copy('/etc/hostname', {path!r})",
    "__import__('sqlite3').connect({path!r}).execute('create table t (a)')",
]
OTHER_REFUSED = [
    "__import__('os').remove({path!r})",
    "__import__('os').truncate({path!r}, 0)",
    "__import__('os').chmod({path!r}, 0)",
    "__import__('os').rename({path!r}, {path!r} + '2')",
    "__import__('os').kill(__import__('os').getppid(), 9)",
    "__import__('os').fork()",
    "__import__('os').execv('/bin/sh', ['sh'])",
    "__import__('socket').socket()",
    "__import__('ctypes').CDLL(None).abort()",
    "__import__('gc').get_objects()",
]


@pytest.fixture(scope="module")
def guard():
    guard = Guard(evaluate, seconds=0.2)
    yield guard
    guard.close()


def outcome(verdict):
    return verdict.trouble or verdict.value


@pytest.mark.parametrize("text", WRITES)
def test_nothing_can_be_written(guard, text, tmp_path):
    path = tmp_path / "file"
    assert guard.call(text.format(path=str(path))).trouble == "refused"
    assert not path.exists()


@pytest.mark.parametrize("text", OTHER_REFUSED)
def test_nothing_outside_can_be_changed(guard, text, tmp_path):
    path = tmp_path / "file"
    path.write_text("as it was")
    assert guard.call(text.format(path=str(path))).trouble == "refused"
    assert path.read_text() == "as it was" and os.access(path, os.W_OK)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Landlock is Linux's")
def test_the_kernel_forbids_writing_and_starting_programs_where_python_s_hook_is_not_asked(tmp_path):
    path = tmp_path / "file"
    script = (
        "import importlib.util as u, os, sys\n"
        "spec = u.spec_from_file_location('seal', sys.argv[1]); seal = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(seal)\n"
        "if not seal.Landlock().put_on(): print('none'); sys.exit()\n"
        "for act in (lambda: open(sys.argv[2], 'w'), lambda: os.mkdir(sys.argv[2]), lambda: os.remove(sys.argv[1]),\n"
        "            lambda: os.truncate(sys.argv[1], 0), lambda: os.execv('/bin/sh', ['sh'])):\n"
        "    try: act(); print('done')\n"
        "    except PermissionError: print('refused')\n"
    )
    seal = tmp_path / "seal.py"
    seal.write_bytes((Path(sys.modules[Guard.__module__].__file__).parent / "seal.py").read_bytes())
    said = subprocess.run([sys.executable, "-c", script, seal, path], capture_output=True, text=True, check=True)
    if said.stdout == "none\n":
        pytest.skip("this kernel has no Landlock")
    assert said.stdout.split() == ["refused"] * 5 and not path.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9**9**9", "time"),
        ("__import__('time').sleep(1e9)", "time"),
        ("[__import__('signal').signal(27, 1), __import__('time').sleep(1e9)]", "time"),
        ("'x' * 10**10", "memory"),
        ("__import__('os')._exit(0)", "crash"),
        ("exit()", "crash"),
        ("'x' * (1 << 21)", "crash"),
        ("[__import__('os').close(n) for n in range(3, 12)]", "error"),
        ("1 / 0", "error"),
        ("object()", "error"),
        ("[input()]", "error"),
        ("(lambda f: f(f))(lambda f: f(f))", "error"),
        ("[[1, None], 'a', 0.5]", [[1, None], "a", 0.5]),
    ],
)
def test_a_call_ends_with_a_value_or_a_named_trouble(guard, text, expected):
    assert outcome(guard.call(text)) in (expected, "crash" if "close" in text else expected)
    assert outcome(guard.call("1 + 1")) == 2


def test_no_call_sees_another_so_that_their_order_and_number_do_not_matter(guard):
    spoiling = "__import__('builtins').__dict__.update(abs=None)"
    texts = ["abs(-2)", spoiling, "abs(-3)", "9**9**9", "exit()", "abs(-4)"]
    together = [outcome(verdict) for verdict in guard.calls([(text,) for text in texts])]
    assert together == [2, None, 3, "time", "crash", 4]
    assert [outcome(guard.call(text)) for text in reversed(texts)] == together[::-1]
    counting = Guard(count_calls)
    assert [verdict.value for verdict in counting.calls([()] * 3)] == [1, 1, 1]
    counting.close()


def test_calls_that_share_a_process_come_to_what_they_come_to_by_themselves():
    texts = ["1", "9**9**9", "1 / 0", "exit()", "exit()", "'x' * 10**10", "'x' * (1 << 21)", "2", "9**9**9"]
    texts += ["open('there', 'w')", "3", "__import__('os')._exit(0)"]
    apart, together = Guard(evaluate, seconds=0.2), Guard(evaluate, seconds=0.2, together=True)
    expected = [outcome(apart.call(text)) for text in texts]
    assert expected == [1, "time", "error", "crash", "crash", "memory", "crash", 2, "time", "refused", 3, "crash"]
    assert [outcome(verdict) for verdict in together.calls([(text,) for text in texts])] == expected
    assert together.counts == apart.counts
    assert [outcome(together.call(text)) for text in texts] == expected
    assert together.calls([]) == []
    apart.close(), together.close()


def test_calls_share_a_process_where_that_is_allowed_and_only_within_one_list():
    counting = Guard(count_calls, together=True)
    for twin in (counting, copy.deepcopy(counting)):
        assert [[verdict.value for verdict in twin.calls([()] * 3)] for _ in range(2)] == [[1, 2, 3]] * 2
        twin.close()


def test_each_of_the_calls_that_share_a_process_has_the_time_of_one():
    busy = "(lambda time, end: [None for _ in iter(lambda: time() < end, False)] and 7)(*{})".format(
        "(lambda t: (t, t() + 0.15))(__import__('time').process_time)"
    )
    guard = Guard(evaluate, seconds=0.4, together=True)
    assert [outcome(verdict) for verdict in guard.calls([(busy,)] * 5)] == [7] * 5
    guard.close()


def test_calls_run_in_an_empty_folder_without_this_process_s_environment(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "s")
    guard = Guard(place)
    first, second = guard.call().value, guard.call().value
    guard.close()
    assert first["folder"] == [] and "SECRET_TOKEN" not in first["environment"]
    assert len({first["id"], second["id"], os.getpid()}) == 3


def test_a_guard_leaves_neither_process_nor_folder_nor_zombie():
    for end in (Guard.close, lambda guard: None):
        guard = Guard(evaluate)
        guard.call("1")
        popen, folder = guard._process.popen, guard._process.folder
        end(guard)
        del guard
        gc.collect()
        assert popen.returncode is not None and not os.path.exists(folder)


def test_a_process_that_was_killed_is_replaced():
    guard = Guard(evaluate)
    guard.call("1")
    guard._process.popen.kill()
    assert guard.call("2 + 2").value == 4 and not guard.counts
    guard.close()
    assert guard.call("2 + 3").value == 5
    guard.close()


def test_copies_and_forks_have_processes_of_their_own(guard):
    guard.call("1")
    copies = [copy.deepcopy(guard), pickle.loads(pickle.dumps(guard))]
    assert [twin.call("1 + 2").value for twin in copies] == [3, 3]
    assert len({twin._process.popen.pid for twin in (guard, *copies)}) == 3
    for twin in copies:
        twin.close()
    read_end, write_end = os.pipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])  # Python 3.12 warns of any fork beside threads
        child = os.fork()
    if child == 0:
        os.write(write_end, str(guard.call("3 + 3").value).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 9) == b"6" and guard.call("4 + 4").value == 8
    os.close(read_end), os.close(write_end)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": lambda text: text}, "top level of a module"),
        ({"function": evaluate, "seconds": 0}, "seconds=0"),
        ({"function": evaluate, "seconds": float("inf")}, "seconds=inf"),
        ({"function": evaluate, "memory_mb": 0}, "memory_mb=0"),
        ({"function": evaluate, "together": 2}, "together=2"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Guard(**arguments)


def test_a_function_of_the_script_itself_is_refused(monkeypatch):
    monkeypatch.setattr(guarded_functions.sleepy, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "sleepy", guarded_functions.sleepy, raising=False)
    with pytest.raises(TokenGymError, match="in the script that was started"):
        Guard(guarded_functions.sleepy)


# --- rewards


def test_a_guarded_reward_gives_what_the_reward_gives():
    plain, guarded = Scorer(logged), Scorer(GuardedReward(logged))
    rows = ["p"] * 4, ["a", "?", "ab", "b"], [[1], [2], [1, 2], [3]], {"goal": ["a", "a", "a", "a"]}
    alone = [plain(*(part[row : row + 1] for part in rows[:3]), {"goal": ["a"]}).columns for row in range(4)]
    scores = guarded(*rows)
    assert scores.rewards.tolist() == [1.0, 0.0, 0.75, 0.0] and scores.abstained.tolist() == [False, True, False, False]
    assert scores.token_rewards[2].tolist() == [0.25, 0.5]
    assert scores.columns["length"].tolist() == [told["length"][0] for told in alone] == [1.0, 1.0, 2.0, 1.0]
    assert scores.columns["upper"].tolist() == [told["upper"][0] for told in alone] == ["A", "?", "AB", "B"]
    with pytest.raises(TokenGymError, match=r"'GuardedReward' needs goal"):
        guarded(*rows[:3])
    guarded.close()


def test_what_a_completion_does_to_its_guarded_reward_costs_that_completion_only():
    reward = build_reward({"name": "guarded", "reward": "guarded_functions:evaluated", "seconds": 0.2})
    scorer = Scorer(reward)
    texts = ["0.5", "9**9**9", "exit()", "open('x', 'w')", "0.25"]
    for _ in range(2):
        scores = scorer(texts, texts, [[1]] * 5)
        assert scores.rewards.tolist() == [0.5, 0.0, 0.0, 0.0, 0.25]
        assert {name: values.tolist() for name, values in scores.columns.items()} == {
            "guard/time": [0, 1, 0, 0, 0],
            "guard/memory": [0, 0, 0, 0, 0],
            "guard/crash": [0, 0, 1, 0, 0],
            "guard/refused": [0, 0, 0, 1, 0],
        }
    with pytest.raises(TokenGymError, match=r"'evaluated' raised ZeroDivisionError.*'1/0'"):
        scorer(texts[:1], ["1/0"], [[1]])
    scorer.close()


def test_the_function_s_own_mistake_stops_the_step():
    reward = GuardedReward(broken)
    with pytest.raises(TokenGymError, match="'broken' raised KeyError: 'a'"):
        reward(prompts=["p"], completions=["a"], completion_ids=[[1]])
    reward.close()


def test_a_guarded_reward_in_a_task_round_trips_and_counts():
    spec = {"name": "weighted_sum", "terms": [{"weight": 2.0, "reward": {"name": "guarded", "reward": "length"}}]}
    spec["terms"][0]["reward"] = {"name": "guarded", "reward": "guarded_functions:evaluated", "seconds": 0.2}
    arguments = {"prompts": ["1+9*"], "tokenizer": {"kind": "chars", "corpus": ["1+9*"]}, "reward": spec}
    env = TokenEnv(make_task("TextGeneration", **json.loads(json.dumps(arguments))))
    task = env.task
    engine = Engine(task, 2)
    engine.reset(None, [0, 1])
    turns = np.array([task.encode(text) for text in ("1+1+1+1+", "9**9**99")])
    with pytest.raises(TokenGymError, match="SyntaxError"):
        engine.append(None, turns, counts=[8, 8])
    engine.reset(None, [0, 1])
    turns = np.array([task.encode(text) for text in ("1+1+1+11", "9**9**99")])
    result = engine.append(None, turns, counts=[8, 8])
    assert result.rewards.tolist() == [28.0, 0.0]
    assert result.columns["guard/time"][:, -1].tolist() == [0.0, 1.0]
    assert result.columns["reward/guarded"][:, -1].tolist() == [14.0, 0.0]
    again = make_task(task.spec["id"], **task.spec["kwargs"])
    assert again.scorer.function.terms[0][1] == task.scorer.function.terms[0][1]
    process = task.scorer.function.terms[0][1].guard._process.popen
    env.close()
    assert process.returncode is not None


def test_a_guarded_object_keeps_its_range_and_its_specification():
    reward = GuardedReward(Longest(2), seconds=1.0)
    assert reward.reward_range == (0.0, 2.0)
    assert reward(completions=["a", "ab"]) == [1.0, 2.0]
    assert copy.deepcopy(reward)(completions=["abc"]) == [2.0]
    assert GuardedReward(evaluated).to_spec() == {"name": "guarded", "reward": evaluated}
    reward.close()
