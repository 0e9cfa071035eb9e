"""The decoder against the equation written out with torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sslam.features.grid import Grid
from sslam.model.config import DecoderConfig
from sslam.model.decoder import Decoder


@pytest.mark.parametrize("width", [None, 32])
def test_decoder_is_its_equation(width: int | None) -> None:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(layers=3, kernel=3, groups=4, width=width), 16)
    grid, tokens = Grid(5, 3), torch.randn(2, 15, 16)
    image = tokens.transpose(1, 2).reshape(2, 16, 5, 3)
    for layer in decoder.layers:
        filled = F.conv2d(image, layer.conv.weight, layer.conv.bias, padding=1, groups=4)
        filled = F.layer_norm(filled.movedim(1, -1), filled.shape[1:2]).movedim(-1, 1)
        filled = F.gelu(filled)
        image = filled + image if filled.shape == image.shape else filled
    expected = decoder.proj(image.flatten(2).transpose(1, 2)).reshape(30, 16)
    rows = torch.tensor([0, 29, 7])
    torch.testing.assert_close(decoder(tokens, grid, rows), expected[rows])
