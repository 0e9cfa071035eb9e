"""Self-supervised audio representations from recordings that hold several sounds at once.

    model = sslam.load_model("sslam-tiny")
    street = model.embed("street.wav")  # street.clip (D,), street.frames (T, D), street.times_s

Names are imported when they are first used, so that ``import sslam`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslam.audio.io import read_audio as read_audio
    from sslam.errors import SslamError as SslamError
    from sslam.model.audio_model import AudioModel as AudioModel
    from sslam.model.audio_model import AudioModelConfig as AudioModelConfig
    from sslam.model.embedding import Embedding as Embedding
    from sslam.model.embedding import Tagging as Tagging
    from sslam.weights.native import save_folder as save_folder
    from sslam.weights.publish import from_pretrained as from_pretrained
    from sslam.weights.publish import push_to_hub as push_to_hub
    from sslam.weights.publish import save_pretrained as save_pretrained
    from sslam.weights.zoo import load_model as load_model

    __version__: str

_HOMES = {
    "AudioModel": "sslam.model.audio_model",
    "AudioModelConfig": "sslam.model.audio_model",
    "Embedding": "sslam.model.embedding",
    "SslamError": "sslam.errors",
    "Tagging": "sslam.model.embedding",
    "from_pretrained": "sslam.weights.publish",
    "load_model": "sslam.weights.zoo",
    "push_to_hub": "sslam.weights.publish",
    "read_audio": "sslam.audio.io",
    "save_folder": "sslam.weights.native",
    "save_pretrained": "sslam.weights.publish",
}

__all__ = [
    "AudioModel",
    "AudioModelConfig",
    "Embedding",
    "SslamError",
    "Tagging",
    "__version__",
    "from_pretrained",
    "load_model",
    "push_to_hub",
    "read_audio",
    "save_folder",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sslam")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sslam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
