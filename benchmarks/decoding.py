"""Cached decoding against `transformers` generate, side by side: same weights, one thread, sampling in both.

Run it with `python -m benchmarks.decoding`; quote the ratios only, times belong to a machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from tokengym.agents import Agent, Sampler, build_agent
from tokengym.envs.vocabulary import Vocabulary
from transformers import GPT2Config, GPT2LMHeadModel

SIZES = {"d64-l2": (64, 2, 4), "d128-l4": (128, 4, 4)}
"""Width, layers and heads of the models compared."""
TOKENS, ROWS, PROMPT, NEW = 64, 64, 16, 64


def language_model(width: int, layers: int, heads: int, positions: int) -> GPT2LMHeadModel:
    """A GPT-2 with random weights, no special tokens and no dropout."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=TOKENS,
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
    return GPT2LMHeadModel(config).eval()


def decode(agent: Agent, sampler: Sampler, prompts: np.ndarray, new: int) -> np.ndarray:
    """Sample `new` tokens a row through a session, log-probabilities included; returns the tokens."""
    rows, length = prompts.shape
    tokens = np.zeros((rows, length + new), dtype=np.int32)
    tokens[:, :length] = prompts
    session, lengths = agent.session(rows), np.full(rows, length)
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


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(runs: int = 5) -> dict[str, float]:
    """Medians over alternating runs.

    Returns:
        For each size, tokens/s of both, the median of the ratios and their range; and how the cost of a token grows
        from 32 to 512 new tokens.
    """
    torch.set_num_threads(1)
    vocabulary = Vocabulary(tuple(map(str, range(TOKENS))), num_actions=TOKENS, bos=0, pad=1)
    prompts = np.random.default_rng(0).integers(2, TOKENS, (ROWS, PROMPT)).astype(np.int32)
    prompts[:, 0] = vocabulary.bos
    results: dict[str, float] = {}
    for name, size in SIZES.items():
        model = language_model(*size, positions=PROMPT + NEW)
        agent, sampler = build_agent(model, vocabulary, PROMPT + NEW), Sampler(0)
        generate(model, prompts, 4), decode(agent, sampler, prompts, 4)
        ours, theirs = [], []
        for _ in range(runs):
            theirs.append(seconds(lambda m=model: generate(m, prompts, NEW)))
            ours.append(seconds(lambda a=agent, s=sampler: decode(a, s, prompts, NEW)))
        ratios = [t / o for o, t in zip(ours, theirs, strict=True)]
        results[f"decoding/{name}/tokens_per_second"] = ROWS * NEW / statistics.median(ours)
        results[f"decoding/{name}/generate_tokens_per_second"] = ROWS * NEW / statistics.median(theirs)
        results[f"decoding/{name}/ratio"] = statistics.median(ratios)
        results[f"decoding/{name}/ratio_low"], results[f"decoding/{name}/ratio_high"] = min(ratios), max(ratios)
    model = language_model(*SIZES["d64-l2"], positions=PROMPT + 512)
    agent, sampler = build_agent(model, vocabulary, PROMPT + 512), Sampler(0)
    growths = []
    for _ in range(runs):
        short = min(seconds(lambda: decode(agent, sampler, prompts, 32)) for _ in range(3)) / 32
        growths.append(seconds(lambda: decode(agent, sampler, prompts, 512)) / 512 / short)
    results["decoding/growth_32_to_512"] = statistics.median(growths)
    return results


def main() -> None:
    """Print what `measure` returns, one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs behind each median")
    for name, value in measure(parser.parse_args().runs).items():
        print(f"{name:45s} {value:12.2f}")


if __name__ == "__main__":
    main()
