"""Comparisons made up for tests of reward models: sequences of a small tree, compared by a gold reward."""

import itertools

import numpy as np

from tokengym.algorithms.data import Episodes, PreferenceDataset, PreferencePairs
from tokengym.envs import Reply, TokenTask, TurnResult, Vocabulary
from tokengym.envs.transforms import RewardModelTransform


def tree(num_tokens=3, depth=3):
    """The vocabulary of a tree, and all its sequences from `bos` on: int32 (M, 1 + depth)."""
    vocabulary = Vocabulary.of([f"t{token}" for token in range(num_tokens)])
    leaves = np.array(list(itertools.product(range(num_tokens), repeat=depth)), np.int32)
    return vocabulary, np.concatenate([np.full((len(leaves), 1), vocabulary.bos, np.int32), leaves], axis=1)


def smooth_gold(tokens, seed=0):
    """A gold reward that is a sum over tokens at places and over neighbours; of standard deviation 1."""
    random = np.random.default_rng(seed)
    said = tokens[:, 1:]
    num_tokens, depth = int(said.max()) + 1, said.shape[1]
    alone, beside = random.normal(size=(depth, num_tokens)), random.normal(size=(num_tokens, num_tokens)) / 2
    gold = alone[np.arange(depth), said].sum(axis=1) + beside[said[:, :-1], said[:, 1:]].sum(axis=1)
    return (gold - gold.mean()) / gold.std()


def soft_labels(gold):
    """All ordered pairs of sequences, each weighted by the probability that its first is the better."""
    better, worse = (array.ravel() for array in np.indices((len(gold), len(gold))))
    apart = better != worse
    better, worse = better[apart], worse[apart]
    return better, worse, 1 / (1 + np.exp(gold[worse] - gold[better]))


def drawn_labels(gold, count, seed, flips=0.0):
    """Pairs of different sequences, ordered by Bradley-Terry draws from the gold reward, some flipped."""
    random = np.random.default_rng(seed)
    first = random.integers(len(gold), size=count)
    second = (first + random.integers(1, len(gold), size=count)) % len(gold)
    wins = random.random(count) < 1 / (1 + np.exp(gold[second] - gold[first]))
    wins ^= random.random(count) < flips
    return np.where(wins, first, second), np.where(wins, second, first)


def episodes_of(tokens, rewards=None, prompt=1):
    """Episodes of equal lengths in which everything after the prompt was said by the agent."""
    count, width = tokens.shape
    said = np.broadcast_to(np.arange(width) >= prompt, tokens.shape).copy()
    paid = np.zeros(tokens.shape, np.float32)
    if rewards is not None:
        paid[:, -1] = rewards
    prompts = np.unique(tokens[:, :prompt], axis=0, return_inverse=True)[1].reshape(-1)
    return Episodes(
        tokens=tokens,
        lengths=np.full(count, width, np.int32),
        agent_mask=said,
        rewards=paid,
        log_probs=np.zeros(tokens.shape, np.float32),
        episode_id=np.arange(count),
        turn=np.zeros(count, np.int32),
        terminated=np.ones(count, bool),
        truncated=np.zeros(count, bool),
        starts=prompts.astype(np.uint64),
    )


def tree_comparisons(count=60, seed=0, num_tokens=3, depth=3, flips=0.0):
    """Comparisons on a tree, as a dataset; its episodes' returns are the gold reward."""
    vocabulary, tokens = tree(num_tokens, depth)
    gold = smooth_gold(tokens)
    pairs = PreferencePairs(*drawn_labels(gold, count, seed, flips))
    return PreferenceDataset(episodes_of(tokens, gold), vocabulary, pairs)


class Counting(TokenTask):
    """Three turns of one or two tokens; the task answers with as many dots, and pays the sum of the digits."""

    name = "Counting"
    vocabulary = Vocabulary.of(["0", "1", "stop"], ["."])
    max_turn_tokens, end_of_turn, max_turns = 2, 2, 3
    max_length = 24

    def __init__(self, context="episode"):
        self.context = context

    def begin(self, state, rows, random):
        return np.full((len(rows), 2), self.vocabulary.ids["."], np.int32)

    def respond(self, state, rows, turn_tokens, counts, random):
        digits = np.where(np.arange(2) < counts[:, None], turn_tokens % 2, 0)
        dots = np.full((len(rows), 2), self.vocabulary.ids["."], np.int32)
        return TurnResult(Reply(dots, counts), digits.sum(axis=1).astype(float))


def counting(context, folder=None):
    """The task, or under a reward model's score."""
    task = Counting(context)
    return task if folder is None else RewardModelTransform(task, str(folder))
