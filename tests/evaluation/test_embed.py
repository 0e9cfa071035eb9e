"""Features: the same in any batch, decoded once, found again on disk, bad clips counted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import SEGMENTS, LogmelStatistics, ModelFeatures, ProbePooling
from sslam.features.front_end import FrontEnd
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.model.recordings import pad_waves


class Counting:
    """Mean and length of each clip; counts what it is asked."""

    def __init__(self, name: str = "a") -> None:
        self.name = name
        self.clips = 0
        self.batches: list[int] = []

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        self.clips += len(wave)
        self.batches.append(len(wave))
        return torch.stack([wave.sum(dim=1) / samples, samples.float()], dim=1)

    def fingerprint(self) -> str:
        return self.name


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    rng = np.random.default_rng(0)
    found = []
    for index, seconds in enumerate((0.5, 1.2, 0.3, 1.2, 0.9)):
        path = tmp_path / f"{index}.wav"
        wave = 0.1 * rng.normal(size=round(seconds * RATE_HZ)) + 0.01 * index
        soundfile.write(path, wave, RATE_HZ, subtype="FLOAT")
        found.append(Clip(path))
    return found


def model(seed: int) -> AudioModel:
    torch.manual_seed(seed)
    encoder = EncoderConfig(width=16, depth=2, heads=2)
    return AudioModel(AudioModelConfig(encoder=encoder))


def test_features_are_in_the_order_of_the_clips(clips: list[Clip]) -> None:
    encoder = Counting()
    found = clip_features(encoder, clips, batch=2)
    assert encoder.batches == [2, 2, 1] and found.kept.tolist() == list(range(5))
    lengths = [round(s * RATE_HZ) for s in (0.5, 1.2, 0.3, 1.2, 0.9)]
    assert found.vectors.dtype == np.float32 and found.vectors[:, 1].tolist() == lengths
    means = [clip.read().mean() for clip in clips]
    np.testing.assert_allclose(found.vectors[:, 0], means, atol=1e-6)


def test_cache_spares_every_second_encoding(clips: list[Clip], tmp_path: Path) -> None:
    cache, encoder = tmp_path / "cache", Counting()
    first = clip_features(encoder, clips[:3], cache=cache)
    again = clip_features(encoder, clips, cache=cache)
    assert encoder.clips == 5
    np.testing.assert_array_equal(first.vectors, again.vectors[:3])
    clip_features(Counting("b"), clips, cache=cache)  # another encoder shares nothing
    other = Counting("b")
    clip_features(other, clips, cache=cache)
    assert other.clips == 0


def test_cache_notices_a_changed_file_and_another_part(clips: list[Clip], tmp_path: Path) -> None:
    cache, encoder = tmp_path / "cache", Counting()
    clip_features(encoder, clips, cache=cache)
    status = clips[0].path.stat()
    os.utime(clips[0].path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    part = Clip(clips[1].path, start_s=0.2, end_s=0.7)
    clip_features(encoder, [*clips, part], cache=cache)
    assert encoder.clips == 7


def test_damaged_cache_is_computed_again(clips: list[Clip], tmp_path: Path) -> None:
    cache, encoder = tmp_path / "cache", Counting()
    clip_features(encoder, clips, cache=cache)
    (part,) = cache.rglob("*.npz")
    part.write_bytes(part.read_bytes()[:100])
    assert len(clip_features(encoder, clips, cache=cache).kept) == 5
    assert encoder.clips == 10


def test_bad_clips_are_skipped_and_named(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "short.wav", np.full(399, 0.1), RATE_HZ)
    bad = [Clip(tmp_path / name) for name in ("text.wav", "short.wav", "missing.wav")]
    found = clip_features(Counting(), [bad[0], clips[0], bad[1], clips[1], bad[2]])
    assert found.kept.tolist() == [1, 3]
    assert {s.path.name for s in found.skipped} == {"text.wav", "short.wav", "missing.wav"}
    with pytest.raises(InputError, match=r"none of the 3 clips can be used.*text.wav"):
        clip_features(Counting(), bad)


def test_features_that_are_not_finite_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    class Broken(Counting):
        def features(self, wave: Tensor, samples: Tensor) -> Tensor:
            return torch.full((len(wave), 2), torch.nan)

    with pytest.raises(InputError, match="not finite"):
        clip_features(Broken(), clips, cache=tmp_path / "cache")


def test_progress_ends_at_the_total(clips: list[Clip]) -> None:
    seen: list[tuple[int, int]] = []
    clip_features(
        Counting(), clips, batch=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    ("pooling", "vectors"),
    [
        ("cls", 1),
        ("mean", 1),
        ("statistics", 2),
        ("segments", 10),
        ("bands", 18),
        ("grid", 90),
        ("auto", 91),
    ],
)
def test_model_features_do_not_depend_on_the_batch(
    clips: list[Clip], pooling: ProbePooling, vectors: int
) -> None:
    encoder = ModelFeatures(model(0), pooling)
    alone = clip_features(encoder, clips, batch=1).vectors
    together = clip_features(encoder, clips, batch=5).vectors
    assert together.shape == (5, 16 * vectors)
    np.testing.assert_allclose(alone, together, atol=1e-4)


def test_what_auto_offers_is_what_each_pooling_gives(clips: list[Clip]) -> None:
    everything = ModelFeatures(model(0), "auto")
    vectors = clip_features(everything, clips).vectors
    for pooling, columns in everything.choices.items():
        alone = ModelFeatures(model(0), pooling)  # type: ignore[arg-type]
        np.testing.assert_array_equal(vectors[:, columns], clip_features(alone, clips).vectors)
    small = ModelFeatures(model(0), "auto", grid=False)
    assert set(everything.choices) - set(small.choices) == {"grid"}
    np.testing.assert_array_equal(clip_features(small, clips).vectors, vectors[:, : small.width])


def test_the_grid_equals_a_slow_loop(clips: list[Clip]) -> None:
    wave, samples = pad_waves([clip.read() for clip in clips])
    net = model(0)
    found = ModelFeatures(net, "grid").features(wave, samples)
    with torch.inference_mode():
        encoded = net(wave, samples)
    for row, tokens, time in zip(found, encoded.patches, encoded.times.tolist(), strict=True):
        real = tokens.unflatten(0, encoded.grid)[:time].double()
        parts = [real.mean((0, 1)), real.flatten(0, 1).std(0, correction=0)]
        parts += [*real.mean(0), *real.std(0, correction=0)]
        segments = []
        for k in range(SEGMENTS):
            inside = [
                t for t in range(time)
                if (t + 1) * SEGMENTS > k * time and t * SEGMENTS < (k + 1) * time
            ]  # fmt: skip
            segments.append(real[inside].mean((0, 1)))
            parts += list(real[inside].mean(0))
        parts = segments + parts
        torch.testing.assert_close(row, torch.cat(parts).float(), atol=1e-4, rtol=1e-4)


def test_fingerprint_tells_weights_pooling_and_settings_apart() -> None:
    prints = [
        ModelFeatures(model(0), "cls").fingerprint(),
        ModelFeatures(model(1), "cls").fingerprint(),
        ModelFeatures(model(0), "mean").fingerprint(),
        LogmelStatistics().fingerprint(),
        LogmelStatistics(segments=8).fingerprint(),
    ]
    assert len(set(prints)) == 5
    assert ModelFeatures(model(0), "cls").fingerprint() == prints[0]


@pytest.mark.parametrize("segments", [0, 3])
def test_logmel_statistics_equal_a_slow_loop(clips: list[Clip], segments: int) -> None:
    wave, samples = pad_waves([clip.read() for clip in clips])
    found = LogmelStatistics(segments).features(wave, samples)
    inputs = FrontEnd()(wave, samples)
    for row, logmel, frames in zip(found, inputs.logmel, inputs.frames.tolist(), strict=True):
        real = logmel[:frames].double()
        parts = [real.mean(0), real.std(0, correction=0)]
        for k in range(segments):
            inside = [
                t
                for t in range(frames)
                if t + 1 > k * frames / segments and t * segments < (k + 1) * frames
            ]
            parts.append(real[inside].mean(0))
        torch.testing.assert_close(row, torch.cat(parts).float(), atol=1e-4, rtol=1e-4)


def test_logmel_segments_of_a_clip_of_one_frame() -> None:
    wave = torch.randn(1, 400, generator=torch.Generator().manual_seed(0))
    found = LogmelStatistics(segments=8).features(wave, torch.tensor([400]))
    assert found.shape == (1, 10 * 128) and found.isfinite().all()
    assert (found[0, 128:256] == 0).all()  # one frame does not deviate
