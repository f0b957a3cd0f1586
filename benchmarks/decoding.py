"""Cached decoding against `transformers` generate: same weights, one thread, sampling in both; and how it grows."""

from __future__ import annotations

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tokengym.agents import Agent, Sampler, build_agent
from tokengym.agents.policies import AgentPolicy
from tokengym.agents.seeding import seeded_initialisation
from tokengym.algorithms.collecting import play, queue
from tokengym.envs import Engine, derive_start
from tokengym.envs.vocabulary import Vocabulary

from .measure import Comparison, rate
from .workload import NEW, PROMPT, ROWS, VOCABULARY, Completion

SIZES = {"d 64, 2 layers": (64, 2, 4), "d 128, 4 layers": (128, 4, 4)}
"""Width, layers and heads of the models compared."""
REAL_VOCABULARY = 50_257
"""What GPT-2 knows; a step over it is mostly the projection onto the vocabulary, and the draw from it."""


def language_model(
    width: int, layers: int, heads: int, positions: int, vocabulary: int = VOCABULARY
) -> GPT2LMHeadModel:
    """A GPT-2 with random weights, no special tokens and no dropout."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=0.1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    with seeded_initialisation(0):
        return GPT2LMHeadModel(config).eval()


def decode(agent: Agent, sampler: Sampler, prompts: np.ndarray, new: int) -> np.ndarray:
    """Sample `new` tokens a row through a session, as rollouts do, log-probabilities included; returns the tokens."""
    rows, length = prompts.shape
    tokens = np.zeros((rows, length + new), dtype=np.int32)
    tokens[:, :length] = prompts
    session, lengths = agent.session(rows), np.full(rows, length)
    with session.fixed_weights():
        for column in range(length, length + new):
            actions, _ = sampler.sample(session.step(tokens, lengths).logits)
            tokens[:, column] = actions.numpy()
            lengths += 1
    return tokens


def generate(model: GPT2LMHeadModel, prompts: np.ndarray, new: int) -> np.ndarray:
    """The same through `generate`, with every logits processor switched off."""
    with torch.inference_mode():
        ids = torch.from_numpy(prompts.astype(np.int64))
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            use_cache=True,
            pad_token_id=0,
        )
    return out.numpy()


def contest(size: str, rows: int, new: int, target: float) -> Comparison:
    """Return the comparison of both ways to decode with one model."""
    vocabulary, prompts = setting(rows)
    model = language_model(*SIZES[size], positions=PROMPT + new)
    agent, sampler = build_agent(model, vocabulary, PROMPT + new), Sampler(0)

    def ours(count: int = new) -> int:
        return decode(agent, sampler, prompts, count)[:, PROMPT:].size

    def theirs(count: int = new) -> int:
        return generate(model, prompts, count)[:, PROMPT:].size

    return Comparison(
        name="cached decoding",
        setting=f"GPT-2 {size}; {rows} rows, {PROMPT}+{new} tokens",
        peer="transformers generate",
        unit="tokens/s",
        target=target,
        ours=rate(ours),
        theirs=rate(theirs),
        warm_up=[lambda: ours(4), lambda: theirs(4)],
    )


def played(size: str, rows: int, new: int, vocabulary: int) -> Comparison:
    """Return the comparison of `generate` with whole episodes, played by a policy as a collector plays them."""
    task = Completion(new=new, size=vocabulary)
    engine, starts = Engine(task, rows), derive_start(0, np.arange(rows))
    engine.reset(None, starts)
    prompts = engine.tokens[:, :PROMPT].copy()
    model = language_model(*SIZES[size], positions=task.max_length, vocabulary=vocabulary)
    policy = AgentPolicy(build_agent(model, task.vocabulary, task.max_length), Sampler(0))

    def ours() -> int:
        return play(engine, policy, queue(starts))

    def theirs(count: int = new) -> int:
        return generate(model, prompts, count)[:, PROMPT:].size

    return Comparison(
        name="whole episodes, cached decoding",
        setting=f"GPT-2 {size}, V {vocabulary:,}; {rows} rows, {PROMPT}+{new} tokens",
        peer="transformers generate",
        unit="tokens/s",
        target=1.2,
        ours=rate(ours),
        theirs=rate(theirs),
        warm_up=[ours, lambda: theirs(4)],
    )


def growth(rows: int, short: int, long: int) -> Comparison:
    """Return how much a token costs in a long text, in tokens that it costs in a short one."""
    vocabulary, prompts = setting(rows)
    size = "d 64, 2 layers"
    agent = build_agent(language_model(*SIZES[size], positions=PROMPT + long), vocabulary, PROMPT + long)
    sampler = Sampler(0)

    def milliseconds(new: int) -> float:
        return 1000.0 / rate(lambda: decode(agent, sampler, prompts, new)[:, PROMPT:].size)()

    return Comparison(
        name="cached decoding, cost a token",
        setting=f"GPT-2 {size}; {rows} rows, {long} new tokens",
        peer=f"{short} new tokens",
        unit="ms",
        target=3.0,
        at_most=True,
        ours=lambda: milliseconds(long),
        theirs=lambda: milliseconds(short),
        warm_up=[lambda: milliseconds(4)],
    )


def setting(rows: int) -> tuple[Vocabulary, np.ndarray]:
    """Return the vocabulary and prompts, int32 (rows, PROMPT)."""
    vocabulary = Vocabulary(tuple(map(str, range(VOCABULARY))), num_actions=VOCABULARY, bos=0, pad=1)
    prompts = np.random.default_rng(0).integers(2, VOCABULARY, (rows, PROMPT)).astype(np.int32)
    prompts[:, 0] = vocabulary.bos
    return vocabulary, prompts


def comparisons(quick: bool) -> list[Comparison]:
    """Return the comparisons with `generate`, for both sizes and two vocabularies, and the growth to 512 new tokens."""
    rows, new = (8, 8) if quick else (ROWS, NEW)
    small, large = SIZES
    lengths = (8, 32) if quick else (32, 512)
    few, length = (4, 4) if quick else (32, 32)
    return [
        contest(small, rows, new, target=2.0),
        contest(large, rows, new, target=1.5),
        *(played(size, few, length, REAL_VOCABULARY) for size in SIZES),
        growth(rows, *lengths),
    ]
