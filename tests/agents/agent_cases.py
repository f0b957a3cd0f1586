"""Agents and sequences that the tests of this folder share."""

import numpy as np
import torch
import transformers

from tokengym.agents import Agent, build_agent
from tokengym.envs.vocabulary import Vocabulary

VOCABULARY = Vocabulary((*"abcdefg", "<x>", "<bos>", "<pad>"), num_actions=7, bos=8, pad=9)
LENGTH = 24


def tiny_llama(**settings):
    """A Llama of two blocks whose heads share keys and values in pairs."""
    torch.manual_seed(1)
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY.size,
            max_position_embeddings=LENGTH,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            **settings,
        )
    )


def tiny_neox(num_tokens: int = VOCABULARY.size, length: int = LENGTH):
    torch.manual_seed(0)
    return transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(
            vocab_size=num_tokens,
            max_position_embeddings=length,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def make_agent(spec, heads=("policy", "value"), **options) -> Agent:
    """An agent whose heads are far from zero, so that agreement between two computations means something."""
    vocabulary = options.pop("vocabulary", VOCABULARY)
    agent = build_agent(spec, vocabulary, options.pop("max_length", LENGTH), heads=heads, seed=3, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in agent.readouts.parameters():
            parameter.normal_(std=0.5, generator=generator)
        for name, parameter in agent.named_parameters():
            # Norms and biases start at 1 and 0, which would hide a forgotten one.
            if "readouts" not in name and parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return agent


def random_tokens(rows: int, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    tokens = np.random.default_rng(seed).integers(0, VOCABULARY.size - 2, (rows, length)).astype(np.int32)
    tokens[:, 0] = VOCABULARY.bos
    return tokens


def padded(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The tokens as an engine shows them: padding from each row's length on."""
    return np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, VOCABULARY.pad).astype(np.int32)


def final_states(agent: Agent, tokens: np.ndarray, lengths: np.ndarray, heads=None):
    """The teacher-forced outputs at the end of each row."""
    rows = torch.arange(len(tokens))
    with torch.no_grad():
        ends = torch.from_numpy(np.asarray(lengths))
        return agent.evaluate(torch.from_numpy(tokens), ends, rows, ends, heads=heads)
