"""The exact solver and the exact evaluation, against enumeration and against episodes that were played."""

import numpy as np
import pytest
from enumeration import History, RandomTask, batched, drawn_policy, plan, play, soft_choice
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.envs.checking.errors import TokenGymError, TooManyNodesError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.levels import unfold
from tokengym.envs.exact.solver import evaluate_policy, optimal_policy, solve
from tokengym.envs.finite.task import FiniteTask, Initial, Transition
from tokengym.envs.tasks.control.lattice import Lattice
from tokengym.envs.tasks.diagnostics.basics import Copy, TokenBandit
from tokengym.envs.tasks.diagnostics.probes import Probe5
from tokengym.envs.tasks.diagnostics.tree import KLTree
from tokengym.envs.tasks.games.wordle import WordleMini
from tokengym.envs.tasks.text.keywords import KeywordCover
from tokengym.envs.vocabulary import Vocabulary

CLOSE = {"rel": 1e-12, "abs": 1e-12}
TASKS = {
    "bandit": TokenBandit,
    "noisy bandit": lambda: TokenBandit(noise=0.5),
    "probe": Probe5,
    "copy": lambda: Copy(k=2, num_tokens=4, gap=1),
    "tree": lambda: KLTree(num_tokens=3, depth=3),
    "keywords": lambda: KeywordCover(num_words=4, length=4, num_keywords=2),
    "wordle": WordleMini,
    "lattice": Lattice,
}
RANDOM_TASKS = {
    "hidden states": lambda: RandomTask(3),
    "hidden states by turns": lambda: RandomTask(5, context="turn", turn_tokens=2),
}

random_tasks = st.builds(
    RandomTask,
    seed=st.integers(0, 10_000),
    context=st.sampled_from(["episode", "turn"]),
    turn_tokens=st.integers(1, 2),
)
statement = settings(max_examples=25, deadline=None)


def observation_arrays(task: FiniteTask, histories) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(history.observation) for history in histories])
    tokens = np.full((len(histories), int(lengths.max())), task.vocabulary.pad, np.int32)
    for row, history in zip(tokens, histories, strict=True):
        row[: len(history.observation)] = history.observation
    return tokens, lengths


def uniform(task: FiniteTask):
    num_actions = task.vocabulary.num_actions
    return lambda tokens, lengths: np.full((len(tokens), num_actions), 1 / num_actions)


@statement
@given(random_tasks)
def test_random_and_optimal_returns_equal_enumeration(task):
    solution = solve(task)
    level = np.full(task.vocabulary.num_actions, 1 / task.vocabulary.num_actions)
    played = play(task, lambda history: level)
    assert solution.random_return == pytest.approx(played.expected_return, **CLOSE)
    assert solution.random_variance == pytest.approx(played.variance, **CLOSE)
    best, q, _ = plan(task, lambda values, history: values.max())
    assert solution.optimal_return == pytest.approx(best, **CLOSE)
    greedy = play(task, lambda history: np.eye(len(level))[q[history].argmax()])
    assert greedy.expected_return == pytest.approx(best, **CLOSE)
    assert solution.optimal_variance == pytest.approx(greedy.variance, **CLOSE)


@statement
@given(random_tasks, st.floats(0.1, 3.0))
def test_the_kl_optimum_over_a_uniform_reference_equals_enumeration(task, beta):
    level = np.full(task.vocabulary.num_actions, 1 / task.vocabulary.num_actions)
    best, q, v = plan(task, soft_choice(beta, lambda history: level))
    played = play(task, lambda history: level * np.exp((q[history] - v[history]) / beta))
    solution = solve(task, beta=beta)
    assert solution.kl_optimal_return == pytest.approx(best, **CLOSE)
    assert solution.kl_optimal_reward == pytest.approx(played.expected_return, rel=1e-11, abs=1e-11)
    assert solution.kl_optimal_kl == pytest.approx(played.kl, rel=1e-11, abs=1e-11)


@statement
@given(random_tasks, st.floats(0.3, 3.0), st.integers(0, 100))
def test_the_kl_optimum_over_a_reference_of_prefixes_equals_enumeration(task, beta, seed):
    row = drawn_policy(seed, task.vocabulary.num_actions)
    best, *_ = plan(task, soft_choice(beta, lambda history: row(history.observation)))
    assert solve(task, beta, batched(row)).kl_optimal_return == pytest.approx(best, **CLOSE)


@statement
@given(random_tasks)
def test_masked_scores_equal_enumeration_over_legal_tokens(task):
    solution = solve(task, beta=0.5, masked=True)

    def legal(history: History) -> np.ndarray:
        mask = np.zeros(task.vocabulary.num_actions)
        mask[task.allowed[len(history.events) - 1]] = 1
        return mask / mask.sum()

    assert solution.random_return == pytest.approx(play(task, legal).expected_return, **CLOSE)
    best, *_ = plan(task, lambda q, history: q[legal(history) > 0].max())
    assert solution.optimal_return == pytest.approx(best, **CLOSE)
    soft, *_ = plan(task, soft_choice(0.5, legal))
    assert solution.kl_optimal_return == pytest.approx(soft, **CLOSE)


@statement
@given(random_tasks, st.integers(0, 100))
def test_the_evaluation_of_a_policy_equals_enumeration(task, seed):
    row = drawn_policy(seed, task.vocabulary.num_actions)
    spread = drawn_policy(seed + 1, task.vocabulary.num_actions)
    reference = lambda observation: 0.9 * spread(observation) + 0.1 / task.vocabulary.num_actions  # noqa: E731
    played = play(task, lambda history: row(history.observation), lambda history: reference(history.observation))
    evaluation = evaluate_policy(task, batched(row), batched(reference))
    assert evaluation.expected_return == pytest.approx(played.expected_return, **CLOSE)
    assert evaluation.variance == pytest.approx(played.variance, **CLOSE)
    assert evaluation.kl == pytest.approx(played.kl, **CLOSE)
    assert evaluation.entropy == pytest.approx(played.entropy, **CLOSE)
    assert evaluation.expected_length == pytest.approx(played.expected_length, **CLOSE)
    assert evaluation.kl_regularised(0.3) == pytest.approx(played.expected_return - 0.3 * played.kl, **CLOSE)


@statement
@given(st.integers(0, 10_000), st.integers(0, 100))
def test_the_values_of_a_policy_equal_enumeration_at_every_prefix(seed, policy_seed):
    task = RandomTask(seed)
    row = drawn_policy(policy_seed, task.vocabulary.num_actions)
    evaluation = evaluate_policy(task, batched(row))
    _, q, _ = plan(task, lambda values, history: row(history.observation) @ values)
    # Histories that look alike to the policy are rows of their own, so compare as sorted lists.
    expected: dict[tuple[int, ...], list[float]] = {}
    for history, values in q.items():
        expected.setdefault(history.observation, []).append(float(row(history.observation) @ values))
    for tokens, length, value in zip(evaluation.tokens, evaluation.lengths, evaluation.values, strict=True):
        candidates = expected[tuple(tokens[:length].tolist())]
        assert min(abs(value - candidate) for candidate in candidates) < 1e-12


@statement
@given(st.integers(0, 10_000))
def test_q_and_v_are_found_by_observation(seed):
    task = RandomTask(seed, turn_tokens=1)
    solution = solve(task)
    _, q, v = plan(task, lambda values, history: values.max())
    by_observation: dict[tuple[int, ...], list[History]] = {}
    for history in q:
        by_observation.setdefault(history.observation, []).append(history)
    # Replies of 0 … 2 tokens can make two histories look alike; those have no one value to find.
    told_apart = [histories[0] for histories in by_observation.values() if len(histories) == 1]
    tokens, lengths = observation_arrays(task, told_apart)
    np.testing.assert_allclose(solution.q_values(tokens, lengths), [q[h] for h in told_apart], rtol=0, atol=1e-12)
    np.testing.assert_allclose(solution.values(tokens, lengths), [v[h] for h in told_apart], rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_playing_the_optimal_policy_gives_the_optimal_return(make):
    task = make()
    evaluation = evaluate_policy(task, optimal_policy(task))
    solution = solve(task)
    assert evaluation.expected_return == pytest.approx(solution.optimal_return, **CLOSE)
    assert evaluation.variance == pytest.approx(solution.optimal_variance, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"wordle"}))
def test_the_uniform_policy_has_the_random_return_and_no_kl(name):
    task = TASKS[name]()
    solution = solve(task)
    evaluation = evaluate_policy(task, uniform(task))
    assert evaluation.expected_return == pytest.approx(solution.random_return, **CLOSE)
    assert evaluation.variance == pytest.approx(solution.random_variance, rel=1e-9, abs=1e-9)
    assert evaluation.kl == pytest.approx(0, abs=1e-12)
    expected = evaluation.expected_length * np.log(task.vocabulary.num_actions)
    assert evaluation.entropy == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("make", [KLTree, Copy])
def test_the_kl_optimal_policy_attains_the_kl_optimal_return(make):
    task = make()
    solution = solve(task, beta=0.2)
    evaluation = evaluate_policy(task, solution.policy("kl_optimal"), uniform(task))
    assert solution.kl_optimal_return == pytest.approx(evaluation.kl_regularised(0.2), **CLOSE)
    assert solution.kl_optimal_kl == pytest.approx(evaluation.kl, rel=1e-10)
    assert evaluate_policy(task, uniform(task)).kl_regularised(0.2) < evaluation.kl_regularised(0.2)


@pytest.mark.parametrize("make", [*TASKS.values(), *RANDOM_TASKS.values()], ids=[*TASKS, *RANDOM_TASKS])
def test_played_random_episodes_agree_within_four_standard_errors(make):
    task = make()
    num_rows, draw = 3000, np.random.default_rng(7)
    engine = Engine(task, num_rows)
    engine.reset(None, np.arange(num_rows, dtype=np.uint64))
    returns = np.zeros(num_rows)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        returns[rows] += engine.step(rows, draw.integers(task.vocabulary.num_actions, size=len(rows))).rewards
    solution = solve(task)
    error = np.sqrt(solution.random_variance / num_rows)
    assert abs(returns.mean() - solution.random_return) <= 4 * error + 1e-12
    assert returns.var() == pytest.approx(solution.random_variance, rel=0.25, abs=1e-12)


def test_played_optimal_wordle_agrees_within_four_standard_errors():
    task = WordleMini()
    solution = solve(task)
    policy, num_rows = solution.policy(), 2000
    engine = Engine(task, num_rows)
    engine.reset(None, np.arange(num_rows, dtype=np.uint64))
    returns = np.zeros(num_rows)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        actions = policy(engine.tokens[rows], engine.lengths[rows]).argmax(axis=1)
        returns[rows] += engine.step(rows, actions).rewards
    assert abs(returns.mean() - solution.optimal_return) <= 4 * np.sqrt(solution.optimal_variance / num_rows)


def test_the_evaluation_asks_once_for_equal_observations():
    task, asked = Lattice(), []

    def policy(tokens, lengths):
        asked.append(len(tokens))
        return np.full((len(tokens), 3), 1 / 3)

    evaluation = evaluate_policy(task, policy)
    assert max(asked) <= 119 and len(asked) == 20
    assert len(evaluation.values) == sum(asked)


class TigerTask(FiniteTask):
    """Two doors, a hidden tiger; token 0 listens (right with probability .85), 1 and 2 open a door and end."""

    name = "Tiger"

    def __init__(self):
        self.vocabulary = Vocabulary.of(["listen", "left", "right"], ["roar-left", "roar-right"])

    def initial(self):
        return [Initial(0.5, (0, door)) for door in (0, 1)]

    def transitions(self, state, action):
        said, door = state
        if action > 0:
            return [Transition(1.0, None, -10.0 if action - 1 == door else 1.0)]
        following = None if said == 4 else (said + 1, door)
        return [Transition(0.85, following, -0.1, (3 + door,)), Transition(0.15, following, -0.1, (4 - door,))]


def test_beliefs_that_are_equal_are_one_information_state():
    solution = solve(TigerTask())
    # After n roars only left minus right matters: n + 1 beliefs.
    assert [level.num_nodes for level in solution.graph.levels] == [1, 2, 3, 4, 5]
    best, *_ = plan(TigerTask(), lambda q, history: q.max())
    assert solution.optimal_return == pytest.approx(best, **CLOSE)


def test_what_is_hidden_gives_no_clairvoyant_score():
    solution = solve(TigerTask())
    assert solution.q_values(np.array([[5]]), np.array([1]))[0, 1:] == pytest.approx([-4.5, -4.5])
    assert solution.optimal_return < 1


class Endless(FiniteTask):
    name = "Endless"
    max_length = 8
    max_episode_tokens = 8

    def __init__(self):
        self.vocabulary = Vocabulary.of(["stay", "go"])

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(1.0, None if action else 0)]


class Telltale(RandomTask):
    """Its legal tokens depend on the hidden state."""

    def legal(self, state):
        return [state[1] % 2]


SMALL_WORDLE = WordleMini(num_letters=3, word_length=1, num_words=2, num_guesses=1, words_only=True)


def says_illegal_letters(tokens, lengths):
    illegal = ~np.isin(np.arange(3), SMALL_WORDLE.words).astype(bool)
    return np.tile(illegal.astype(float), (len(tokens), 1))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: solve(object()), "not a FiniteTask"),
        (lambda: solve(KLTree(), beta=0.0), "beta=0.0"),
        (lambda: solve(KLTree(), beta=float("nan")), "beta=nan"),
        (lambda: solve(KLTree(), reference=uniform(KLTree())), "without beta"),
        (lambda: solve(Telltale(1), masked=True), "reveal its hidden state"),
        (lambda: solve(SMALL_WORDLE, 1.0, says_illegal_letters, masked=True), "never says a legal token"),
        (lambda: solve(Endless()), "for ever"),
        (lambda: solve(WordleMini(), max_nodes=1000), "max_nodes=1000"),
        (lambda: solve(KLTree()).policy("best"), "kind='best'"),
        (lambda: solve(KLTree()).policy("kl_optimal"), "beta"),
        (lambda: solve(KLTree()).values(np.array([[4, 0, 1, 2, 3]]), np.array([5])), r"\[4, 0, 1, 2, 3\]"),
        (lambda: solve(KLTree()).values(np.array([[0]]), np.array([1])), r"\[0\]"),
        (lambda: solve(Lattice()).values(np.array([[0, 1, 2]]), np.array([3])), "never asks"),
        (lambda: evaluate_policy(KeywordCover(), uniform(KeywordCover())), "max_nodes=200000"),
        (lambda: evaluate_policy(KLTree(), lambda tokens, lengths: np.ones((len(tokens), 4))), "sum 1"),
        (
            lambda: evaluate_policy(KLTree(), lambda tokens, lengths: np.ones((len(tokens), 5)) / 5),
            r"expected .*\(1, 4\)",
        ),
        (lambda: evaluate_policy(KLTree(), lambda tokens, lengths: np.full((len(tokens), 4), np.nan)), "nan"),
    ],
)
def test_bad_input_is_refused_with_words(wrong, says):
    with pytest.raises(TokenGymError, match=says):
        wrong()


def test_too_many_nodes_are_an_error_of_their_own():
    with pytest.raises(TooManyNodesError):
        solve(WordleMini(num_letters=2, word_length=2, num_words=2), max_nodes=3)
    with pytest.raises(TooManyNodesError):
        evaluate_policy(KLTree(), uniform(KLTree()), max_nodes=3)


@pytest.mark.parametrize(
    "task",
    [WordleMini(num_letters=3, word_length=2, num_words=5, num_guesses=3), Lattice(2, 1, 4), Copy(2, 2)],
    ids=lambda task: task.name,
)
@pytest.mark.parametrize("observe", [False, True])
def test_information_states_do_not_depend_on_how_many_are_expanded_at_a_time(task, observe, monkeypatch):
    whole = unfold(task, observe=observe)
    monkeypatch.setattr("tokengym.envs.exact.levels._CHUNK", 1)
    chunked = unfold(task, observe=observe)
    for level, other in zip(whole.levels, chunked.levels, strict=True):
        for field in ("node", "state", "weight", "starts", "tokens", "lengths"):
            np.testing.assert_array_equal(getattr(level, field), getattr(other, field))
    for children, others in zip(whole.children, chunked.children, strict=True):
        np.testing.assert_array_equal(children, others)
