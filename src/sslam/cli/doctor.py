"""``sslam doctor``: what is installed and what works here, in plain words."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CORE = (
    "torch",
    "numpy",
    "soundfile",
    "soxr",
    "safetensors",
    "huggingface_hub",
    "pydantic",
    "scikit-learn",
)
_EXTRAS = {
    "hf": ("transformers",),
    "formats": ("av",),
    "data": ("pyarrow",),
    "track": ("tensorboard",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "sed": ("sed_scores_eval",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
_SOUNDS = {  # suffix -> what soundfile calls it
    "wav": ("WAV", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
_CONTAINERS = {"m4a": ("ipod", "aac"), "mp4": ("mp4", "aac"), "webm": ("webm", "libopus")}
_CODEC_HZ = 48_000  # a rate that every codec here takes


@dataclass
class Args:
    """Show what is installed, which devices and audio formats work, and try a forward pass."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    ok: bool
    needed: bool
    text: str


def run(args: Args) -> int:
    """Print the report; 0 if everything that sslam needs works, 1 if not."""
    del args
    worked = True
    for title, findings in _SECTIONS.items():
        print(title)
        for finding in findings():
            worked &= finding.ok or not finding.needed
            mark = "ok " if finding.ok else ("BAD" if finding.needed else "-  ")
            print(f"  {mark} {finding.text}")
    print("everything needed works" if worked else "something needed does not work: see BAD above")
    return 0 if worked else 1


def _packages() -> Iterator[Finding]:
    yield Finding(True, True, f"sslam {_version('sslam')}, Python {platform.python_version()}")
    for name in _CORE:
        version = _version(name)
        missing = f"{name} is missing: pip install {name}"
        yield Finding(version is not None, True, f"{name} {version}" if version else missing)
    for extra, names in _EXTRAS.items():
        versions = [f"{name} {_version(name)}" for name in names if _version(name)]
        if len(versions) == len(names):
            yield Finding(True, False, f"extra {extra}: {', '.join(versions)}")
        else:
            yield Finding(False, False, f"extra {extra}: pip install 'sslam[{extra}]' to have it")


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding(True, True, f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Finding(False, False, "no CUDA GPU that this torch can use")
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        yield Finding(
            True, False, f"cuda:{number}: {card.name}, {card.total_memory / 2**30:.0f} GiB"
        )


def _training() -> Iterator[Finding]:
    """What ``auto`` chooses for pre-training here."""
    from sslam.training.device import choices

    for choice in choices().lines():
        yield Finding(True, True, choice)


def _formats() -> Iterator[Finding]:
    """Write a tenth of a second in each format, and read it again."""
    with tempfile.TemporaryDirectory(prefix="sslam-doctor-") as folder:
        for suffix in _SOUNDS:
            yield _tried(Path(folder) / f"tone.{suffix}", _write_sound, needed=suffix == "wav")
        if _version("av") is None:
            names = ", ".join(_CONTAINERS)
            yield Finding(False, False, f"{names}: pip install 'sslam[formats]' to read them")
            return
        for suffix in _CONTAINERS:
            yield _tried(Path(folder) / f"tone.{suffix}", _write_container, needed=False)


def _tried(path: Path, write: Callable[[Path], None], needed: bool) -> Finding:
    from sslam.audio.io import RATE_HZ, read_audio
    from sslam.errors import SslamError

    suffix = path.suffix.lstrip(".")
    try:
        write(path)
    except Exception as error:  # an encoder that this build lacks says nothing of its decoder
        reason = type(error).__name__
        return Finding(False, needed, f"{suffix}: no test file could be made here ({reason})")
    try:
        seconds = len(read_audio(path)) / RATE_HZ
    except SslamError as error:
        return Finding(False, needed, f"{suffix}: {error}")
    return Finding(True, needed, f"{suffix} decodes ({seconds:.2f} s read)")


def _write_sound(path: Path) -> None:
    import soundfile

    kind, coding = _SOUNDS[path.suffix.lstrip(".")]
    soundfile.write(path, _tone(), _CODEC_HZ, format=kind, subtype=coding)


def _write_container(path: Path) -> None:
    from typing import Any

    from sslam.errors import require_extra

    av: Any = require_extra("av", "formats")
    kind, codec = _CONTAINERS[path.suffix.lstrip(".")]
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=_CODEC_HZ)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(_tone()[None], format="fltp", layout="mono")
        frame.sample_rate = _CODEC_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def _tone() -> NDArray[np.float32]:
    import numpy as np

    times_s = np.arange(_CODEC_HZ // 10) / _CODEC_HZ
    return (0.1 * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)


def _models() -> Iterator[Finding]:
    from huggingface_hub import constants

    from sslam.errors import SslamError
    from sslam.weights.zoo import SHIPPED, load_model

    offline = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    yield Finding(True, False, f"models from the hub are kept in {constants.HF_HUB_CACHE}{offline}")
    for name in SHIPPED:
        try:
            width = load_model(name).config.encoder.width
        except SslamError as error:
            yield Finding(False, False, str(error))
        else:
            yield Finding(True, False, f"{name} is shipped, width {width}")


def _forward() -> Iterator[Finding]:
    import torch

    from sslam.audio.io import RATE_HZ
    from sslam.model.audio_model import AudioModel, AudioModelConfig
    from sslam.model.config import SIZES

    with torch.random.fork_rng(devices=[]):
        model = AudioModel(AudioModelConfig(encoder=SIZES["micro"].encoder)).eval()
    wave = torch.sin(torch.arange(RATE_HZ) * 0.1)
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        try:
            model.to(device).embed(wave)  # the first call also sets things up
            started_s = time.perf_counter()
            found = model.embed(wave)
        except Exception as error:  # whatever it is, it is the answer here
            yield Finding(False, True, f"{device}: {type(error).__name__}: {error}")
            continue
        took_ms = 1000 * (time.perf_counter() - started_s)
        text = f"{device}: 1 s of audio to {len(found.frames)} frames of {len(found.clip)} numbers"
        yield Finding(True, True, f"{text} in {took_ms:.0f} ms")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


_SECTIONS: dict[str, Callable[[], Iterator[Finding]]] = {
    f"packages ({sys.platform}, {platform.machine()})": _packages,
    "devices": _devices,
    "pre-training on them": _training,
    "audio formats": _formats,
    "models": _models,
    "a small random model": _forward,
}
