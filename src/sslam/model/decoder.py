"""The decoder: fills the masked patches in from the visible ones around them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sslam.features.grid import Grid
from sslam.model.config import DecoderConfig


class DecoderLayer(nn.Module):
    """A grouped convolution, normalised over channels and rectified, with a residual."""

    def __init__(self, width_in: int, config: DecoderConfig, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            width_in, width, config.kernel, padding=config.kernel // 2, groups=config.groups
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Shape: (B, time, mel, D) -> (B, time, mel, D), channels last throughout."""
        image = self.conv(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        filled = F.gelu(F.layer_norm(image, image.shape[-1:]))
        return filled + grid if filled.shape == grid.shape else filled


class Decoder(nn.Module):
    """Convolutions over the patch grid, then one linear map back to the encoder's width."""

    def __init__(self, config: DecoderConfig, width: int) -> None:
        super().__init__()
        inner = config.width or width
        widths = [width] + [inner] * (config.layers - 1)
        self.layers = nn.ModuleList(DecoderLayer(w, config, inner) for w in widths)
        self.proj = nn.Linear(inner, width)

    def forward(self, tokens: Tensor, grid: Grid, rows: Tensor) -> Tensor:
        """Fill in the grid and project the wanted rows of it.

        Args:
            tokens: (S, N, D), S sequences of patches on the grid, noise where masked.
            grid: how the N patches lie.
            rows: (R,) indices into the S · N patches.

        Shape: -> (R, D).
        """
        image = tokens.view(-1, grid.time, grid.mel, tokens.shape[-1])
        for layer in self.layers:
            image = layer(image)
        return self.proj(image.flatten(0, 2).index_select(0, rows))
