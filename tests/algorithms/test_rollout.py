import numpy as np
import pytest
import torch

from tokengym.agents.build import build_agent
from tokengym.agents.policies import AgentPolicy
from tokengym.agents.sampling import Sampler
from tokengym.algorithms.collecting.rollout import Collector
from tokengym.algorithms.data import EpisodeDataset, Episodes
from tokengym.envs import Reply, TokenTask, TurnResult
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.finite.task import FiniteTask, Initial, Transition
from tokengym.envs.registration import make_task
from tokengym.envs.transforms import apply_transforms
from tokengym.envs.vocabulary import Vocabulary


def collector_of(task, **options):
    agent = build_agent(options.pop("agent", "gpt2-tiny"), task.vocabulary, task.max_length, seed=0)
    return Collector(task, **({"num_rows": 8, "seed": 0} | options)), AgentPolicy(agent, Sampler(0))


class ShortOrLong(FiniteTask):
    """The prompt decides whether the episode has one token or twelve."""

    name = "ShortOrLong"
    turn_tokens = 1

    def __init__(self):
        self.vocabulary = Vocabulary.of(["a", "b"], ["short", "long"])

    def initial(self):
        return [Initial(0.5, 1, (2,)), Initial(0.5, 12, (3,))]

    def transitions(self, state, action):
        return [Transition(1.0, state - 1 if state > 1 else None, float(state == 1))]


def test_a_budget_of_tokens_does_not_favour_short_episodes():
    collector, policy = collector_of(ShortOrLong(), agent="table", num_rows=16)
    difference = count = 0
    for _ in range(150):
        lengths = collector.collect(policy, num_tokens=60).episode_lengths
        assert set(lengths) <= {1, 12}
        difference += (lengths == 12).sum() - (lengths == 1).sum()
        count += len(lengths)
    # Long minus short is a sum of fair coins: four standard deviations leave one test in 16,000 to fail by chance.
    assert abs(difference) < 4 * np.sqrt(count)


def test_every_episode_that_is_started_is_whole_and_in_the_order_of_starting():
    collector, policy = collector_of(ShortOrLong(), agent="table", num_rows=3)
    first, second = (collector.collect(policy, num_episodes=20) for _ in range(2))
    assert len(first) == len(second) == 20
    assert not set(first.starts) & set(second.starts)
    assert first.terminated.all() and (first.episode_id == np.arange(20)).all()
    again, policy = collector_of(ShortOrLong(), agent="table", num_rows=7)
    both = again.collect(policy, num_episodes=40)
    # Which starts are played, and how long they are, does not depend on how many rows play them.
    assert both.starts.tolist() == [*first.starts, *second.starts]
    assert both.episode_lengths.tolist() == [*first.episode_lengths, *second.episode_lengths]


def test_the_number_of_episodes_follows_the_length_expected_from_the_last_collection():
    collector, policy = collector_of(ShortOrLong(), agent="table", num_rows=32)
    collector.collect(policy, num_tokens=500)
    sizes = [collector.collect(policy, num_tokens=500).num_tokens for _ in range(30)]
    assert 400 < np.mean(sizes) < 620


@pytest.mark.parametrize("name", ["SlipLock", "Copy"])
def test_members_of_a_group_have_a_start_in_common_and_chance_of_their_own_which_is_recorded(name, tmp_path):
    task = make_task(name)
    collector, policy = collector_of(task, group_size=8, num_rows=16)
    episodes = collector.collect(policy, num_episodes=32)
    assert len(np.unique(episodes.starts)) == 4 and len(np.unique(episodes.streams)) == 32
    replay(task, episodes)
    chosen = Episodes.concat([episodes.select([5, 3]), episodes.select([30])])
    replay(task, chosen)
    EpisodeDataset(chosen, task.vocabulary).save(tmp_path / "file.safetensors")
    again = EpisodeDataset.load(tmp_path / "file.safetensors").episodes
    np.testing.assert_array_equal(again.streams, episodes.streams[[5, 3, 30]])


class Coin(FiniteTask):
    """Whatever is said, a coin decides what it pays."""

    name = "Coin"
    turn_tokens = 1

    def __init__(self):
        self.vocabulary = Vocabulary.of(["a", "b"])

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(0.5, None, 1.0), Transition(0.5, None, 0.0)]


def test_chance_differs_within_a_group_and_a_group_played_again_is_the_same():
    collector, policy = collector_of(Coin(), group_size=64, num_rows=64)
    episodes = collector.collect(policy, num_episodes=64)
    assert len(np.unique(episodes.starts)) == 1
    assert 16 < episodes.returns.sum() < 48
    replay(Coin(), episodes)


def test_groups_share_a_start_and_are_never_split():
    task = make_task("Copy")
    collector, policy = collector_of(task, group_size=4, num_rows=6)
    episodes = collector.collect(policy, num_tokens=50)
    assert len(episodes) % 4 == 0
    starts = episodes.starts.reshape(-1, 4)
    assert (starts == starts[:, :1]).all() and len(np.unique(starts)) == len(starts)
    prompts = episodes.tokens[:, :4].reshape(len(starts), 4, 4)
    assert (prompts == prompts[:, :1]).all()
    assert len(np.unique(episodes.flat.action[:12].reshape(4, 3), axis=0)) > 1


def replay(task, episodes):
    """Say the recorded tokens again, one row an episode, and return (rewards, terminated, truncated, final tokens)."""
    flat = episodes.flat
    for episode in range(len(episodes)):
        engine = Engine(task, 1)
        stream = None if episodes.streams is None else int(episodes.streams[episode])
        engine.reset(None, int(episodes.starts[episode]), stream)
        rewards, ended = [], (False, False)
        for i in range(*flat.episode_offsets[episode : episode + 2]):
            row, column = flat.row[i], flat.column[i]
            seen = engine.tokens[0, : engine.lengths[0]]
            np.testing.assert_array_equal(episodes.tokens[row, :column], seen)
            assert not any(ended)
            result = engine.step(None, flat.action[i : i + 1])
            rewards.append(result.rewards[0])
            ended = (bool(result.terminated[0]), bool(result.truncated[0]))
        last = episodes.last_sequences[episode]
        assert ended == (bool(episodes.terminated[last]), bool(episodes.truncated[last]))
        part = slice(*flat.episode_offsets[episode : episode + 2])
        np.testing.assert_allclose(flat.reward[part], rewards, rtol=1e-6)
        if task.context == "episode" or ended[1]:
            final = episodes.tokens[last, : episodes.lengths[last]]
            np.testing.assert_array_equal(final, engine.tokens[0, : engine.lengths[0]])


@pytest.mark.parametrize("name", ["Copy", "Probe5", "KeywordCover", "WordleMini", "Lattice", "CartPole"])
@pytest.mark.parametrize("limit", [None, 7])
def test_what_is_recorded_is_what_happens_when_the_tokens_are_said_again(name, limit):
    task = make_task(name)
    if limit is not None:
        task = apply_transforms(task, [{"name": "time_limit", "max_tokens": limit}])
    collector, policy = collector_of(task, num_rows=5)
    episodes = collector.collect(policy, num_episodes=9)
    replay(task, episodes)
    if limit is not None and task.context == "turn":
        last = episodes.last_sequences[episodes.truncated[episodes.last_sequences]]
        assert not episodes.agent_mask[last].any()


@pytest.mark.parametrize("name", ["KeywordCover", "WordleMini", "CartPole"])
def test_recorded_log_probabilities_are_those_of_the_teacher_forced_pass(name):
    from tokengym.algorithms.data.batch import Batch

    task = make_task(name)
    collector, policy = collector_of(task, num_rows=5)
    batch = Batch.from_episodes(collector.collect(policy, num_episodes=9))
    with torch.no_grad():
        log_probs = batch.score(policy.agent).log_probs
    torch.testing.assert_close(log_probs, batch.log_probs, atol=1e-4, rtol=0)


def test_masks_are_recorded_and_never_violated():
    task = make_task("WordleMini")
    collector, policy = collector_of(task, action_masks=True)
    episodes = collector.collect(policy, num_episodes=12)
    assert episodes.action_masks.shape == (episodes.num_tokens, task.vocabulary.num_actions)
    assert episodes.final_action_masks.shape == (12, task.vocabulary.num_actions)
    assert episodes.action_masks.allows(torch.from_numpy(episodes.flat.action)).all()


def test_the_same_seeds_give_the_same_bits():
    task = make_task("KeywordCover")
    runs = []
    for _ in range(2):
        collector, policy = collector_of(task)
        runs.append([collector.collect(policy, num_tokens=64) for _ in range(2)])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.log_probs, other.log_probs)


class Credited(TokenTask):
    """Turns of three tokens, each of which earns its own id."""

    name = "Credited"
    context = "episode"
    max_turn_tokens = 3
    max_episode_tokens = 6
    max_length = 8

    def __init__(self):
        self.vocabulary = Vocabulary.of(["a", "b", "c"])

    def make_state(self, num_rows):
        return super().make_state(num_rows) | {"turns": np.zeros(num_rows, np.int64)}

    def begin(self, state, rows, random):
        state["turns"][rows] = 0
        return Reply(np.zeros((len(rows), 0), np.int32), np.zeros(len(rows), np.int64))

    def respond(self, state, rows, turn_tokens, counts, random):
        state["turns"][rows] += 1
        credit = [turn.astype(np.float64) for turn in turn_tokens]
        return TurnResult(None, turn_tokens.sum(1).astype(np.float64), state["turns"][rows] == 2, credit)


@pytest.mark.parametrize("credited", [True, False])
def test_rewards_known_at_the_end_of_a_turn_go_to_the_tokens_that_earned_them(credited):
    collector, policy = collector_of(Credited(), token_rewards=credited)
    flat = collector.collect(policy, num_episodes=10).flat
    if credited:
        np.testing.assert_allclose(flat.reward, flat.action)
    else:
        assert (flat.reward[flat.step % 3 != 2] == 0).all()
    np.testing.assert_allclose(flat.reward.reshape(-1, 3).sum(1), flat.action.reshape(-1, 3).sum(1))


@pytest.mark.parametrize("budget", [{}, {"num_tokens": 0}, {"num_tokens": 5, "num_episodes": 5}])
def test_a_collection_needs_one_budget(budget):
    collector, policy = collector_of(make_task("Probe1"))
    with pytest.raises(TokenGymError, match=r"; expected (one of them|None or a whole number of at least 1)"):
        collector.collect(policy, **budget)


def test_a_budget_of_episodes_holds_whole_groups():
    collector, policy = collector_of(make_task("Probe1"), group_size=4)
    with pytest.raises(TokenGymError, match="multiple of group_size 4"):
        collector.collect(policy, num_episodes=6)
