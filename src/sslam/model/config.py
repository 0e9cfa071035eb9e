"""The architecture as data: sizes of the student, the decoder and the patch grid.

Published sizes: docs/method.md, section "Architecture".
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sslam.errors import InputError
from sslam.features.grid import Grid


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderConfig(_Frozen):
    """A vision transformer over log-mel patches, with normalisation after each residual."""

    width: int = Field(768, gt=0, description="D, channels of a token")
    depth: int = Field(12, gt=0, description="number of transformer blocks")
    heads: int = Field(12, gt=0, description="attention heads; must divide width")
    mlp_ratio: float = Field(4.0, gt=0, description="hidden width of the MLP over width")
    patch: int = Field(16, gt=0, description="side of a square patch, in frames and in mel bins")
    n_mels: int = Field(128, gt=0, description="F, mel bins of the log-mel")
    max_time_patches: int = Field(768, gt=0, description="rows of the position table")
    norm_eps: float = Field(1e-6, gt=0, description="epsilon of every layer norm")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth of the last block")

    @model_validator(mode="after")
    def _sizes_fit(self) -> EncoderConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of 4 (2-D sin-cos positions)")
        if self.n_mels % self.patch:
            raise ValueError(f"n_mels {self.n_mels} must be a multiple of patch {self.patch}")
        return self

    def grid(self, frames: int) -> Grid:
        """The patch grid of a log-mel of ``frames`` columns.

        Raises:
            InputError: not a positive multiple of the patch side, or beyond the position table.
        """
        if frames <= 0 or frames % self.patch:
            raise InputError(f"{frames} frames: give a positive multiple of {self.patch}")
        if frames > self.max_frames:
            raise InputError(
                f"{frames} frames are more than the {self.max_frames} that the positions cover; "
                "cut the clip into windows"
            )
        return Grid(frames // self.patch, self.n_mels // self.patch)

    @property
    def max_frames(self) -> int:
        """The longest log-mel the position table covers, in frames."""
        return self.max_time_patches * self.patch


class DecoderConfig(_Frozen):
    """The mask-filling network: grouped convolutions over the patch grid, used in training only."""

    layers: int = Field(6, gt=0, description="convolutions, each with a residual")
    kernel: int = Field(3, gt=0, description="side of the square kernel; odd")
    groups: int = Field(16, gt=0, description="groups of a convolution; must divide the width")
    width: int | None = Field(None, gt=0, description="channels; as wide as the encoder when unset")

    @model_validator(mode="after")
    def _kernel_is_centred(self) -> DecoderConfig:
        if self.kernel % 2 == 0:
            raise ValueError(f"decoder kernel {self.kernel} must be odd, to have a centre")
        return self


class ModelConfig(_Frozen):
    """The student (encoder) and the decoder that trains it."""

    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()

    @model_validator(mode="after")
    def _groups_fit(self) -> ModelConfig:
        widths = {self.encoder.width, self.decoder.width or self.encoder.width}
        if any(width % self.decoder.groups for width in widths):
            raise ValueError(f"decoder groups {self.decoder.groups} must divide width {widths}")
        return self


SIZES: dict[str, ModelConfig] = {
    "micro": ModelConfig(
        encoder=EncoderConfig(width=128, depth=6, heads=4), decoder=DecoderConfig(layers=4)
    ),
    "tiny": ModelConfig(encoder=EncoderConfig(width=192, depth=12, heads=3)),
    "base": ModelConfig(),
    "large": ModelConfig(
        encoder=EncoderConfig(width=1024, depth=24, heads=16),
        decoder=DecoderConfig(layers=3, kernel=5),
    ),
}
"""Named sizes. Base and large are the published ones; micro and tiny train on a CPU."""
