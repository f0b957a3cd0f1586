"""Policies draw from exactly the distributions that they name: enumerated on tasks with few answers."""

import numpy as np
import pytest
import torch

from tokengym.agents import RandomPlayer, Sampler, build_agent
from tokengym.agents.decoding import AdvantageWeighted, Exploring
from tokengym.agents.policies import AgentPolicy, BestOfN, ExternalPolicy, LaggedPolicy, MaskedPolicy, policy_of
from tokengym.agents.session import StepOutput
from tokengym.algorithms.collecting.playing import Observer, play, queue
from tokengym.algorithms.collecting.rollout import Collector
from tokengym.envs import Reply, TokenTask, TurnResult
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.registration import make_task
from tokengym.envs.vocabulary import Vocabulary

EPISODES = 6000


class Word(TokenTask):
    """One turn of two letters, or of one where it is the full stop."""

    name = "Word"
    context = "episode"
    max_turn_tokens = 2
    max_episode_tokens = 2
    max_length = 6
    end_of_turn = 3

    def __init__(self):
        self.vocabulary = Vocabulary.of(["a", "b", "c", "."])

    def begin(self, state, rows, random):
        return Reply(np.full((len(rows), 1), 1, np.int32), np.ones(len(rows), np.int64))

    def respond(self, state, rows, turn_tokens, counts, random):
        return TurnResult(None, counts.astype(np.float64), np.ones(len(rows), bool))


def shaken(task, heads=("policy",), seed=0):
    """An agent whose heads say something, which untrained ones hardly do."""
    agent = build_agent("mlp-tiny", task.vocabulary, task.max_length, heads=heads, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.readouts.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return agent


class Words(Observer):
    """Collects what was said on each row's only turn, and what it cost."""

    def __init__(self):
        self.said, self.cost, self.columns = {}, 0, []

    def began(self, rows, starts):
        self.rows = {**getattr(self, "rows", {}), **dict(zip(rows.tolist(), starts.tolist(), strict=True))}

    def stepped(self, step):
        self.cost += int(step.act.drawn.sum())
        for index, row in enumerate(step.rows.tolist()):
            word = self.said.setdefault(self.rows[row], [])
            word.extend(step.act.tokens[index, : step.said[index]].tolist())

    def counted(self):
        words = [tuple(word) for word in self.said.values()]
        return {word: words.count(word) / len(words) for word in set(words)}


def played(task, policy, episodes=EPISODES, rows=64, **options):
    words = Words()
    drawn = play(Engine(task, rows), policy, queue(np.arange(episodes, dtype=np.uint64)), [words], **options)
    assert drawn == words.cost and len(words.said) == episodes
    return words


def enumerated(task, probabilities):
    """The probability of every word, from a function of prefixes."""
    end, prompt = task.end_of_turn, [task.vocabulary.bos, 1]

    def next_token(said):
        sequence = np.array([prompt + list(said)], np.int32)
        return probabilities(sequence, np.array([sequence.shape[1]]))[0]

    words = {}
    for first, p in enumerate(next_token(())):
        if first == end:
            words[(first,)] = p
            continue
        for second, q in enumerate(next_token((first,))):
            words[(first, second)] = p * q
    return words


def assert_drawn_from(found, expected, episodes=EPISODES):
    assert sum(expected.values()) == pytest.approx(1.0)
    assert set(found) <= {word for word, p in expected.items() if p > 0}
    for word, p in expected.items():
        # Five standard deviations of a share: one test in a million fails by chance.
        assert abs(found.get(word, 0.0) - p) < 5 * np.sqrt(p * (1 - p) / episodes) + 1e-3, word


def test_an_agents_policy_draws_from_the_agents_own_distribution():
    agent = shaken(task := Word())
    policy = AgentPolicy(agent, Sampler(1))
    assert policy.on_policy and policy.sampling == "policy"
    assert_drawn_from(played(task, policy).counted(), enumerated(task, agent.probabilities))
    greedy = played(task, policy, 10, deterministic=True).counted()
    best = max(
        enumerated(task, lambda *seen: np.eye(4)[agent.probabilities(*seen).argmax(1)]).items(), key=lambda x: x[1]
    )
    assert greedy == {best[0]: 1.0}


def test_exploration_is_mixed_in_token_by_token_by_its_share():
    agent = shaken(task := Word(), heads=("q",))

    def greedy(output, masks):
        assert output.q is not None
        return torch.eye(4)[output.q.argmax(1)], output.q

    for temperature in (None, 0.5):
        rule = Exploring(greedy, lambda: 0.3, temperature)
        policy = AgentPolicy(agent, Sampler(1), rule=rule)
        assert not policy.on_policy

        def mixture(tokens, lengths, temperature=temperature):
            q = np.log(agent.probabilities(tokens, lengths))
            explores = np.full((1, 4), 0.25) if temperature is None else np.exp(q / temperature)
            return 0.7 * np.eye(4)[q.argmax(1)] + 0.3 * explores / explores.sum(1, keepdims=True)

        expected = enumerated(task, mixture)
        assert_drawn_from(played(task, policy).counted(), expected)
        found = enumerated(task, policy.probabilities)
        assert found == pytest.approx(expected, abs=1e-6)


def test_decoding_by_advantage_reweights_the_policy():
    agent = shaken(task := Word(), heads=("policy", "value", "twin_q"))
    policy = AgentPolicy(agent, Sampler(2), rule=AdvantageWeighted(1.5), heads=("policy", "value", "twin_q"))

    def reweighted(tokens, lengths):
        columns = torch.as_tensor(lengths)
        with torch.no_grad():
            out = agent.evaluate(torch.as_tensor(tokens), columns, torch.zeros(1, dtype=torch.int64), columns)
        weights = out.logits.softmax(-1) * torch.exp(1.5 * (torch.minimum(out.q, out.q2) - out.values[:, None]))
        return (weights / weights.sum(-1, keepdim=True)).numpy().astype(np.float64)

    expected = enumerated(task, reweighted)
    assert enumerated(task, policy.probabilities) == pytest.approx(expected, abs=1e-6)
    assert_drawn_from(played(task, policy).counted(), expected)
    likeliest = reweighted(np.array([[4, 1]]), np.array([2])).argmax()
    assert policy.predict({"tokens": np.array([4, 1]), "length": np.array([2])}, deterministic=True)[0] == likeliest
    assert agent.predict({"tokens": np.array([4, 1]), "length": np.array([2])}, deterministic=True)[0] != likeliest
    plain = AgentPolicy(agent, Sampler(2), rule=AdvantageWeighted(0.0), heads=policy.heads)
    assert enumerated(task, plain.probabilities) == pytest.approx(enumerated(task, agent.probabilities), abs=1e-6)
    with pytest.raises(TokenGymError, match="no Qs"):
        AdvantageWeighted(1.0)(StepOutput(logits=torch.zeros(1, 4)), None)


def test_a_lagged_policy_follows_only_when_told():
    agent = shaken(task := Word())
    before = enumerated(task, agent.probabilities)
    policy = LaggedPolicy(agent, Sampler(3))
    with torch.no_grad():
        for parameter in agent.readouts.parameters():
            parameter.mul_(-1.0)
    assert enumerated(task, policy.probabilities) == pytest.approx(before)
    assert_drawn_from(played(task, policy).counted(), before)
    tensors, data = policy.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    policy.catch_up(agent)
    assert enumerated(task, policy.probabilities) == pytest.approx(enumerated(task, agent.probabilities))
    first = played(task, policy, 20).said
    policy.load_state(tensors, data)
    assert enumerated(task, policy.probabilities) == pytest.approx(before)
    policy.catch_up(agent, 0.5)
    assert enumerated(task, policy.probabilities) != pytest.approx(before)
    policy.load_state(tensors, data)
    policy.catch_up(agent)
    assert played(task, policy, 20).said == first


def test_a_masked_policy_is_the_policy_given_that_it_says_what_is_allowed():
    agent = shaken(task := Word())

    def only_a_and_c(tokens, lengths):
        return np.repeat([[True, False, True, False]], len(lengths), axis=0)

    policy = MaskedPolicy(AgentPolicy(agent, Sampler(4)), only_a_and_c)

    def restricted(tokens, lengths):
        given = agent.probabilities(tokens, lengths) * np.array([1, 0, 1, 0])
        return given / given.sum(1, keepdims=True)

    expected = enumerated(task, restricted)
    assert_drawn_from(played(task, policy).counted(), expected)
    assert enumerated(task, policy.probabilities) == pytest.approx(expected, abs=1e-9)
    nothing = MaskedPolicy(RandomPlayer(task.vocabulary), lambda tokens, lengths: np.zeros((len(lengths), 4), bool))
    with pytest.raises(TokenGymError, match="left nothing to say after"):
        played(task, nothing, 1)


def favourite(prompts, turns):
    """A score with ties: how many c's, and one more for an early end."""
    assert all(prompt == [4, 1] for prompt in prompts) or prompts[0][1] == 1
    return [turn.count(2) + (len(turn) == 1) for turn in turns]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_best_of_n_turns_has_the_distribution_of_the_best_draw(n):
    agent = shaken(task := Word())
    drafts = enumerated(task, agent.probabilities)
    scores = dict(zip(drafts, favourite([[0, 1]] * len(drafts), [list(word) for word in drafts]), strict=True))

    def best_is(word):
        # The first of equals among n independent draws is, given its score, a draw given that score.
        at_most = sum(p for other, p in drafts.items() if scores[other] <= scores[word])
        below = sum(p for other, p in drafts.items() if scores[other] < scores[word])
        return (at_most**n - below**n) * drafts[word] / (at_most - below)

    found = played(task, BestOfN(AgentPolicy(agent, Sampler(5)), n, favourite))
    assert_drawn_from(found.counted(), {word: best_is(word) for word in drafts})
    expected_cost = n * EPISODES * sum(p * len(word) for word, p in drafts.items())
    assert found.cost == pytest.approx(expected_cost, rel=0.03)
    assert found.cost >= sum(len(word) for word in found.said.values())


def test_the_collector_counts_every_draft_and_knows_no_log_probability_of_the_best():
    agent = shaken(task := Word())
    collector = Collector(task, num_rows=8, seed=0)
    policy = BestOfN(AgentPolicy(agent, Sampler(0)), 4, favourite)
    episodes = collector.collect(policy, num_episodes=30)
    assert not policy.on_policy and np.isnan(episodes.flat.log_prob).all()
    assert episodes.num_tokens < collector.num_tokens <= 4 * 2 * 30
    assert collector.num_episodes == 30
    assert (episodes.returns == episodes.episode_lengths).all()


def test_a_prompt_is_read_once_for_all_of_its_drafts(monkeypatch):
    task = make_task("KeywordCover")
    agent = build_agent("gpt2-tiny", task.vocabulary, task.max_length, seed=0)
    engine, read = Engine(task, 3), []
    engine.reset(None, np.arange(3, dtype=np.uint64))
    extend = type(agent.trunk.make_decoder(1)).extend

    def counted(self, rows, tokens, starts, ends):
        read.append(int((ends - starts).sum()))
        return extend(self, rows, tokens, starts, ends)

    monkeypatch.setattr(type(agent.trunk.make_decoder(1)), "extend", counted)
    policy = BestOfN(AgentPolicy(agent, Sampler(0)), 5, lambda prompts, turns: [sum(turn) for turn in turns])
    with policy.playing(engine):
        act = policy.act(None, engine.tokens, engine.lengths)
    assert read[0] == engine.lengths.sum() and sum(read[1:]) <= act.drawn.sum()
    assert (act.drawn >= 5 * 1).all() and (act.counts <= task.max_turn_tokens).all()


def test_a_score_that_is_no_number_for_each_draft_is_refused():
    agent = shaken(task := Word())
    for wrong in (lambda prompts, turns: [0.0], lambda prompts, turns: [np.nan] * len(turns)):
        with pytest.raises(TokenGymError, match="expected as many finite numbers"):
            played(task, BestOfN(AgentPolicy(agent, Sampler(0)), 3, wrong), 4)


@pytest.mark.parametrize("name", ["KeywordCover", "WordleMini", "Lattice"])
def test_turns_of_an_external_sampler_are_recorded_as_if_they_were_stepped_through(name):
    task = make_task(name)
    agent = build_agent("gpt2-tiny", task.vocabulary, task.max_length, seed=0)

    def greedy_turns(seen, deterministic):
        """Longer turns than the task takes: what is behind their ends is not said."""
        turns = [list(row) for row in seen]
        for _ in range(task.max_turn_tokens):
            lengths = np.array([len(row) for row in turns])
            tokens = np.zeros((len(turns), lengths.max()), np.int32)
            for row, ids in enumerate(turns):
                tokens[row, : len(ids)] = ids
            for row, token in zip(turns, agent.probabilities(tokens, lengths).argmax(1).tolist(), strict=True):
                row.append(token)
        return [row[len(ids) :] for row, ids in zip(turns, seen, strict=True)]

    class Greedy(AgentPolicy):
        def act(self, rows, tokens, lengths, masks=None, deterministic=False):
            return super().act(rows, tokens, lengths, masks, True)

    by_turn = Collector(task, num_rows=5, seed=3)
    turns = by_turn.collect(ExternalPolicy(greedy_turns), num_episodes=12)
    stepped = Collector(task, num_rows=5, seed=3).collect(Greedy(agent), num_episodes=12)
    for field in (
        "tokens",
        "lengths",
        "agent_mask",
        "rewards",
        "episode_id",
        "turn",
        "terminated",
        "truncated",
        "starts",
    ):
        np.testing.assert_array_equal(getattr(turns, field), getattr(stepped, field))
    assert np.isnan(turns.flat.log_prob).all() and by_turn.num_tokens >= turns.num_tokens


def test_log_probabilities_of_an_external_sampler_are_kept_for_what_was_said():
    task = Word()

    def sampler(seen, deterministic):
        return [[3, 0] if index % 2 else [0, 1] for index in range(len(seen))], [[-0.5, -9.0]] * len(seen)

    collector = Collector(task, num_rows=4, seed=0)
    flat = collector.collect(ExternalPolicy(sampler), num_episodes=4).flat
    assert collector.num_tokens == 8
    assert flat.action.tolist() == [0, 1, 3, 0, 1, 3]
    assert flat.log_prob.tolist() == [-0.5, -9.0, -0.5, -0.5, -9.0, -0.5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0]], "gave 1 turns"),
        ([[0], []], r"of \[1, 0\] tokens for 2 rows"),
        (([[0], [1, 2]], [[0.0], [0.0]]), "expected one a token"),
    ],
)
def test_turns_that_do_not_fit_the_rows_are_refused(given, message):
    with pytest.raises(TokenGymError, match=message):
        played(Word(), ExternalPolicy(lambda seen, deterministic: given), 2, rows=2)


def test_whole_turns_and_action_masks_exclude_one_another():
    task = make_task("WordleMini")
    agent = build_agent("table", task.vocabulary, task.max_length, seed=0)
    for policy in (BestOfN(AgentPolicy(agent), 2, favourite), ExternalPolicy(lambda seen, deterministic: [])):
        with pytest.raises(TokenGymError, match="hold for the next token only"):
            Collector(task, num_rows=2, seed=0, action_masks=True).collect(policy, num_episodes=2)


def test_a_seeded_policy_repeats_its_draws_and_moves_no_generator_of_the_first():
    task = Word()
    agent = shaken(task)

    class Predicts:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return torch.randint(4, (len(observation["tokens"]),)).numpy(), None

    def allowed(tokens, lengths):
        return np.ones((len(lengths), 4), bool)

    first = AgentPolicy(agent, Sampler(9))
    before = first.sampler.get_state()
    for player in (
        agent,
        first,
        RandomPlayer(task.vocabulary),
        Predicts(),
        MaskedPolicy(first, allowed),
        BestOfN(first, 3, favourite),
        LaggedPolicy(agent, first.sampler),
    ):
        one, again, other = (played(task, policy_of(player, seed), 40).said for seed in (7, 7, 8))
        assert one == again != other
    assert torch.equal(first.sampler.get_state(), before)
    with pytest.raises(TokenGymError, match="expected an Agent"):
        policy_of(RandomPlayer)
    with pytest.raises(TokenGymError, match="expected an Agent"):
        policy_of(3)


def test_a_policy_goes_on_from_its_state():
    task = Word()
    agent = shaken(task)
    makers = (
        lambda: AgentPolicy(agent, Sampler(1)),
        lambda: RandomPlayer(task.vocabulary, seed=1),
        lambda: BestOfN(AgentPolicy(agent, Sampler(1)), 2, favourite),
    )
    for make in makers:
        one, other = make(), make()
        played(task, one, 30)
        other.load_state(*one.state())
        assert played(task, one, 30).said == played(task, other, 30).said


def test_every_expert_can_be_played_in_a_loop_on_any_rows():
    from tokengym.agents import ExpertPlayer
    from tokengym.experiments.evaluation import evaluate_agent

    task = make_task("Copy")
    player = ExpertPlayer(Engine(task, 1))
    assert evaluate_agent(player, task, exact_limit=0, episodes=40).expected_return == pytest.approx(1.0)
