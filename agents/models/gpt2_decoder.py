"""GPT-2 written plainly: the teacher-forced pass and the cached step, over the weights of a transformers model."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from transformers import GPT2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block
from transformers.pytorch_utils import Conv1D

from ..devices import is_half
from ..specs import LinearKernel
from .adapters import are_simple, merged_weight, product, taken_apart
from .layout import Layout
from .lean_decoder import LeanDecoder, Through, are_plain, directly

GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Activations of the configuration, and torch's name for their approximation."""

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def supports(body: Any) -> bool:
    """Whether a model is a GPT-2 in the form written here: no hooks, no unusual scaling, adapters of low rank alone.

    In half precision adapters would be rounded away where they are added to weights: its own code runs them.
    """
    if type(body) is not GPT2Model:
        return False
    config, blocks = body.config, cast(Any, body.h)
    return (
        config.activation_function in GELU
        and config.scale_attn_weights
        and not config.scale_attn_by_inverse_layer_idx
        and not config.add_cross_attention
        and are_plain((body.wte, body.wpe), torch.nn.Embedding)
        and are_plain((body.ln_f,), torch.nn.LayerNorm)
        and are_plain(blocks, GPT2Block)
        and are_plain([block.attn for block in blocks], GPT2Attention)
        and are_plain([block.mlp for block in blocks], GPT2MLP)
        and are_plain([norm for block in blocks for norm in (block.ln_1, block.ln_2)], torch.nn.LayerNorm)
        and are_simple(layers := [layer for block in blocks for layer in _layers(block)], Conv1D)
        and not (is_half(body.wte.weight.dtype) and any(taken_apart(layer)[1] is not None for layer in layers))
    )


def _layers(block: Any) -> tuple[Any, ...]:
    return block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj


def forward(body: Any, layout: Layout, through: Through = directly, kernel: LinearKernel = "blas") -> torch.Tensor:
    """Hidden states (M, D) of a `GPT2Model` on the packed tokens of a layout: its own pass without its overhead."""
    heads, width = body.config.n_head, body.config.n_embd
    approximate = GELU[body.config.activation_function]
    x = layout.packed(lambda tokens, at: F.embedding(tokens, body.wte.weight) + body.wpe.weight[at])

    def layer(block: Any, x: torch.Tensor) -> torch.Tensor:
        attention, mlp = block.attn, block.mlp
        h = F.layer_norm(x, (width,), block.ln_1.weight, block.ln_1.bias, block.ln_1.eps)
        queries, keys, values = product(attention.c_attn, h, kernel).view(len(x), 3, heads, -1).unbind(1)  # (M, H, d)
        x = x + product(attention.c_proj, layout.attend(queries, keys, values), kernel)
        h = F.layer_norm(x, (width,), block.ln_2.weight, block.ln_2.bias, block.ln_2.eps)
        h = F.gelu(product(mlp.c_fc, h, kernel), approximate=approximate)
        return x + product(mlp.c_proj, h, kernel)

    for block in body.h:
        x = through(layer, block, x)
    return F.layer_norm(x, (width,), body.ln_f.weight, body.ln_f.bias, body.ln_f.eps)


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """The tanh form of GELU, (Hendrycks & Gimpel 2016, arXiv 1606.08415), without gradient.

    Written as x·σ(2u) with u = √(2/π)·(x + .044715·x³): on a CPU torch's own kernel spends twice the time on its tanh.
    """
    u = (x * x).mul_(2 * SQRT_2_OVER_PI * 0.044715).add_(2 * SQRT_2_OVER_PI).mul_(x)
    return u.sigmoid_().mul_(x)


class GPT2Decoder(LeanDecoder):
    """Cached decoding of a GPT-2. Made anew when weights change, since it folds the attention's scale into a copy."""

    def __init__(self, body: Any, num_rows: int, max_length: int):
        heads, width = body.config.n_head, body.config.n_embd
        super().__init__(num_rows, len(body.h), heads, heads, width // heads, max_length, body.wte.weight)
        self._tokens, self._positions = body.wte.weight, body.wpe.weight
        approximate = GELU[body.config.activation_function]
        self._activation = partial(F.gelu, approximate=approximate)
        if approximate == "tanh" and not self.half:  # written out, it would round four times
            self._activation = gelu_tanh
        scale = body.wte.weight.new_ones(3 * width)
        scale[:width] = self.folded_scale
        # Plain tuples of tensors: looking a weight up through a module costs about as much as a small operation.
        self._norms = [_norm_arguments(norm) for norm in (*(block.ln_1 for block in body.h), body.ln_f)]
        # As a batch of three products their results are contiguous: attention then reads the queries without a copy.
        self._attention = [
            (
                (block.attn.c_attn.bias.detach() * scale).view(3, 1, width),
                (merged_weight(block.attn.c_attn).detach() * scale).view(width, 3, width).transpose(0, 1).contiguous(),
            )
            for block in body.h
        ]
        self._rest = [
            (
                block.attn.c_proj.bias,
                merged_weight(block.attn.c_proj),
                _norm_arguments(block.ln_2),
                block.mlp.c_fc.bias,
                merged_weight(block.mlp.c_fc),
                block.mlp.c_proj.bias,
                merged_weight(block.mlp.c_proj),
            )
            for block in body.h
        ]

    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self._tokens.index_select(0, ids).add_(self._positions.index_select(0, positions))

    def _project(self, layer: int, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bias, weight = self._attention[layer]
        h = torch.baddbmm(bias, torch.layer_norm(x, *self._norms[layer]).expand(3, -1, -1), weight)
        h = h.view(3, -1, self._num_heads, self._head_dim)
        return h[0], h[1:]

    def _finish(self, layer: int, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        bias, weight, norm, inner_bias, inner_weight, outer_bias, outer_weight = self._rest[layer]
        # In place: the products are added to the residual stream without a copy of it.
        x.addmm_(attended, weight).add_(bias)
        h = self._activation(torch.addmm(inner_bias, torch.layer_norm(x, *norm), inner_weight))
        return x.addmm_(h, outer_weight).add_(outer_bias)

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        return torch.layer_norm(x, *self._norms[-1])


def _norm_arguments(norm: Any) -> tuple[Any, ...]:
    """What `torch.layer_norm` takes after its input."""
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
