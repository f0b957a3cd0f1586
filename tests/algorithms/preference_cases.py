"""Comparisons made up for tests: all pairs of all completions of a small tree, with the labels that are expected."""

import numpy as np

from tokengym.algorithms.data import PreferenceDataset, PreferencePairs
from tokengym.experiments.audit import all_episodes


def population(task, policy=None, temperature=1.0):
    """All ordered pairs of different completions, weighing as often as samples of ``policy`` are labelled so.

    A pair is drawn with π(i)·π(j), and its first is preferred with σ((R_i − R_j)/temperature).

    Args:
        task: a tree with one prompt.
        policy: what the completions are drawn from; None for uniform.
        temperature: of the Bradley-Terry labels.
    """
    episodes, probabilities = all_episodes(task, policy)
    first, second = np.nonzero(~np.eye(len(episodes), dtype=bool))
    margin = (episodes.returns[first] - episodes.returns[second]) / temperature
    weight = probabilities[first] * probabilities[second] / (1 + np.exp(-margin))
    return PreferenceDataset(episodes, task.vocabulary, PreferencePairs(first, second, weight * len(first)))


def log_ratios(episodes, policy, reference=None):
    """Return float64 (E,), log π(y) − log π_ref(y) of whole completions; a reference of None is uniform."""
    said = np.zeros(len(episodes))
    flat = episodes.flat
    for step in range(int(episodes.episode_lengths.max())):
        chosen = np.flatnonzero(flat.step == step)
        tokens, lengths = episodes.tokens[flat.row[chosen]], flat.column[chosen].astype(np.int32)
        rows, actions = np.arange(len(chosen)), flat.action[chosen]
        probabilities = policy(tokens, lengths)
        said[flat.episode[chosen]] += np.log(probabilities[rows, actions])
        if reference is None:
            said[flat.episode[chosen]] += np.log(probabilities.shape[1])
        else:
            said[flat.episode[chosen]] -= np.log(reference(tokens, lengths)[rows, actions])
    return said
