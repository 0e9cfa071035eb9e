"""The encoder: published sizes, any grid, padding that is not seen."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sslam.errors import InputError
from sslam.features.grid import Grid
from sslam.model.config import SIZES, DecoderConfig, EncoderConfig, ModelConfig
from sslam.model.decoder import Decoder
from sslam.model.encoder import Encoder
from sslam.model.patches import PatchEmbed, sincos_positions

SMALL = EncoderConfig(width=32, depth=3, heads=4)


def encoder(config: EncoderConfig = SMALL) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config).eval()


@pytest.mark.parametrize(
    ("size", "encoder_parameters", "decoder_parameters"),
    [("base", 85_254_144, 2_585_856), ("large", 302_575_616, 5_967_872)],
)
def test_published_parameter_counts(
    size: str, encoder_parameters: int, decoder_parameters: int
) -> None:
    with torch.device("meta"):
        block = Encoder(SIZES[size].encoder.model_copy(update={"depth": 1}))
        stem = Encoder(SIZES[size].encoder.model_copy(update={"depth": 2}))
        decoder = Decoder(SIZES[size].decoder, SIZES[size].encoder.width)
    one, two = (sum(p.numel() for p in m.parameters()) for m in (block, stem))
    assert one + (SIZES[size].encoder.depth - 1) * (two - one) == encoder_parameters
    assert sum(p.numel() for p in decoder.parameters()) == decoder_parameters


def test_patch_embedding_is_the_strided_convolution() -> None:
    embed = PatchEmbed(8, 16)
    logmel = torch.randn(2, 48, 128)
    image = nn.functional.conv2d(logmel[:, None], embed.weight, embed.bias, stride=16)
    torch.testing.assert_close(embed(logmel), image.flatten(2).transpose(1, 2))


def test_positions_put_mel_first_then_time() -> None:
    table = sincos_positions(Grid(3, 2), 8)
    assert table.shape == (6, 8)
    same_mel, same_time = table[0] == table[2], table[0] == table[1]
    assert same_mel[:4].all() and not same_mel[4:].all()
    assert same_time[4:].all() and not same_time[:4].all()


def test_a_longer_table_starts_with_the_shorter_one() -> None:
    assert torch.equal(sincos_positions(Grid(9, 8), 32)[:40], sincos_positions(Grid(5, 8), 32))


@pytest.mark.parametrize(("clips", "frames"), [(1, 16), (3, 208), (2, 1024)])
def test_any_batch_and_length(clips: int, frames: int) -> None:
    logmel = torch.randn(clips, frames, 128)
    encoding = encoder()(logmel)
    assert encoding.tokens.shape == (clips, 1 + frames // 2, 32)
    assert encoding.grid == (frames // 16, 8)


def test_padding_is_not_seen() -> None:
    model = encoder()
    clip = torch.randn(1, 64, 128)
    padded = torch.cat([clip, torch.full((1, 48, 128), 9.0)], dim=1)
    alone, beside = model(clip), model(padded, torch.tensor([64]))
    torch.testing.assert_close(beside.tokens[:, : 1 + 32], alone.tokens, atol=1e-5, rtol=0)


def test_clip_token_is_the_cls_of_the_whole_pass() -> None:
    model, logmel, frames = encoder(), torch.randn(3, 48, 128), torch.tensor([48, 20, 1])
    torch.testing.assert_close(model.clip_token(logmel), model(logmel).cls)
    torch.testing.assert_close(model.clip_token(logmel, frames), model(logmel, frames).cls)


def test_mlp_outputs_are_those_of_the_blocks() -> None:
    model = encoder()
    tokens = model.with_cls(model.patch_tokens(torch.randn(2, 32, 128)))
    seen: list[torch.Tensor] = []
    for block in model.blocks:
        block.mlp.register_forward_hook(lambda _m, _i, out: seen.append(out[:, 1:]))
    model.run(tokens)
    whole = list(seen)
    for got, expected in zip(model.mlp_outputs(tokens), whole, strict=True):
        torch.testing.assert_close(got, expected)


def test_drop_path_drops_whole_branches_in_training_only() -> None:
    model = encoder(SMALL.model_copy(update={"drop_path": 0.9}))
    logmel = torch.randn(4, 32, 128)
    torch.testing.assert_close(model(logmel).tokens, encoder()(logmel).tokens)
    assert not torch.allclose(model.train()(logmel).tokens, encoder()(logmel).tokens)


@pytest.mark.parametrize("frames", [0, 15, 100, 768 * 16 + 16])
def test_lengths_outside_the_table_are_refused(frames: int) -> None:
    with pytest.raises(InputError, match=str(frames)):
        SMALL.grid(frames)


@pytest.mark.parametrize(
    "wrong", [{"width": 30}, {"heads": 5}, {"depth": 0}, {"n_mels": 100}, {"colour": 1}]
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        EncoderConfig(**{**SMALL.model_dump(), **wrong})


def test_decoder_groups_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="divide"):
        ModelConfig(encoder=SMALL, decoder=DecoderConfig(groups=5))
