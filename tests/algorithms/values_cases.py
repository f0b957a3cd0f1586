"""A small dataset whose values can be worked out by hand, and tables to hold them against."""

import numpy as np
import torch

from tokengym.algorithms import EpisodeDataset
from tokengym.algorithms.offline import record
from tokengym.envs import make_task
from tokengym.envs.transforms import TimeLimit
from tokengym.experiments.audit.enumeration import all_episodes
from tokengym.experiments.audit.tables import NEVER, rows_of, table_agent
from tokengym.experiments.audit.trees import LeafTree

PAYS = {"0": -0.5625, "10": -0.8125, "11": -0.125, "12": -0.625, "20": -0.9375, "21": -0.3125, "22": 0.0}
"""What texts pay. The best of all is never said; the best that is said stands behind a token that is not."""
SAID = {"0": 3, "10": 2, "11": 1, "12": 2, "20": 1, "21": 2}
"""How often the dataset says them."""
TREE = LeafTree(PAYS, replies=True)
STATES = ("", "1", "2")


def text_of(episodes, place):
    """What is said in an episode."""
    flat = episodes.flat
    return "".join(str(token) for token in flat.action[flat.episode == place].tolist())


def said_episodes():
    """All episodes of the dataset."""
    everything, _ = all_episodes(TREE)
    return everything.select([e for e in range(len(everything)) for _ in range(SAID.get(text_of(everything, e), 0))])


def said_dataset():
    return EpisodeDataset(said_episodes(), TREE.vocabulary)


def learner_of(kind, **config):
    """An algorithm on the dataset, all of it in each update, with a table of float64."""
    config = {"reward_scaling": False, "batch_episodes": sum(SAID.values()), "learning_rate": 0.05, **config}
    heads = kind(TREE, "table", dataset=said_dataset(), **config).required_heads()
    return kind(TREE, table_agent(TREE, heads=heads), dataset=said_dataset(), seed=0, **config)


def places(agent):
    """The row of the table for each state, by what was said before it."""
    everything, _ = all_episodes(TREE)
    rows, flat = rows_of(agent, everything), everything.flat
    return {
        text_of(everything, int(episode))[:step]: int(row)
        for row, episode, step in zip(rows, flat.episode, flat.step, strict=True)
    }


def write(agent, head, values):
    """Write what a head says, by state: a number or one for each token."""
    where = places(agent)
    with torch.no_grad():
        for state, said in values.items():
            agent.readouts[head].weight[where[state]] = torch.as_tensor(said, dtype=torch.float64)


def read(agent, head):
    where = places(agent)
    return {state: agent.readouts[head].weight[where[state]].detach().numpy() for state in STATES}


def weight_of(text):
    return sum(count for said, count in SAID.items() if said.startswith(text))


def frequencies(state):
    counts = np.array([weight_of(state + token) for token in "012"], float)
    return counts / counts.sum()


def cloned():
    """The logits of the behaviour."""
    with np.errstate(divide="ignore"):
        return {state: np.maximum(np.log(frequencies(state)), NEVER) for state in STATES}


def backed_up(of_state, gamma=1.0):
    """Q and V by state, where V is what ``of_state(q, weights)`` makes of the Qs of what is said; 0 for what is not."""
    q, values = {}, {}

    def worth(text):
        if text in PAYS:
            return 0.0, PAYS[text]
        if text not in values:
            children = [text + token for token in "012"]
            here = np.zeros(3)
            for token, child in enumerate(children):
                if weight_of(child):
                    following, paid = worth(child)
                    here[token] = paid + gamma * following
            said = frequencies(text) > 0
            q[text], values[text] = here, of_state(here[said], frequencies(text)[said])
        return values[text], 0.0

    worth("")
    return q, values


def mean(q, weights):
    return float((q * weights).sum() / weights.sum())


def expectile(tau):
    """The V at which Σ w·|τ − 1(q < V)|·(q − V) is 0, by bisection."""

    def of_state(q, weights):
        low, high = float(q.min()), float(q.max())
        for _ in range(200):
            middle = (low + high) / 2
            pull = (weights * np.where(q < middle, 1 - tau, tau) * (q - middle)).sum()
            low, high = (middle, high) if pull > 0 else (low, middle)
        return (low + high) / 2

    return of_state


def gradients(learner, episodes=None):
    """By head, the gradient of the loss of all episodes as things stand."""
    learner.agent.zero_grad()
    prepared = learner.prepare(said_episodes() if episodes is None else episodes)
    learner.loss(prepared.batch, prepared).total.backward()
    return {
        name: head.weight.grad.numpy() for name, head in learner.agent.readouts.items() if head.weight.grad is not None
    }


SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}


def odd_episodes(which):
    """A task and a few of its episodes: with masks, or cut short and shown in turns."""
    task = make_task("Nim") if which == "masked" else TimeLimit(make_task("Lattice"), 5)
    from tokengym.agents import RandomPlayer

    episodes, _ = record(task, RandomPlayer(task.vocabulary), 6, 3, action_masks=which == "masked", numbers="float64")
    return task, episodes


def shaken(kind, which, **config):
    """An algorithm whose weights, and those of its slow copy, are all random; and what it is to learn from."""
    task, episodes = odd_episodes(which)
    data = EpisodeDataset(episodes, task.vocabulary)
    learner = kind(task, SMALL, dataset=data, dtype="float64", action_masks=which == "masked", **config)
    generator = torch.Generator().manual_seed(5)
    networks = [learner.agent, *([learner.target] if hasattr(learner, "target") else [])]
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return learner, episodes


def states_of(episodes):
    """One agent token after the other: (episode, tokens before it, token, reward, what might be said or None)."""
    flat = episodes.flat
    masks = None if episodes.action_masks is None else episodes.action_masks.unpack().numpy()
    for n in range(len(flat)):
        row, column = int(flat.row[n]), int(flat.column[n])
        legal = None if masks is None else masks[n]
        yield int(flat.episode[n]), episodes.tokens[row, :column], int(flat.action[n]), float(flat.reward[n]), legal


@torch.no_grad()
def heads_at(agent, tokens):
    """What an agent's heads say behind some tokens, in numpy."""
    length = torch.tensor([len(tokens)])
    out = agent.evaluate(torch.as_tensor(tokens[None].astype(np.int64)), length, torch.tensor([0]), length)
    return {
        name: getattr(out, name)[0].numpy()
        for name in ("logits", "values", "q", "q2")
        if getattr(out, name) is not None
    }


def final_tokens(episodes, episode):
    """All that was seen in the end of an episode."""
    row = int(episodes.last_sequences[episode])
    return episodes.tokens[row, : episodes.lengths[row]]


def log_softmax(logits, legal):
    logits = logits if legal is None else np.where(legal, logits, -np.inf)
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
