"""config.json of a model folder as a configuration of transformers."""

from __future__ import annotations

import copy
import json
from typing import Any

from transformers import PreTrainedConfig

from sslam.model.audio_model import AudioModelConfig

MODEL_TYPE = "sslam"
SINGLE_LABEL, MULTI_LABEL = "single_label_classification", "multi_label_classification"

_TRANSLATED = ("model_type", "labels", "single_label")  # transformers has its own names for these
_OURS = tuple(name for name in AudioModelConfig.model_fields if name not in _TRANSLATED)
_CLASSES = ("id2label", "num_labels")


class SslamConfig(PreTrainedConfig):
    """What a model is, with its classes under the names that transformers has for them.

    Args:
        settings: the fields of :class:`AudioModelConfig` and those of transformers. Of both kinds,
            ``id2label`` or ``num_labels`` go before ``labels``, ``problem_type`` before
            ``single_label``.
    """

    model_type = MODEL_TYPE

    def __init__(self, **settings: Any) -> None:
        labels = tuple(settings.pop("labels", None) or ())
        single = bool(settings.pop("single_label", False))
        settings.pop("model_type", None)
        ours = {name: settings.pop(name) for name in _OURS if name in settings}
        native = AudioModelConfig.model_validate(ours).model_dump(mode="json")
        given = any(settings.get(name) is not None for name in _CLASSES)
        self.has_classes = given or bool(labels)
        if labels and not given:
            settings["id2label"] = dict(enumerate(labels))
            settings["label2id"] = {label: index for index, label in enumerate(labels)}
        if settings.get("problem_type") is None:
            settings["problem_type"] = SINGLE_LABEL if single else MULTI_LABEL
        super().__init__(**settings)
        for name in _OURS:
            setattr(self, name, native[name])

    @property
    def hidden_size(self) -> int:
        """D, the width of a vector."""
        return int(self.encoder["width"])

    @property
    def num_hidden_layers(self) -> int:
        """L, the number of transformer blocks."""
        return int(self.encoder["depth"])

    @property
    def num_attention_heads(self) -> int:
        """Heads of an attention layer."""
        return int(self.encoder["heads"])

    def native(self) -> AudioModelConfig:
        """The same as a configuration of ours."""
        ours = {name: copy.deepcopy(getattr(self, name)) for name in _OURS}
        labels = [self.id2label[index] for index in sorted(self.id2label)]
        return AudioModelConfig(
            **ours,
            labels=tuple(labels if self.has_classes else ()),
            single_label=self.has_classes and self.problem_type == SINGLE_LABEL,
        )

    def to_json_string(self, use_diff: bool = True) -> str:
        """The text of config.json, as a model folder of ours has it."""
        settings = self.native().model_dump(mode="json")
        return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
