"""The decoder of MAE against that of transformers, its places and its targets."""

import numpy as np
import pytest
import torch
from shared_case import fill, numpy
from transformers.models.vit_mae import modeling_vit_mae as theirs

from kzoo.layers import PatchDecoder, Patchify
from kzoo.layers.sin_cos import sin_cos_positions

random = np.random.default_rng(0)
GRID, PATCH, WIDTH, TOKEN_DIM, HEADS, DEPTH = (3, 3), 2, 16, 12, 2, 2
KEPT = np.array([[4, 0, 7], [2, 8, 3]], "int32")


def their_decoder():
    config = theirs.ViTMAEConfig(
        hidden_size=TOKEN_DIM, num_attention_heads=2, image_size=6, patch_size=PATCH, decoder_hidden_size=WIDTH,
        decoder_num_attention_heads=HEADS, decoder_num_hidden_layers=DEPTH, decoder_intermediate_size=24,
    )  # fmt: skip
    decoder = theirs.ViTMAEDecoder(config, num_patches=9).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name != "decoder_pos_embed":
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return decoder


def take(ours, decoder):
    """Their weights."""
    state = {name: value.numpy() for name, value in decoder.state_dict().items()}
    ours.mask_token.assign(state["mask_token"].reshape(-1))
    pairs = {"decoder_embed": ours.embed, "decoder_norm": ours.norm, "decoder_pred": ours.pixels}
    for number, block in enumerate(ours.blocks):
        attention = block.attention
        pairs |= {
            f"decoder_layers.{number}.{name}": layer
            for name, layer in {
                "attention.q_proj": attention.query,
                "attention.k_proj": attention.key,
                "attention.v_proj": attention.value,
                "attention.o_proj": attention.out,
                "layernorm_before": block.norm_1,
                "layernorm_after": block.norm_2,
                "mlp.fc1": block.mlp_up,
                "mlp.fc2": block.mlp_down,
            }.items()
        }
    for name, layer in pairs.items():
        layer.set_weights([state[f"{name}.weight"].T, state[f"{name}.bias"]])  # of a norm the T is nothing
    assert 1 + sum(len(layer.weights) for layer in pairs.values()) == len(ours.trainable_variables)


def test_it_is_the_decoder_of_transformers():
    decoder = their_decoder()
    ours = PatchDecoder(GRID, PATCH, WIDTH, DEPTH, HEADS, mlp_dim=24, prefix_tokens=1, epsilon=1e-12)
    ours.build((None, 4, TOKEN_DIM), (None, 3))
    take(ours, decoder)
    np.testing.assert_allclose(numpy(ours.position_embedding), decoder.decoder_pos_embed[0].numpy(), atol=1e-6)

    tokens = random.normal(size=(2, 4, TOKEN_DIM)).astype("float32")
    gone = [[place for place in range(9) if place not in kept] for kept in KEPT]
    restore = np.argsort(np.concatenate([KEPT, gone], axis=1), axis=1)
    with torch.no_grad():
        expected = decoder(torch.tensor(tokens), torch.tensor(restore)).logits.numpy()
    np.testing.assert_allclose(numpy(ours(tokens, KEPT)), expected, rtol=1e-4, atol=2e-5)


def test_the_order_of_what_was_kept_does_not_matter():
    decoder = PatchDecoder(GRID, PATCH, WIDTH, 1, HEADS)
    tokens = random.normal(size=(2, 3, TOKEN_DIM)).astype("float32")
    decoder.build(tokens.shape, KEPT.shape)
    fill(decoder)
    order = [2, 0, 1]
    np.testing.assert_allclose(
        numpy(decoder(tokens, KEPT)), numpy(decoder(tokens[:, order], KEPT[:, order])), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ValueError, match="there are 4 tokens, but 3 places and 0 tokens in front"):
        decoder(np.zeros((2, 4, TOKEN_DIM), "float32"), KEPT)


def test_positions():
    table = sin_cos_positions((2, 3), 8, prefix=1)
    assert table.shape == (7, 8) and not table[0].any()
    for row in range(2):
        for column in range(3):
            for i in range(2):
                at = table[1 + 3 * row + column], 10000.0 ** (-i / 2)
                expected = [np.sin(column * at[1]), np.cos(column * at[1]), np.sin(row * at[1]), np.cos(row * at[1])]
                np.testing.assert_allclose(at[0][[i, 2 + i, 4 + i, 6 + i]], expected, atol=1e-6)
    with pytest.raises(ValueError, match="width is 6"):
        sin_cos_positions((2, 3), 6)


def test_pixels_of_patches():
    images = random.integers(0, 256, (2, 5, 6, 3), dtype="uint8")
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4])
    expected = [
        [((image[r : r + 2, c : c + 2] / 255.0 - mean) / std).ravel() for r in (0, 2) for c in (0, 2, 4)]
        for image in images
    ]
    given = numpy(Patchify(2, tuple(mean), tuple(std))(images))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)
    assert numpy(Patchify(2)(images)).max() <= 1.0
