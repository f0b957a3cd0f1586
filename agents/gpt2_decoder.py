"""GPT-2 written plainly: the teacher-forced pass and the cached step, over the weights of a transformers model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import GPT2Model
from transformers.pytorch_utils import Conv1D

from .lean_decoder import LeanDecoder

GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Activations of the configuration, and torch's name for their approximation."""


def supports(body: torch.nn.Module) -> bool:
    """Whether a model is a GPT-2 in the form written here: no adapters, no cross-attention, no unusual scaling."""
    return (
        type(body) is GPT2Model
        and body.config.activation_function in GELU
        and body.config.scale_attn_weights
        and not body.config.scale_attn_by_inverse_layer_idx
        and not body.config.add_cross_attention
        and all(
            type(layer) is Conv1D
            for block in body.h
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)
        )
    )


def forward(body: GPT2Model, tokens: torch.Tensor) -> torch.Tensor:
    """Hidden states (B, L, D) of tokens (B, L), equal to the model's own forward pass without its overhead."""
    rows, length = tokens.shape
    heads, width = body.config.n_head, body.config.n_embd
    approximate = GELU[body.config.activation_function]
    x = (F.embedding(tokens, body.wte.weight) + body.wpe.weight[:length]).view(-1, width)
    for block in body.h:
        attention, mlp = block.attn, block.mlp
        h = F.layer_norm(x, (width,), block.ln_1.weight, block.ln_1.bias, block.ln_1.eps)
        h = torch.addmm(attention.c_attn.bias, h, attention.c_attn.weight)
        queries, keys, values = h.view(rows, length, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, L, d)
        h = F.scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2).reshape(-1, width)
        x = x + torch.addmm(attention.c_proj.bias, h, attention.c_proj.weight)
        h = F.layer_norm(x, (width,), block.ln_2.weight, block.ln_2.bias, block.ln_2.eps)
        h = F.gelu(torch.addmm(mlp.c_fc.bias, h, mlp.c_fc.weight), approximate=approximate)
        x = x + torch.addmm(mlp.c_proj.bias, h, mlp.c_proj.weight)
    return F.layer_norm(x, (width,), body.ln_f.weight, body.ln_f.bias, body.ln_f.eps).view(rows, length, width)


class GPT2Decoder(LeanDecoder):
    """Cached decoding of a GPT-2. Made anew when weights change, since it folds the attention's scale into a copy."""

    def __init__(self, body: GPT2Model, num_rows: int, max_length: int):
        heads, width = body.config.n_head, body.config.n_embd
        super().__init__(num_rows, len(body.h), heads, heads, width // heads, max_length, body.wte.weight)
        self._body = body
        self._blocks = list(body.h)
        self._width = (width,)
        self._approximate = GELU[body.config.activation_function]
        scale = body.wte.weight.new_ones(3 * width)
        scale[:width] = (width // heads) ** -0.5
        self._attention = [
            (block.attn.c_attn.weight.detach() * scale, block.attn.c_attn.bias.detach() * scale) for block in body.h
        ]

    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self._body.wte.weight.index_select(0, ids).add_(self._body.wpe.weight.index_select(0, positions))

    def _project(self, layer: int, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norm = self._blocks[layer].ln_1
        weight, bias = self._attention[layer]
        h = torch.addmm(bias, F.layer_norm(x, self._width, norm.weight, norm.bias, norm.eps), weight)
        h = h.view(len(x), 3, self._num_heads, self._head_dim)
        return h[:, 0], h[:, 1:]

    def _finish(self, layer: int, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        block = self._blocks[layer]
        projection, mlp, norm = block.attn.c_proj, block.mlp, block.ln_2
        x = torch.addmm(projection.bias, attended, projection.weight).add_(x)
        h = torch.addmm(mlp.c_fc.bias, F.layer_norm(x, self._width, norm.weight, norm.bias, norm.eps), mlp.c_fc.weight)
        h = F.gelu(h, approximate=self._approximate)
        return torch.addmm(mlp.c_proj.bias, h, mlp.c_proj.weight).add_(x)

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        norm = self._body.ln_f
        return F.layer_norm(x, self._width, norm.weight, norm.bias, norm.eps)
