"""The defaults: what they reach within a few thousand tokens, and what they take from the agent."""

import pytest

from tokengym.agents import build_agent
from tokengym.algorithms import A2C, DQN, PPO, SAC
from tokengym.envs.registration import make_task
from tokengym.experiments.evaluation import evaluate_agent, references
from tokengym.experiments.statistics import normalised_score

KL = {"kl_coef": 0.1, "kl_reference": "uniform"}
WORDLE = ("WordleMini", {"num_letters": 4, "word_length": 2, "num_words": 8})


@pytest.mark.parametrize(
    ("kind", "environment", "tokens", "least"),
    [
        (PPO, WORDLE, 20_000, 0.7),
        (A2C, WORDLE, 20_000, 0.7),
        (DQN, ("Copy", {}), 20_000, 0.85),
        (SAC, ("KeywordCover", {}), 10_000, 0.95),
    ],
)
def test_defaults_learn_within_few_tokens(kind, environment, tokens, least):
    name, arguments = environment
    task = make_task(name, **arguments)
    algorithm = kind(task, seed=1000).learn(tokens)
    found, known = evaluate_agent(algorithm, task, episodes=300), references(task)
    assert normalised_score(found.value, known.random, known.optimal) >= least


@pytest.mark.parametrize(("agent", "rate"), [("mlp-tiny", 2e-3), ("gpt2-tiny", 1e-3), ("gru-tiny", 3e-3)])
def test_the_learning_rate_is_the_one_that_suits_the_model(agent, rate):
    ppo = PPO("TokenBandit", agent=agent)
    assert ppo.learning_rate == ppo.optimizer.param_groups[0]["lr"] == rate
    assert PPO("TokenBandit", agent=agent, learning_rate=5e-4).learning_rate == 5e-4


def test_what_is_pretrained_is_touched_gently(tmp_path):
    import transformers

    task = make_task("TokenBandit")
    config = transformers.GPT2Config(vocab_size=task.vocabulary.size, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    assert PPO(task, agent=str(tmp_path)).learning_rate == 1e-5
    assert build_agent(str(tmp_path), task.vocabulary, task.max_length).learning_rate == 1e-5


@pytest.mark.parametrize(
    ("options", "whitened"),
    [({}, True), (KL, False), ({**KL, "whiten_advantages": True}, True)],
)
def test_advantages_are_whitened_where_there_is_no_kl(options, whitened):
    seen = []

    class Watched(PPO):
        def loss(self, part, prepared):
            seen.append(float(prepared.advantages.std(unbiased=False)))
            return super().loss(part, prepared)

    Watched("Copy", rollout_tokens=60, **options).learn(60)
    assert (seen[0] == pytest.approx(1, abs=1e-3)) == whitened
