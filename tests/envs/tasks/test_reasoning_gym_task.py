"""ReasoningGym: its questions, its scorers, any tokenizer; skipped where the extra is not installed."""

import copy
import importlib.util
import pickle
from collections import Counter

import numpy as np
import pytest

from tokengym.envs import TASKS, make_task
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.tasks.reasoning.reasoning_gym_scoring import load_package
from tokengym.envs.tasks.reasoning.reasoning_gym_task import ReasoningGym

needs_package = pytest.mark.skipif(bool(TASKS["ReasoningGym"].missing), reason="reasoning-gym is not installed")


def text_of(engine, row=0):
    return engine.task.render_tokens(engine.tokens[row, : engine.lengths[row]])


def answer(engine, text, row=0):
    """Says a whole answer in one row, the end token after it, and gives the reward."""
    ids = [*engine.task.encode(text), engine.task.vocabulary.eos][: engine.task.max_turn_tokens]
    result = engine.append([row], [ids], [len(ids)])
    assert result.terminated[0]
    return float(result.rewards[0])


def test_without_the_package_the_message_gives_the_command_that_installs_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "reasoning_gym" else find(name))
    with pytest.raises(TokenGymError, match=r"'ReasoningGym' needs reasoning_gym.*pip install 'tokengym\[reasoning\]'"):
        make_task("ReasoningGym")


def test_a_broken_installation_gives_the_command_too(monkeypatch):
    def fail(name):
        raise ModuleNotFoundError("No module named 'sympy'")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(TokenGymError, match=r"No module named 'sympy'.*pip install 'tokengym\[reasoning\]'"):
        load_package()


@needs_package
def test_questions_are_those_of_the_data_set_and_its_answers_score_one():
    task = ReasoningGym(size=30, instance_seed=5)
    original = load_package().create_dataset(
        "chain_sum", size=30, seed=5, min_terms=2, max_terms=2, min_digits=1, max_digits=1
    )
    assert [entry["question"] for entry in task.entries] == [original[index]["question"] for index in range(30)]
    engine = Engine(task, 60)
    engine.reset(None, np.arange(60))
    by_question = {f"{entry['question']}\n": entry["answer"] for entry in task.entries}
    questions = [text_of(engine, row) for row in range(60)]
    assert set(questions) <= set(by_question) and len(set(questions)) > 15
    assert all(answer(engine, by_question[question], row) == 1.0 for row, question in enumerate(questions))
    assert task.optimal_return == 1.0


@needs_package
def test_an_answer_is_scored_as_the_data_set_scores_it():
    task = ReasoningGym({"name": "gcd"}, size=20, max_new_tokens=8)
    engine = Engine(task, 1)
    for text in ("1", "12", " 3\n", "", "=", "100000"):
        engine.reset(None, [4])
        entry = next(entry for entry in task.entries if f"{entry['question']}\n" == text_of(engine))
        heard = task.decode([task.encode(text)])[0].strip()
        assert answer(engine, text) == task.dataset.score_answer(heard, entry)


@needs_package
def test_the_random_return_of_the_default_is_the_sum_over_all_texts():
    task = ReasoningGym()
    actions, eos = task.vocabulary.num_actions, task.vocabulary.eos
    pieces = Counter(task.decode([[token]])[0] for token in range(actions) if token != eos)
    going_on, ended = {"": 1.0}, Counter()
    for _ in range(task.max_turn_tokens):
        longer = Counter()
        for text, chance in going_on.items():
            ended[text.strip()] += chance / actions
            for piece, count in pieces.items():
                longer[text + piece] += chance * count / actions
        going_on = longer
    for text, chance in going_on.items():
        ended[text.strip()] += chance
    # Only texts that hold a digit can score, and prompts with equal answers score alike.
    ended = {text: chance for text, chance in ended.items() if any(map(str.isdigit, text))}
    answers = Counter(entry["answer"] for entry in task.entries)
    entries = {entry["answer"]: entry for entry in task.entries}
    total = sum(
        count * sum(chance * task.dataset.score_answer(text, entries[known]) for text, chance in ended.items())
        for known, count in answers.items()
    )
    assert task.random_return == pytest.approx(total / len(task.entries), abs=1e-7)


@needs_package
@pytest.mark.parametrize("name", ["gcd", "letter_counting", "spell_backward", "simple_equations", "leg_counting"])
@pytest.mark.parametrize("kind", ["chars", "bpe"])
def test_any_data_set_runs_under_any_tokenizer(name, kind):
    corpus = [chr(code) for code in range(32, 127)] + ["\n"]
    task = ReasoningGym(name, size=10, tokenizer={"kind": kind, "corpus": ["".join(corpus)]})
    engine = Engine(task, 10)
    engine.reset(None, np.arange(10))
    for row in range(10):
        known = {f"{entry['question']}\n": entry["answer"] for entry in task.entries}[text_of(engine, row)]
        assert answer(engine, known, row) == 1.0
    assert task.optimal_return == 1.0


@needs_package
def test_the_expert_says_the_data_set_s_own_answer():
    engine = Engine(ReasoningGym(), 20)
    engine.reset(None, np.arange(20))
    total = np.zeros(20)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        total[rows] += engine.step(rows, engine.expert(rows)).rewards
    assert total.tolist() == [1.0] * 20
    without_answers = Engine(ReasoningGym("graph_color", size=3), 1)
    without_answers.reset(None, [0])
    assert without_answers.expert() is None


@needs_package
def test_an_answer_that_a_scorer_cannot_read_gets_nothing():
    task = ReasoningGym("prime_factorization", size=5)
    with pytest.raises(ValueError):
        task.dataset.score_answer("?", task.entries[0])
    assert task.respond(0, "?")[:3] == (None, 0.0, True)


EVALUATING = ("binary_matrix", "n_queens", "spiral_matrix", "string_insertion")
PARSING = ("countdown", "puzzle24", "intermediate_integration", "polynomial_multiplication", "simple_integration")


@pytest.fixture(scope="module")
def mixed():
    """One task of all data sets whose scorers evaluate, and the index of a question of each."""
    names = [*EVALUATING, *PARSING, "coin_flip"]
    dataset = {"name": "composite", "datasets": [{"name": name} for name in names]}
    task = ReasoningGym(dataset, size=60, answer_seconds=0.3)
    sources = [entry["metadata"]["source_dataset"] for entry in task.entries]
    yield task, {name: sources.index(name) for name in names}
    task.close()


def scored(task, pairs):
    answers = task.respond_all([index for index, _ in pairs], [text for _, text in pairs], [[1]] * len(pairs))
    return [answer.reward for answer in answers]


@needs_package
@pytest.mark.parametrize("name", [*EVALUATING, *PARSING])
def test_what_the_agent_says_is_never_run(name, mixed, tmp_path):
    (task, where), path = mixed, tmp_path / "written"
    write = f"['x' for _ in [open({str(path)!r}, 'w').write('x')]]"
    texts = [write, f"open({str(path)!r},'w').write('x')", "[__import__('os')._exit(0)]", "().__class__", "(24).real"]
    assert scored(task, [(where[name], text) for text in texts]) == [0.0] * 5 and not path.exists()
    assert task.respond(where[name], texts[0]).columns["guard/refused"] == 1.0


@needs_package
@pytest.mark.parametrize(
    ("name", "text"), [("countdown", "9**9**9"), ("puzzle24", "9**9**9"), ("coin_flip", "1e999999999")]
)
def test_an_answer_whose_scoring_never_ends_gets_nothing_and_is_counted(name, text, mixed):
    task, where = mixed
    for _ in range(2):
        answer = task.respond(where[name], text)
        assert answer[:3] == (None, 0.0, True)
        told = {"correct": 0.0, "guard/time": 1.0, "guard/memory": 0.0, "guard/crash": 0.0, "guard/refused": 0.0}
        assert answer.columns == told | {f"reward/{name}": 0.0}


@needs_package
def test_answers_that_are_literals_or_formulas_score_as_they_do_without_a_guard(mixed):
    task, where = mixed
    entries = {name: task.entries[index] for name, index in where.items()}
    board = entries["n_queens"]["metadata"]["valid_answers"][0]
    texts = {
        "n_queens": repr([row.split() for row in board.split("\n")]),
        "string_insertion": repr(list(entries["string_insertion"]["answer"])),
        "spiral_matrix": "[" + ", ".join(entries["spiral_matrix"]["answer"].split()) + "]",
        "countdown": f"({entries['countdown']['answer']}) * (1 - 0) - 0",
        "simple_integration": f"{entries['simple_integration']['answer'].replace('+ C', '')} + sin(3)",
        "polynomial_multiplication": f"0 + {entries['polynomial_multiplication']['answer']}",
        "puzzle24": entries["puzzle24"]["answer"],
        "intermediate_integration": entries["intermediate_integration"]["answer"],
        "binary_matrix": "no matrix",
        "coin_flip": "1/3",
    }
    plain = [task.dataset.score_answer(text, entries[name]) for name, text in texts.items()]
    answers = task.respond_all([where[name] for name in texts], list(texts.values()), [[1]] * len(texts))
    assert [answer.reward for answer in answers] == plain and sum(reward > 0 for reward in plain) >= 8
    assert [answer.columns["correct"] for answer in answers] == [float(reward == 1) for reward in plain]
    assert not any(value for answer in answers for name, value in answer.columns.items() if name.startswith("guard/"))


@needs_package
@pytest.mark.parametrize("name", [*EVALUATING, *PARSING, "chain_sum"])
def test_answers_share_a_process_only_where_no_scorer_evaluates_any(name):
    composite = {"name": "composite", "datasets": [{"name": "gcd"}, {"name": name}]}
    for dataset in (name, composite):
        assert ReasoningGym(dataset, size=1).scorer.guard.together is (name == "chain_sum")


@needs_package
@pytest.mark.parametrize("name", ["chain_sum", "coin_flip", "prime_factorization", "family_relationships"])
def test_answers_that_share_a_process_score_as_each_by_itself(name):
    task = ReasoningGym(name, size=4, answer_seconds=0.3)
    assert task.scorer.guard.together
    answers = [entry["answer"] for entry in task.entries]
    texts = ["", "1e999999999", "?", *answers, "9" * 5000, "1e999999999 ", *answers[::-1], "\ud800", "nan"]
    pairs = [(index, text) for index in range(4) for text in texts]
    found = scored(task, pairs)
    task.close()
    apart = ReasoningGym(name, size=4, answer_seconds=0.3)
    assert found == [scored(apart, [pair])[0] for pair in pairs] and sum(reward == 1.0 for reward in found) >= 4
    apart.close()


@needs_package
@pytest.mark.parametrize("dataset", ["chain_sum", "arc_1d"])
def test_copies_score_with_processes_of_their_own(dataset):
    task = ReasoningGym(dataset, size=3)
    answers = [entry["answer"] for entry in task.entries]
    for twin in (copy.deepcopy(task), pickle.loads(pickle.dumps(task)), task):
        assert [answer.reward for answer in twin.respond_all([0, 1, 2], answers, [[1]] * 3)] == [1.0] * 3
        twin.close()


@needs_package
def test_a_data_set_without_known_answers_gets_a_fixed_length_and_no_optimum():
    task = ReasoningGym("graph_color", size=3)
    assert task.max_turn_tokens == 64 and task.optimal_return is None


@needs_package
def test_the_two_sides_of_a_split_share_no_question():
    sides = {side: {entry["question"] for entry in ReasoningGym(split=side, held_out=0.3).entries} for side in SIDES}
    assert sides["train"] | sides["held_out"] == sides["all"] and not sides["train"] & sides["held_out"]


SIDES = ("train", "held_out", "all")


@needs_package
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "chain_sun"}, "unknown data set 'chain_sun': did you mean 'chain_sum'"),
        ({"dataset": 3}, "dataset=3"),
        ({"dataset": {"max_terms": 3}}, "under 'name'"),
        ({"dataset": {"name": "chain_sum", "size": 3}}, "give size=… beside"),
        ({"dataset": {"name": "chain_sum", "max_term": 3}}, "cannot be made with.*max_term"),
        ({"dataset": {"name": "chain_sum", "max_terms": 1}}, "max_terms must be >= min_terms"),
        ({"size": 0}, "size=0"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        ReasoningGym(**arguments)
