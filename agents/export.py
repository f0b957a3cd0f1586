"""Exporting: the policy of an agent as an ordinary folder of transformers, which any other program reads."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models
from torch import nn
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from ..envs import TokenGymError, Vocabulary
from .heads import OwnHead
from .heads import read as read_head
from .models import TransformerTrunk, Trunk, quiet_bars
from .new_folder import new_folder

TOLERANCE = 1e-3
"""How far the logits of what was written may be from the agent's, relative to the largest of them."""


class Speaker(Protocol):
    """What an export asks of an agent."""

    trunk: Trunk
    readouts: nn.ModuleDict
    heads: tuple[str, ...]
    vocabulary: Vocabulary
    max_length: int
    temperature: float


def language_model(agent: Speaker) -> PreTrainedModel:
    """Return the agent's policy as a causal language model of transformers; it shares the agent's weights.

    Its logits of the tokens that the agent can say are the agent's, divided by the temperature already. Adapters of
    `peft` are merged into the layers that they adapt, in a copy. Value and Q heads, and a critic's trunk, are left out.

    Raises:
        TokenGymError: what no model of transformers can express; says which part.
    """
    if "policy" not in agent.heads:
        raise TokenGymError(
            f"this agent has no policy but the heads {', '.join(agent.heads)}: it acts on its Q values, which no "
            "language model has; export an agent of an algorithm with a policy, such as ppo, a2c or sac"
        )
    trunk = agent.trunk
    if not isinstance(trunk, TransformerTrunk):
        raise TokenGymError(
            f"the trunk of this agent is a {type(trunk).__name__}, which no causal language model of transformers "
            "expresses; train a gpt2, a llama or a checkpoint folder to export it"
        )
    body = _merged(trunk.body)
    weight, tied = _projection(agent.readouts["policy"], trunk.body)
    if agent.temperature != 1.0:
        weight, tied = weight / agent.temperature, False
    weight = weight.to(body.dtype)  # a head of its own has more digits than a model in half precision
    config = copy.deepcopy(body.config)
    config.tie_word_embeddings = tied
    with torch.device("meta"):  # only its classes are wanted, the weights are there
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    setattr(model, model.base_model_prefix, body)
    head: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    embedding: Any = body.get_input_embeddings()
    head.weight = embedding.weight if tied else nn.Parameter(weight, requires_grad=False)
    model.set_output_embeddings(head)
    model.generation_config = _generation(agent.vocabulary, len(weight), agent.max_length)
    return model.eval()


def _projection(head: nn.Module, body: PreTrainedModel) -> tuple[torch.Tensor, bool]:
    """Return the weight (V', D) of the output projection, and whether it is the input embedding."""
    embedded: Any = body.get_input_embeddings()
    if isinstance(head, OwnHead):
        projection: Any = head.whole
        if getattr(projection, "bias", None) is not None and bool(projection.bias.any()):
            raise TokenGymError(
                f"the output projection of this {type(body).__name__} has a bias, which its causal language model in "
                "transformers may lack; export a model without one"
            )
        return projection.weight.detach(), projection.weight is embedded.weight
    if not isinstance(head, nn.Linear):
        raise TokenGymError(f"the policy head is a {type(head).__name__}; transformers expresses a linear one")
    if head.bias is not None and bool(head.bias.any()):
        raise TokenGymError(
            "the policy head of this agent has a bias, which GPT-2 and Llama have not; train it with policy_bias: "
            "false (the default) to export it"
        )
    # Tokens that only the task says have no output of the agent's; `generate` is told never to say them.
    weight = head.weight.new_zeros(embedded.weight.shape[0], head.weight.shape[1])
    weight[: len(head.weight)] = head.weight.detach()
    return weight, False


def _merged(body: PreTrainedModel) -> PreTrainedModel:
    """Return the model without adapters: a copy in which they are merged, if there are any."""
    adapted = [name for name, module in body.named_modules() if hasattr(module, "base_layer")]
    if not adapted:
        return body
    body = copy.deepcopy(body)
    for name in adapted:
        module: Any = body.get_submodule(name)
        if not callable(getattr(module, "merge", None)):
            raise TokenGymError(f"the layer {name} is wrapped in a {type(module).__name__}, which cannot be merged")
        module.merge()
        body.set_submodule(name, module.base_layer)
    return body


def _generation(vocabulary: Vocabulary, size: int, max_length: int) -> GenerationConfig:
    """Return how to generate as the agent acts: from its whole distribution, and never what it cannot say."""
    silent = list(range(vocabulary.num_actions, size))
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_length=max_length,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        pad_token_id=vocabulary.pad,
        suppress_tokens=silent or None,
    )


def tokenizer_of(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are the names of a vocabulary, with the ids that they have there.

    A text is read as the longest names that stand in it, blanks between names left out; what is no name is refused.
    """
    names = vocabulary.tokens
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}))
    tokenizer.add_tokens([AddedToken(name, normalized=False, lstrip=True, rstrip=True) for name in names])
    if not vocabulary.separator:
        tokenizer.decoder = decoders.Fuse()  # pyright: ignore[reportAttributeAccessIssue]
    specials = {"bos_token": names[vocabulary.bos], "pad_token": names[vocabulary.pad]}
    if vocabulary.eos is not None:
        specials["eos_token"] = names[vocabulary.eos]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **specials)


def save_pretrained(agent: Speaker, folder: str | os.PathLike[str], tokenizer: Any = None, card: str = "") -> None:
    """Write a folder that plain transformers loads: the model, a tokenizer and a model card.

    It is written beside and moved into place when all of it is there and was read back with the agent's logits.

    Args:
        agent: whose policy is written.
        folder: a new or an empty one.
        tokenizer: the task's, with `save_pretrained`; None writes one whose tokens are the vocabulary's names.
        card: the text of its README.md.

    Raises:
        TokenGymError: a folder that holds something already, a tokenizer that cannot be saved, or what
            `language_model` refuses.
    """
    with new_folder(folder) as begun:
        model = language_model(agent)
        spoken = tokenizer_of(agent.vocabulary) if tokenizer is None else tokenizer
        if not callable(getattr(spoken, "save_pretrained", None)):
            raise TokenGymError(f"a {type(spoken).__name__} has no save_pretrained; give a tokenizer of transformers")
        with quiet_bars():
            model.save_pretrained(begun)
            spoken.save_pretrained(begun)
        (begun / "README.md").write_text(card or "# A policy of tokengym\n", encoding="utf-8")
        with quiet_bars():
            _check(agent, model, begun)


@torch.no_grad()
def _check(agent: Speaker, model: PreTrainedModel, folder: Path) -> None:
    """Read the folder as a stranger would, and compare its logits with the agent's."""
    vocabulary = agent.vocabulary
    dtype = next(model.parameters()).dtype
    read = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, dtype=dtype
    ).eval()
    draws = np.random.default_rng(0).integers(0, vocabulary.size, (2, min(8, agent.max_length)))
    draws[:, 0] = vocabulary.bos
    ids = torch.from_numpy(draws).to(next(agent.trunk.parameters()).device)
    lengths = torch.full((2,), draws.shape[1], device=ids.device)
    ours = read_head(agent.readouts["policy"], agent.trunk(ids, lengths)).cpu().double() / agent.temperature
    theirs = read(input_ids=ids.cpu(), use_cache=False).logits[..., : vocabulary.num_actions].double()
    apart = float((ours - theirs).abs().max())
    allowed = max(TOLERANCE, 20 * torch.finfo(dtype).eps) * max(1.0, float(ours.abs().max()))
    if not apart <= allowed:
        raise TokenGymError(
            f"what transformers reads from the export differs from the agent by {apart:.3g} in its logits: its "
            f"{type(model).__name__} computes otherwise than this agent's trunk; nothing was written"
        )
