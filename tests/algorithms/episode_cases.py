"""Episodes made up for tests: random ones with replies inside, and every episode of a small tree."""

import itertools

import numpy as np

from tokengym.algorithms.data.episodes import Episodes
from tokengym.envs.engine import Engine


def random_episodes(rng, num_episodes=5, by_turn=False, num_actions=4, with_masks=False):
    """Episodes whose agent tokens lie scattered between prompts and replies.

    By turn, an episode is several sequences, and a truncated one ends with a sequence that has no agent token.
    """
    rows, episode_id, turns, terminated, truncated = [], [], [], [], []
    for episode in range(num_episodes):
        ends_well = bool(rng.integers(2))
        num_sequences = int(rng.integers(1, 4)) if by_turn else 1
        for turn in range(num_sequences):
            length = int(rng.integers(3, 12))
            mask = np.concatenate([[False], rng.random(length - 1) < 0.5])
            mask[1 + int(rng.integers(length - 1))] = True
            rows.append(mask)
            episode_id.append(episode)
            turns.append(turn)
            terminated.append(ends_well and turn == num_sequences - 1)
            truncated.append(not by_turn and not ends_well)
        if by_turn and not ends_well:
            rows.append(np.zeros(int(rng.integers(1, 6)), bool))
            episode_id.append(episode)
            turns.append(num_sequences)
            terminated.append(False)
            truncated.append(True)
    width = max(map(len, rows))
    agent_mask = np.zeros((len(rows), width), bool)
    for i, mask in enumerate(rows):
        agent_mask[i, : len(mask)] = mask
    count = int(agent_mask.sum())
    rewards, log_probs = np.zeros((2, *agent_mask.shape), np.float32)
    rewards[agent_mask] = rng.normal(size=count)
    log_probs[agent_mask] = -rng.random(count)
    return Episodes(
        tokens=rng.integers(0, num_actions, agent_mask.shape).astype(np.int32),
        lengths=np.array([len(mask) for mask in rows], np.int32),
        agent_mask=agent_mask,
        rewards=rewards,
        log_probs=log_probs,
        episode_id=np.array(episode_id, np.int64),
        turn=np.array(turns, np.int32),
        terminated=np.array(terminated),
        truncated=np.array(truncated),
        starts=rng.integers(0, 2**63, num_episodes).astype(np.uint64),
        action_masks=rng.random((count, num_actions)) < 0.5 if with_masks else None,
        final_action_masks=rng.random((num_episodes, num_actions)) < 0.5 if with_masks else None,
    )


def every_episode(task, log_probs_of):
    """All episodes of a task without chance whose turn is the whole episode, one `Episodes` an action sequence.

    `log_probs_of(tokens (1, L), columns (T,), actions (T,))` gives the behaviour's log-probabilities.
    """
    depth, num_actions = task.max_episode_tokens, task.vocabulary.num_actions
    for actions in itertools.product(range(num_actions), repeat=depth):
        engine = Engine(task, 1)
        engine.reset(None, 0)
        first = int(engine.lengths[0])
        result = engine.append(None, np.array([actions]), np.array([depth]))
        tokens = engine.tokens[:, : first + depth].copy()
        columns = np.arange(first, first + depth)
        tokens[0, columns] = actions
        agent_mask = np.zeros(tokens.shape, bool)
        agent_mask[0, columns] = True
        rewards, log_probs = np.zeros((2, *tokens.shape), np.float32)
        rewards[0, columns] = result.per_token[0]
        log_probs[0, columns] = log_probs_of(tokens, columns, np.array(actions))
        yield Episodes(
            tokens=tokens,
            lengths=np.array([first + depth], np.int32),
            agent_mask=agent_mask,
            rewards=rewards,
            log_probs=log_probs,
            episode_id=np.zeros(1, np.int64),
            turn=np.zeros(1, np.int32),
            terminated=np.ones(1, bool),
            truncated=np.zeros(1, bool),
            starts=np.zeros(1, np.uint64),
        )
