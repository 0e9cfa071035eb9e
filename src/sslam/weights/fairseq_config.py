"""The options of a fairseq config of EAT or SSLAM that say what a model computes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sslam.errors import CheckpointError
from sslam.model.config import DecoderConfig, EncoderConfig, ModelConfig
from sslam.weights.foreign_config import Section
from sslam.weights.layout import (
    ForeignCheckpoint,
    Found,
    FrontEndHints,
    Pooling,
    build_config,
    decoder_config,
    published_decoder,
)

_POOLING: dict[str, Pooling] = {"MEAN_POOLING": "mean", "CLS_TOKEN": "cls", "1": "mean", "2": "cls"}
_FIXED: dict[
    str, dict[str, object]
] = {  # settings that change the computation, and the one value that this model computes
    "model": {
        "layer_norm_first": False,
        "norm_affine": True,
    },
    "image": {
        "prenet_depth": 0,
        "num_extra_tokens": 1,
        "in_chans": 1,
        "use_alibi_encoder": False,
        "fixed_positions": True,
        "transformer_decoder": False,
        "enc_dec_transformer": False,
    },
    "decoder": {
        "add_positions_masked": False,
        "add_positions_all": False,
        "decoder_residual": True,
        "projection_layers": 1,
    },
}


def refuse_other_computations(model: Section) -> None:
    """Refuse options that this model does not compute.

    Raises:
        CheckpointError: naming the option.
    """
    image = model.section("modalities").section("image")
    sections = {"model": model, "image": image, "decoder": image.section("decoder")}
    for where, settings in _FIXED.items():
        for key, wanted in settings.items():
            value = sections[where].values.get(key, wanted)
            if value != wanted:
                raise CheckpointError(
                    f"its config has {key} {value!s:.40}; only {wanted} can be computed here"
                )


def stated_sizes(model: Section) -> Found:
    """The encoder sizes that a ``cfg.model`` states."""
    image = model.section("modalities").section("image")
    return Found(
        width=model.integer("embed_dim"),
        depth=model.integer("depth"),
        heads=model.integer("num_heads"),
        mlp_ratio=model.number("mlp_ratio"),
        patch=image.integer("patch_size"),
        max_time_patches=image.integer("max_length"),
        norm_eps=model.number("norm_eps"),
    )


def model_config(
    encoder: EncoderConfig, decoder: Mapping[str, Tensor] | None, model: Section
) -> ModelConfig:
    """Both sizes; of a decoder that the file lacks, the config's, or else the published one's."""
    if decoder is not None:
        sizes = decoder_config(decoder, encoder.width)
    else:
        said = model.section("modalities").section("image").section("decoder")
        usual = published_decoder(encoder.width)
        width = said.integer("decoder_dim")
        sizes = build_config(
            DecoderConfig,
            {
                "layers": said.integer("decoder_layers") or usual.layers,
                "kernel": said.integer("decoder_kernel") or usual.kernel,
                "groups": said.integer("decoder_groups") or usual.groups,
                "width": None if width == encoder.width else width,
            },
        )
    return build_config(ModelConfig, {"encoder": encoder, "decoder": sizes})


def pooling(model: Section) -> Pooling:
    """How a fine-tuned model makes its clip vector.

    Raises:
        CheckpointError: a kind of pooling that the classifier here does not have.
    """
    value = str(model.values.get("prediction_mode", "CLS_TOKEN")).rsplit(".", 1)[-1]
    if value not in _POOLING:
        raise CheckpointError(f"its classifier pools by {value:.40}; only CLS and mean are known")
    return _POOLING[value]


def front_end_hints(config: Section) -> FrontEndHints:
    """What the task says of the input."""
    task = config.section("task")
    return FrontEndHints(
        frames=task.integer("target_length") or config.section("model").integer("target_length"),
        mean=task.number("norm_mean"),
        std=task.number("norm_std"),
    )


def fairseq_config(checkpoint: ForeignCheckpoint) -> dict[str, object]:
    """The options of a fairseq config that describe this model, as plain data."""
    encoder, decoder = checkpoint.config.encoder, checkpoint.config.decoder
    image = dict(_FIXED["image"]) | {
        "type": "IMAGE",
        "patch_size": encoder.patch,
        "embed_dim": encoder.width,
        "max_length": encoder.max_time_patches,
        "decoder": dict(_FIXED["decoder"])
        | {
            "decoder_dim": decoder.width or encoder.width,
            "decoder_groups": decoder.groups,
            "decoder_kernel": decoder.kernel,
            "decoder_layers": decoder.layers,
        },
    }
    model: dict[str, object] = dict(_FIXED["model"]) | {
        "_name": "data2vec_multi",
        "embed_dim": encoder.width,
        "depth": encoder.depth,
        "num_heads": encoder.heads,
        "mlp_ratio": encoder.mlp_ratio,
        "norm_eps": encoder.norm_eps,
        "modalities": {"image": image},
    }
    if checkpoint.classifier is not None:
        model = {
            "_name": "mae_image_classification",
            "num_classes": checkpoint.classes,
            "prediction_mode": "MEAN_POOLING" if checkpoint.pooling == "mean" else "CLS_TOKEN",
            "pretrained_model_args": {"model": model},
        }
    hints = checkpoint.front_end
    said = {"target_length": hints.frames, "norm_mean": hints.mean, "norm_std": hints.std}
    return {"model": model, "task": {k: v for k, v in said.items() if v is not None}}
