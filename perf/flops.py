"""Useful arithmetic, counted from the configs: what the method needs, however it is computed.

A multiplication and an addition are two FLOPs. Normalisations, activations and the optimiser are
not counted. A backward pass costs twice its forward pass, but for the first layer, which passes no
gradient on to its input.
"""

from __future__ import annotations

from dataclasses import dataclass

from sslam.model.config import EncoderConfig, ModelConfig


def _linear(encoder: EncoderConfig) -> float:
    """Multiplications of a token in a block's four linear maps."""
    return (4 + 2 * encoder.mlp_ratio) * encoder.width**2


def embed_flops(encoder: EncoderConfig, patches: int) -> float:
    """Embedding of patches."""
    return 2.0 * patches * encoder.patch**2 * encoder.width


def blocks_flops(encoder: EncoderConfig, sequences: int, tokens: int) -> float:
    """All blocks on ``sequences`` sequences of ``tokens`` tokens, CLS included."""
    of_token = _linear(encoder) + 2 * tokens * encoder.width
    return 2.0 * encoder.depth * sequences * tokens * of_token


def clip_token_flops(encoder: EncoderConfig, clips: int, frames: int) -> float:
    """From log-mels to CLS tokens; of the last block, what CLS depends on."""
    tokens, width = 1 + encoder.grid(frames).patches, encoder.width
    but_last = encoder.model_copy(update={"depth": encoder.depth - 1})
    keys_and_values = tokens * 2 * width**2
    cls_alone = _linear(encoder) - 2 * width**2 + 2 * tokens * width
    return (
        embed_flops(encoder, clips * (tokens - 1))
        + blocks_flops(but_last, clips, tokens)
        + 2.0 * clips * (keys_and_values + cls_alone)
    )


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of the parts of a stage-2 step."""

    student: float  # forward and backward
    decoder: float  # forward and backward
    teacher: float  # whole clips and mixtures, then mixed patches alone

    @property
    def total(self) -> float:
        return self.student + self.decoder + self.teacher


def step_flops(
    model: ModelConfig, clips: int, masks: int, frames: int, visible: int, mixed: int
) -> StepFlops:
    """A stage-2 step on hosts and their mixtures.

    Args:
        clips: hosts of the group.
        masks: of a clip, the same for host and mixture.
        frames: of a clip.
        visible: patches that a mask leaves.
        mixed: patches of a clip where host and partner are mixed.
    """
    encoder, decoder = model.encoder, model.decoder
    patches, sequences = encoder.grid(frames).patches, 2 * clips * masks
    embed = embed_flops(encoder, 2 * clips * patches)
    student = 2 * embed + 3 * blocks_flops(encoder, sequences, 1 + visible)
    inner = decoder.width or encoder.width
    taps = decoder.kernel**2 / decoder.groups
    convolutions = taps * (encoder.width * inner + (decoder.layers - 1) * inner**2)
    hidden = sequences * (patches - visible)
    filled = 2.0 * (sequences * patches * convolutions + hidden * inner * encoder.width)
    teacher = (
        embed
        + blocks_flops(encoder, 2 * clips, 1 + patches)
        + blocks_flops(encoder, clips, 1 + mixed)
    )
    return StepFlops(student, 3 * filled, teacher)
