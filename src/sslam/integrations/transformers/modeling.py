"""The encoder, and the encoder with a classifier, as models of transformers.

Their parts are those of :class:`~sslam.model.audio_model.AudioModel` under the same names, so a
model.safetensors fits both. The front end stays float32 whatever the rest computes in: a log-mel
made in bfloat16 would be off by more than quiet bands vary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import ModelOutput, can_return_tuple

from sslam.features.front_end import FrontEnd
from sslam.features.grid import Grid
from sslam.features.logmel import LogMel
from sslam.integrations.transformers.config import SINGLE_LABEL, SslamConfig
from sslam.model.audio_model import AudioModel, Features
from sslam.model.encoder import Encoder
from sslam.model.patches import PatchEmbed, sincos_positions

_LINEAR_STD = 0.02


@dataclass
class SslamOutput(ModelOutput):
    """What the encoder makes of a batch of clips."""

    last_hidden_state: Tensor | None = None  # (B, 1 + N, D): the clip's token, then patches
    pooler_output: Tensor | None = None  # (B, D), the clip's vector
    frames: Tensor | None = None  # (B, T, D), one vector for every 160 ms
    frame_mask: Tensor | None = None  # (B, T) bool, False beyond a clip's end


class SslamPreTrainedModel(PreTrainedModel):
    """What both models share: front end, encoder, and how transformers is to treat them."""

    config_class = SslamConfig
    base_model_prefix = ""
    main_input_name = "input_values"
    input_modalities = ("audio",)
    _no_split_modules = ("Block",)
    _tied_weights_keys: dict[str, str] = {}  # noqa: RUF012 (transformers reads it from the class)

    def __init__(self, config: SslamConfig, with_classes: bool) -> None:
        config = copy.deepcopy(config)
        config.has_classes = with_classes
        super().__init__(config)
        native = config.native()
        # transformers builds models on the meta device, and in the type they will compute in;
        # the tables of the front end and of the positions are computed, so they need real numbers.
        precision = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"):
                parts = AudioModel(native)
        finally:
            torch.set_default_dtype(precision)
        self.front_end = parts.front_end
        self.encoder = parts.encoder.to(precision)
        if parts.classifier is not None:
            self.classifier = parts.classifier.to(precision)
        self._native = native

    def encode(self, input_values: Tensor, attention_mask: Tensor | None) -> Features:
        """(B, S) waveforms at 16 kHz -> tokens; ``attention_mask`` (B, S) marks what is audio."""
        samples = None if attention_mask is None else attention_mask.sum(dim=1).long()
        logmels = self.front_end(input_values.float(), samples)
        frames = logmels.frames if self._native.mask_padding else None
        logmel = logmels.logmel.to(self.encoder.cls.dtype)
        encoding = self.encoder(logmel, frames)
        return Features(encoding.tokens, encoding.grid, self._times(logmels.frames, encoding.grid))

    def _times(self, frames: Tensor, grid: Grid) -> Tensor:
        """(B,) time patches that count as audio."""
        if not self._native.mask_padding:
            return torch.full_like(frames, grid.time)
        patch = self._native.encoder.patch
        return (frames + patch - 1) // patch

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        bank = self.front_end.log_mel.bank
        if bank.dtype != torch.float32:
            self.front_end = FrontEnd(self._native.front_end).to(bank.device)
        return self

    def _init_weights(self, module: nn.Module) -> None:
        """Fill what a checkpoint did not: a new classifier, and every table that is computed."""
        if isinstance(module, Encoder):
            grid = Grid(module.config.max_time_patches, module.config.n_mels // module.config.patch)
            init.copy_(module.positions, sincos_positions(grid, module.config.width))
            init.normal_(module.cls)
        elif isinstance(module, LogMel):
            fresh = FrontEnd(self._native.front_end).log_mel
            init.copy_(module.window, fresh.window)
            init.copy_(module.bank, fresh.bank)
        elif isinstance(module, PatchEmbed):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=_LINEAR_STD)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


class SslamModel(SslamPreTrainedModel):
    """The encoder: audio to vectors. A classifier in the checkpoint is left out."""

    _keys_to_ignore_on_load_unexpected = (r"^classifier\.",)

    def __init__(self, config: SslamConfig) -> None:
        super().__init__(config, with_classes=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self, input_values: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> SslamOutput:
        """Vectors of a batch of clips.

        Args:
            input_values: (B, S) mono samples at 16 kHz.
            attention_mask: (B, S), 1 for audio and 0 for the padding behind it.

        Raises:
            InputError: a clip shorter than one frame, or longer than the position table.
        """
        features = self.encode(input_values, attention_mask)
        steps = torch.arange(features.grid.time, device=features.times.device)
        return SslamOutput(
            last_hidden_state=features.tokens,
            pooler_output=features.clip(self._native.pooling),
            frames=features.frames,
            frame_mask=steps < features.times[:, None],
        )


class SslamForAudioClassification(SslamPreTrainedModel):
    """The encoder with a classifier on the clip's vector; a missing classifier starts afresh."""

    def __init__(self, config: SslamConfig) -> None:
        super().__init__(config, with_classes=True)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Class scores before softmax or sigmoid, as ``config.problem_type`` says.

        Args:
            input_values: (B, S) mono samples at 16 kHz.
            attention_mask: (B, S), 1 for audio and 0 for the padding behind it.
            labels: (B,) class numbers where one class holds, or (B, C) of 0 and 1.
        """
        features = self.encode(input_values, attention_mask)
        logits = self.classifier(features.clip(self._native.pooling))
        loss = None if labels is None else self._loss(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.problem_type == SINGLE_LABEL:
            return F.cross_entropy(logits, labels)
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits))
