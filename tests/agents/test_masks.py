"""Packed masks: what goes in comes out, state by state, without being opened as a whole."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.agents.masks import PackedMasks


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 20), num_actions=st.integers(1, 40), seed=st.integers(0, 2**31 - 1))
def test_packed_masks_open_to_what_was_packed(count, num_actions, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((count, num_actions)) < 0.5
    packed = PackedMasks.pack(masks)
    assert packed.shape == masks.shape
    assert packed.bits.nbytes == count * -(-num_actions // 8)
    np.testing.assert_array_equal(np.asarray(packed), masks)
    np.testing.assert_array_equal(packed.unpack().numpy(), masks)
    index = rng.integers(0, count, 7)
    for rows in (slice(1, 3), index, torch.from_numpy(index), masks[:, 0]):
        np.testing.assert_array_equal(packed[rows].unpack().numpy(), masks[rows])
        np.testing.assert_array_equal(packed.unpack(rows).numpy(), masks[rows])
    joined = PackedMasks.concat([packed, PackedMasks.full(2, num_actions)])
    np.testing.assert_array_equal(np.asarray(joined), np.concatenate([masks, np.ones((2, num_actions), bool)]))
    actions = rng.integers(0, num_actions, count)
    np.testing.assert_array_equal(packed.allows(torch.from_numpy(actions)).numpy(), masks[np.arange(count), actions])
