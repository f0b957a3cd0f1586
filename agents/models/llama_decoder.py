"""Llama written plainly: the teacher-forced pass and the cached step, over the weights of a transformers model."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)

from ..devices import is_half
from ..specs import LinearKernel
from .adapters import Delta, are_simple, joined_delta, merged_weight, product, taken_apart
from .layout import Layout
from .lean_decoder import LeanDecoder, Through, are_plain, directly


def supports(body: Any) -> bool:
    """Whether a model is a Llama in the form written here: default rotary embedding, SiLU, no hooks."""
    if type(body) is not LlamaModel:
        return False
    blocks = cast(Any, body.layers)
    return (
        body.config.hidden_act == "silu"
        and getattr(body.rotary_emb, "rope_type", None) == "default"
        and are_plain((body.embed_tokens,), torch.nn.Embedding)
        and are_plain((body.rotary_emb,), LlamaRotaryEmbedding)
        and are_plain((body.norm,), LlamaRMSNorm)
        and are_plain(blocks, LlamaDecoderLayer)
        and are_plain([block.self_attn for block in blocks], LlamaAttention)
        and are_plain([block.mlp for block in blocks], LlamaMLP)
        and are_plain([norm for block in blocks for norm in _norms(block)], LlamaRMSNorm)
        and are_simple([layer for block in blocks for layer in _layers(block)], torch.nn.Linear)
    )


def _norms(block: Any) -> tuple[Any, ...]:
    return block.input_layernorm, block.post_attention_layernorm


def _layers(block: Any) -> tuple[Any, ...]:
    return *_attention_layers(block), block.mlp.gate_proj, block.mlp.up_proj, block.mlp.down_proj


def _attention_layers(block: Any) -> tuple[Any, ...]:
    attention = block.self_attn
    return attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj


def rms_norm(x: torch.Tensor, norm: Any) -> torch.Tensor:
    """Root-mean-square normalisation over the last dimension, with the weight and epsilon of a Llama norm."""
    if is_half(x.dtype):
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        return scaled.to(x.dtype) * norm.weight
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon) * norm.weight


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864) in Llama's half-split layout.

    Half precision is turned in float32, the dtype of ``cos`` and ``sin``, and rounded once.
    """
    first, second = x.chunk(2, dim=-1)
    turned = x * cos + torch.cat((-second, first), dim=-1) * sin
    return turned if turned.dtype == x.dtype else turned.to(x.dtype)


def rotations(body: Any, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (L, d) of positions 0…L-1."""
    frequencies = body.rotary_emb.inv_freq
    angles = torch.arange(length, device=frequencies.device)[:, None].float() * frequencies
    angles = torch.cat((angles, angles), dim=-1)
    dtype = body.embed_tokens.weight.dtype
    if is_half(dtype):
        dtype = torch.float32
    return angles.cos().to(dtype), angles.sin().to(dtype)


def forward(body: Any, layout: Layout, through: Through = directly, kernel: LinearKernel = "blas") -> torch.Tensor:
    """Hidden states (M, D) of a `LlamaModel` on the packed tokens of a layout: its own pass without its overhead."""
    # (M, 1, d): heads turn alike.
    cos, sin = (
        layout.packed(lambda tokens, at, turns=turns: turns[at].expand(len(tokens), -1, -1))[:, None]
        for turns in rotations(body, layout.tokens.shape[1])
    )
    x = layout.packed(lambda tokens, at: F.embedding(tokens, body.embed_tokens.weight))

    def layer(block: Any, x: torch.Tensor) -> torch.Tensor:
        attention, mlp = block.self_attn, block.mlp
        h = rms_norm(x, block.input_layernorm)
        queries, keys, values = (
            product(p, h, kernel).view(len(x), -1, attention.head_dim)
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        queries, keys = rotate(queries, cos, sin), rotate(keys, cos, sin)
        if attention.num_key_value_groups > 1:
            keys = keys.repeat_interleave(attention.num_key_value_groups, dim=1)
            values = values.repeat_interleave(attention.num_key_value_groups, dim=1)
        x = x + product(attention.o_proj, layout.attend(queries, keys, values), kernel)
        h = rms_norm(x, block.post_attention_layernorm)
        return x + product(
            mlp.down_proj, F.silu(product(mlp.gate_proj, h, kernel)) * product(mlp.up_proj, h, kernel), kernel
        )

    for block in body.layers:
        x = through(layer, block, x)
    return rms_norm(x, body.norm)


class LlamaDecoder(LeanDecoder):
    """Cached decoding of a Llama. Made anew when weights change, since it fuses copies of the projections.

    The copies hold what adapters add; in half precision, where it would be rounded away, it is computed beside them.
    """

    def __init__(self, body: Any, num_rows: int, max_length: int):
        config = body.config
        attention = body.layers[0].self_attn
        super().__init__(
            num_rows,
            len(body.layers),
            config.num_attention_heads,
            config.num_key_value_heads,
            attention.head_dim,
            max_length,
            body.embed_tokens.weight,
        )
        self._body = body
        self._blocks: list[Any] = list(body.layers)
        cos, sin = rotations(body, max_length + 1)
        self._cos, self._sin = cos[:, None], sin[:, None]
        self._fused = [self._fuse(block) for block in body.layers]

    def _fuse(self, block: Any) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, Delta | None, Delta | None]:
        """Weights of query (scaled), key and value as one matrix, their bias, and gate and up as one matrix.

        Behind them what adapters add to either, where the matrices do not hold it.
        """
        attention, mlp = block.self_attn, block.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        scale = self.folded_scale
        gated = (mlp.gate_proj, mlp.up_proj)
        aside, behind = (joined_delta(projections), joined_delta(gated)) if self.half else (None, None)
        read = _own_weight if self.half else merged_weight
        first, *others = map(read, projections)
        weight = torch.cat([first * scale, *others]).detach()
        bias = None
        if projections[0].bias is not None:
            bias = torch.cat([projections[0].bias * scale, *(p.bias for p in projections[1:])]).detach()
        return weight, bias, torch.cat([read(layer) for layer in gated]).detach(), aside, behind

    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self._body.embed_tokens.weight.index_select(0, ids)

    def _project(self, layer: int, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias, _, beside, _ = self._fused[layer]
        heads, cached = self._num_heads, self._num_cached_heads
        x = rms_norm(x, self._blocks[layer].input_layernorm)
        h = _with(beside, x, F.linear(x, weight, bias))
        h = h.view(len(x), heads + 2 * cached, self._head_dim)
        turning = h[:, : heads + cached]
        turning = rotate(turning, self._cos.index_select(0, positions), self._sin.index_select(0, positions))
        return turning[:, :heads], torch.stack((turning[:, heads:], h[:, heads + cached :]))

    def _finish(self, layer: int, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        block = self._blocks[layer]
        x = x + product(block.self_attn.o_proj, attended)
        h = rms_norm(x, block.post_attention_layernorm)
        if block.mlp.gate_proj.bias is None:
            _, _, weight, _, beside = self._fused[layer]
            gate, up = _with(beside, h, F.linear(h, weight)).chunk(2, dim=-1)
        else:
            gate, up = product(block.mlp.gate_proj, h), product(block.mlp.up_proj, h)
        return x + product(block.mlp.down_proj, F.silu(gate) * up)

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, self._body.norm)


def _own_weight(layer: Any) -> torch.Tensor:
    return taken_apart(layer)[0].weight


def _with(beside: Delta | None, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return out if beside is None else out + beside.of(x).to(out.dtype)
