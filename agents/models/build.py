"""Causal models: transformers language models, the GRU and the table, from a name, a dict, a folder or an instance."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from ...envs import TokenGymError, Vocabulary
from ...envs.checking import check_value, shown, unknown_name
from ..chunks import checkpointed
from ..devices import is_half
from ..heads import OwnHead
from ..linear import has_onednn
from ..specs import (
    NAMES,
    GRUSizes,
    Layers,
    LinearKernel,
    MLPSizes,
    TableSizes,
    TransformerSizes,
    check_memory,
    check_transformers,
    is_folder,
    sizes_of,
    to_dict,
)
from . import generic_decoder, gpt2_decoder, lean_decoder, llama_decoder
from .gru import GRUTrunk
from .layout import Layout
from .mlp import MLPTrunk
from .table import TableTrunk
from .trunk import Decoder, ReencodeDecoder, Trunk

TABLE_NUMBERS = 1 << 22
"""Numbers a head that a table has at most by default: where the vocabulary is large, it holds fewer prefixes."""


class TransformerTrunk(generic_decoder.CachingTrunk):
    """The body of a transformers causal language model, without its output head.

    Args:
        body: the base model (`GPT2Model`, `LlamaModel`, …).
        max_length: longest sequence.
        pretrained: whether `another` copies the weights instead of drawing new ones.

    """

    def __init__(self, body: PreTrainedModel, max_length: int, pretrained: bool):
        super().__init__()
        self.body = body
        self.max_length = max_length
        self.feature_size = int(body.config.get_text_config().hidden_size)
        self.pretrained = pretrained
        remove_dropout(body)
        self._cacheable: tuple[list[type], bool] | None = None
        self.can_checkpoint = body.supports_gradient_checkpointing

    @property
    def family(self) -> str | None:
        """`"gpt2"` or `"llama"` where the model, as it is now, runs through this package's own code, else None.

        Asked anew each time: an adapter that is put around a layer later must not be passed by.
        """
        lean = {"gpt2": gpt2_decoder.supports, "llama": llama_decoder.supports}
        return next((name for name, supports in lean.items() if supports(self.body)), None)

    def choose_kernel(self, kernel: LinearKernel) -> None:
        """See `Trunk.choose_kernel`; what runs through transformers' own code has no choice."""
        if kernel != "blas" and self.family is None:
            raise TokenGymError(
                f"linear_kernel is {kernel!r}, and a {type(self.body).__name__} in this form runs through the code of "
                "transformers, which has none but 'blas': leave it out, or take a gpt2 or llama."
            )
        if kernel != "blas" and not has_onednn():
            raise TokenGymError(f"linear_kernel is {kernel!r}, and this build of PyTorch has no oneDNN: leave it out.")
        self.linear_kernel = kernel

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Last hidden states, (B, L, D)."""
        family = self.family
        if family is not None:
            return self._packed(family, Layout(tokens)).view(*tokens.shape, -1)
        again = self.checkpointing and torch.is_grad_enabled()
        with generic_decoder.layers_checkpointed(self.body) if again else nullcontext():
            return self.body(input_ids=tokens, use_cache=False).last_hidden_state

    def states(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        groups: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Trunk.states`; the prompt of a group is read once where this spares a good part of the tokens."""
        family = self.family if groups is not None else None
        if family is None or (layout := Layout.of(tokens, groups)).firsts is None:
            return super().states(tokens, lengths, rows, columns)
        return self._packed(family, layout).index_select(0, layout.places(rows, columns))

    def _packed(self, family: str, layout: Layout) -> torch.Tensor:
        """Last hidden states (M, D) of packed tokens."""
        through = checkpointed if self.checkpointing and torch.is_grad_enabled() else lean_decoder.directly
        module = gpt2_decoder if family == "gpt2" else llama_decoder
        return module.forward(self.body, layout, through, self.linear_kernel)

    def make_decoder(self, num_rows: int) -> Decoder:
        """The fastest decoder that this model has."""
        family = self.family
        if family == "gpt2":
            return gpt2_decoder.GPT2Decoder(self.body, num_rows, self.max_length)
        if family == "llama":
            return llama_decoder.LlamaDecoder(self.body, num_rows, self.max_length)
        kinds = [type(module) for module in self.body.modules()]
        if self._cacheable is None or self._cacheable[0] != kinds:
            self._cacheable = kinds, generic_decoder.is_exact(self)
        return generic_decoder.CacheDecoder(self, num_rows) if self._cacheable[1] else ReencodeDecoder(self)

    def another(self) -> TransformerTrunk:
        """A second trunk: a copy of pretrained weights, or the same shape with initial weights of its own."""
        if self.pretrained:
            return copy.deepcopy(self)
        return TransformerTrunk(type(self.body)(copy.deepcopy(self.body.config)), self.max_length, False)


def remove_dropout(model: nn.Module) -> None:
    """Set every dropout probability to 0, so that training and acting see one and the same policy in any mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def build_trunk(
    spec: Any, vocabulary: Vocabulary, max_length: int, dtype: torch.dtype | None = None
) -> tuple[Trunk, OwnHead | None, dict[str, Any]]:
    """Build the trunk that a spec describes (see `build_agent`); only a checkpoint is read in the ``dtype`` given.

    Returns:
        The trunk; the model's own policy head, or None where a fresh one is wanted; and a JSON-able spec that
        builds the same shapes again without reading a checkpoint.
    """
    if isinstance(spec, PreTrainedModel):
        return _from_language_model(spec, vocabulary, max_length)
    if isinstance(spec, Mapping):
        return _from_dict(spec, vocabulary, max_length)
    if isinstance(spec, (str, os.PathLike)):
        if str(spec) in NAMES:
            return _from_dict({"kind": NAMES[str(spec)]}, vocabulary, max_length)
        if is_folder(spec):
            return _from_language_model(load_checkpoint(Path(spec), dtype), vocabulary, max_length)
        raise unknown_name("agent", str(spec), [*NAMES, "a checkpoint folder"])
    raise TokenGymError(
        f"cannot build an agent from {type(spec).__name__}; expected one of {', '.join(NAMES)}, a dict with a 'kind', "
        "a checkpoint folder or a transformers causal language model"
    )


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep transformers' own bars away: they would be drawn into those of whoever loads a model."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def load_checkpoint(folder: Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Read a causal language model from a folder; safetensors only, and no code from the folder is run."""
    try:
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        kernel = getattr(settings, "_attn_implementation", None)
        if kernel is not None and "/" in str(kernel):  # transformers would fetch it from its hub
            raise TokenGymError(
                f"the config.json in {folder} names {kernel!r} as its attention, which would fetch and run code: take "
                "that line out"
            )
        with quiet_bars():
            return AutoModelForCausalLM.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32 if dtype is None else dtype,
            )
    except TokenGymError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise TokenGymError(
            f"no causal language model could be read from the folder {folder}: {error}; it needs a config.json of a "
            "model type that transformers knows and weights in model.safetensors"
        ) from error


def without_code(config: Any) -> Any:
    """A model's configuration without what names code to be fetched and run, wherever in it that stands."""
    if isinstance(config, dict):
        return {
            key: without_code(value)
            for key, value in config.items()
            if key not in ("auto_map", "custom_pipelines") and not str(key).endswith(("_implementation", "_kernel"))
        }
    return [without_code(item) for item in config] if isinstance(config, (list, tuple)) else config


def _from_dict(spec: Mapping[str, Any], vocabulary: Vocabulary, max_length: int) -> tuple[Trunk, OwnHead | None, dict]:
    if spec.get("kind") == "transformers":
        return _from_config(spec, vocabulary, max_length)
    kind, sizes = sizes_of(spec)
    if isinstance(sizes, TableSizes) and "capacity" not in spec:
        sizes = TableSizes(capacity=max(1024, min(sizes.capacity, TABLE_NUMBERS // vocabulary.num_actions)))
    check_memory(f"the {kind} agent", sizes.parameters(vocabulary.size, vocabulary.num_actions, max_length))
    config = to_dict(kind, sizes)
    if isinstance(sizes, TableSizes):
        return TableTrunk(sizes.capacity, vocabulary.size, max_length), None, config
    if isinstance(sizes, MLPSizes):
        return MLPTrunk(num_tokens=vocabulary.size, max_length=max_length, **asdict(sizes)), None, config
    if isinstance(sizes, GRUSizes):
        return GRUTrunk(num_tokens=vocabulary.size, max_length=max_length, **asdict(sizes)), None, config
    assert isinstance(sizes, TransformerSizes)
    body = _gpt2(sizes, vocabulary.size, max_length) if kind == "gpt2" else _llama(sizes, vocabulary.size, max_length)
    return TransformerTrunk(body, max_length, pretrained=False), None, config


def _from_config(
    spec: Mapping[str, Any], vocabulary: Vocabulary, max_length: int
) -> tuple[Trunk, OwnHead | None, dict]:
    check_transformers(spec)
    try:
        config = AutoConfig.for_model(**without_code(spec["config"]))
        text = config.get_text_config()
        layers, width = int(getattr(text, "num_hidden_layers", 1)), int(getattr(text, "hidden_size", 1))
        # Building blocks takes time whatever their size, and no memory to speak of until it is too late.
        check_value("num_hidden_layers of a transformers agent", Layers, layers)
        check_memory("the transformers agent", width * (vocabulary.size + 4 * width * layers))
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except TokenGymError:
        raise
    except Exception as error:  # configurations of other models check in ways of their own, or not at all
        reason = " ".join(str(error).split())
        raise TokenGymError(
            f"no causal language model can be built from the config {shown(spec['config'])}: {reason}; expected what "
            "config.json of a model has"
        ) from error
    return _from_language_model(model, vocabulary, max_length)


def _gpt2(sizes: TransformerSizes, num_tokens: int, max_length: int) -> PreTrainedModel:
    return GPT2Model(
        GPT2Config(
            vocab_size=num_tokens,
            n_positions=max_length,
            n_embd=sizes.hidden_size,
            n_layer=sizes.num_layers,
            n_head=sizes.num_heads,
            initializer_range=sizes.initial_std,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def _llama(sizes: TransformerSizes, num_tokens: int, max_length: int) -> PreTrainedModel:
    return LlamaModel(
        LlamaConfig(
            vocab_size=num_tokens,
            max_position_embeddings=max_length,
            hidden_size=sizes.hidden_size,
            num_hidden_layers=sizes.num_layers,
            num_attention_heads=sizes.num_heads,
            # 8/3 keeps the gated block's size near that of an ungated block of four times the width.
            intermediate_size=-(-8 * sizes.hidden_size // 3 // 8) * 8,
            initializer_range=sizes.initial_std,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
    )


def _from_language_model(
    model: PreTrainedModel, vocabulary: Vocabulary, max_length: int
) -> tuple[Trunk, OwnHead, dict[str, Any]]:
    projection: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    body = model.base_model
    if projection is None or body is model or not isinstance(body, PreTrainedModel):
        raise TokenGymError(f"{type(model).__name__} has no language-model head; expected a causal language model")
    known = min(embedding.weight.shape[0], projection.weight.shape[0])
    if vocabulary.size > known:
        raise TokenGymError(
            f"the vocabulary has {vocabulary.size} tokens and the model embeds {known}; enlarge the model with "
            "resize_token_embeddings or use the tokenizer that it was trained with"
        )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise TokenGymError(
            f"the context of {max_length} tokens is longer than the model's {positions} positions; shorten the task's "
            "max_length or use a model with a longer context"
        )
    trunk = TransformerTrunk(body, max_length, pretrained=True)
    head = OwnHead(projection, vocabulary.num_actions, tied=projection.weight is embedding.weight)
    _check_own_head(model, trunk, projection)
    return trunk, head, {"kind": "transformers", "config": model.config.to_dict()}


@torch.no_grad()
def _check_own_head(model: PreTrainedModel, trunk: TransformerTrunk, projection: Any) -> None:
    """Refuse a model that does more between its features and its logits than one projection."""
    model.eval()
    ids = torch.arange(min(4, trunk.max_length), device=model.device)[None] % projection.weight.shape[0]
    if is_half(model.dtype):  # in which the same features come out differently by the order of computing
        features = trunk.body(input_ids=ids, use_cache=False).last_hidden_state
    else:
        features = trunk(ids, torch.full((1,), ids.shape[1]))
    ours, theirs = projection(features), model(input_ids=ids, use_cache=False).logits
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
        raise TokenGymError(
            f"{type(model).__name__} changes its logits after the output projection (soft-capping, scaling), which "
            "agents do not reproduce; use another model"
        )
