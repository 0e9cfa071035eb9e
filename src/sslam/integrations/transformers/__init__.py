"""The model as transformers knows models: the Auto classes and ``pipeline``.

Importing this imports transformers, which takes seconds; no other part of the package does. Call
:func:`register` once, and ``from_pretrained`` of the Auto classes reads our model folders and
``save_pretrained`` writes them: config.json and model.safetensors are the same files either way.
"""

from __future__ import annotations

from sslam.errors import require_extra

require_extra("transformers", "hf")

from transformers import (  # noqa: E402 (once it is known to be there)
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
)

from sslam.integrations.transformers.config import MODEL_TYPE, SslamConfig  # noqa: E402
from sslam.integrations.transformers.extractor import SslamFeatureExtractor  # noqa: E402
from sslam.integrations.transformers.modeling import (  # noqa: E402
    SslamForAudioClassification,
    SslamModel,
    SslamOutput,
)

__all__ = [
    "SslamConfig",
    "SslamFeatureExtractor",
    "SslamForAudioClassification",
    "SslamModel",
    "SslamOutput",
    "register",
]


def register() -> None:
    """Make the Auto classes and ``pipeline("audio-classification")`` know our models.

    Calling it again changes nothing.
    """
    AutoConfig.register(MODEL_TYPE, SslamConfig, exist_ok=True)
    AutoModel.register(SslamConfig, SslamModel, exist_ok=True)
    AutoModelForAudioClassification.register(
        SslamConfig, SslamForAudioClassification, exist_ok=True
    )
    AutoFeatureExtractor.register(SslamConfig, SslamFeatureExtractor, exist_ok=True)
