"""Recordings of any length: every sample in a window, every frame once, alone as together."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sslam.audio.io import RATE_HZ, read_audio
from sslam.audio.windows import sliding_windows
from sslam.errors import AudioError, InputError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig

STEP_S = 0.16


def model(**options: object) -> AudioModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = EncoderConfig(width=32, depth=2, heads=2)
        return AudioModel(AudioModelConfig(encoder=sizes, **options)).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.3, 0.3, round(seconds * RATE_HZ)).astype(np.float32)


def test_a_list_gives_what_each_gives_alone() -> None:
    net = model(labels=("dog", "cat"))
    waves = [noise(seconds, n) for n, seconds in enumerate((0.025, 3.1, 10.0, 0.4, 23.7, 10.2501))]
    for wave, together in zip(waves, net.embed(waves, patches=True), strict=True):
        alone = net.embed(wave, patches=True)
        for name in ("clip", "frames", "windows", "logits", "patches", "times_s"):
            one, other = getattr(together, name), getattr(alone, name)
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=0, err_msg=name)


def test_where_padding_is_content_there_is_as_much_as_in_training() -> None:
    net = model(mask_padding=False, window_s=4.0)
    waves = [noise(seconds, n) for n, seconds in enumerate((0.5, 4.0, 2.9))]
    for wave, together in zip(waves, net.embed(waves), strict=True):
        padded = net.front_end(torch.from_numpy(wave)[None], frames=400).logmel
        with torch.no_grad():
            expected = net.encoder(padded)
        np.testing.assert_allclose(together.clip, expected.cls[0], atol=1e-5)
        steps = len(together.frames)
        assert 0 <= steps * STEP_S - len(wave) / RATE_HZ < STEP_S
        patches = expected.patches[0].unflatten(0, (25, 8))
        np.testing.assert_allclose(together.frames, patches.mean(dim=1)[:steps], atol=1e-5)


def test_vectors_are_those_of_the_network() -> None:
    net, wave = model(labels=("dog", "cat")), noise(2.0)
    with torch.no_grad():
        features = net(torch.from_numpy(wave)[None])
    for pooling in ("cls", "mean", "statistics"):
        found = net.embed(wave, pooling=pooling, patches=True)
        np.testing.assert_allclose(found.clip, features.clip(pooling)[0], atol=1e-5)
        assert found.logits is not None and found.patches is not None
        np.testing.assert_allclose(found.logits, net.logits(features).detach(), atol=1e-5)
        np.testing.assert_allclose(found.frames, features.frames[0], atol=1e-5)
        grid = features.patches[0].unflatten(0, features.grid)
        np.testing.assert_allclose(found.patches, grid, atol=1e-5)
        np.testing.assert_allclose(found.patches.mean(axis=1), found.frames, atol=1e-5)


def test_the_clip_is_the_mean_over_windows_by_their_length() -> None:
    net, wave = model(), noise(2.5)
    found = net.embed(wave, window_s=1.0)
    alone = [net.embed(wave[start : start + RATE_HZ]).clip for start in (0, 16_000, 32_000)]
    np.testing.assert_allclose(found.windows, alone, atol=1e-5)
    np.testing.assert_allclose(found.clip, (alone[0] + alone[1] + alone[2] / 2) / 2.5, atol=1e-5)
    assert found.ends_s.tolist() == [1.0, 2.0, 2.5]


@pytest.mark.parametrize("seconds", [0.5, 3.0, 5.123])
@pytest.mark.parametrize(("window_s", "hop_s"), [(1.6, 1.6), (1.6, 0.8), (1.6, 0.48), (1.0, 0.7)])
def test_frames_follow_each_other_to_the_end(seconds: float, window_s: float, hop_s: float) -> None:
    found = model().embed(noise(seconds), window_s=window_s, hop_s=hop_s)
    assert len(found.times_s) == len(found.frames)
    assert found.times_s[0] == 0
    gaps = np.diff(found.times_s)
    assert (gaps > 0).all()
    assert seconds - found.times_s[-1] <= STEP_S + 0.025
    if round(window_s / STEP_S, 6).is_integer() and round(hop_s / STEP_S, 6).is_integer():
        np.testing.assert_allclose(gaps, STEP_S, atol=1e-9)
    else:  # where windows meet, the grid of frames starts anew
        assert gaps.max() < 2 * STEP_S


def test_frames_of_overlapping_windows_come_from_the_nearer_middle() -> None:
    """Each frame is that of the window whose middle is nearest to its own, ties to the later."""
    net, wave, hop_s, window_s = model(), noise(4.0), 0.8, 1.6
    found = net.embed(wave, window_s=window_s, hop_s=hop_s)
    windows = list(sliding_windows(wave, window_s, hop_s))
    borders = [(a.end_s + b.start_s) / 2 for a, b in itertools.pairwise(windows)]
    for time_s, frame in zip(found.times_s, found.frames, strict=True):
        end_s = min(time_s + STEP_S, 4.0)
        chosen = windows[sum((time_s + end_s) / 2 >= border - 1e-9 for border in borders)]
        inside = round((time_s - chosen.start_s) / STEP_S)
        np.testing.assert_allclose(frame, net.embed(chosen.wave).frames[inside], atol=1e-5)


def test_windows_one_by_one_are_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.stack([noise(4.0), noise(4.0, 1)], axis=1), RATE_HZ)
    net = model()
    whole = net.embed(path, window_s=1.0, hop_s=0.5)
    parts = list(net.embed_windows(path, window_s=1.0, hop_s=0.5))
    np.testing.assert_allclose(np.concatenate([p.frames for p in parts]), whole.frames, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([p.times_s for p in parts]), whole.times_s)
    assert [(p.start_s, p.end_s) for p in parts] == list(
        zip(whole.starts_s.tolist(), whole.ends_s.tolist(), strict=True)
    )
    np.testing.assert_allclose(net.embed(str(path)).clip, net.embed(read_audio(path)).clip)


def test_other_rates_and_kinds_of_samples() -> None:
    net = model()
    times_s = np.arange(48_000) / 48_000
    tone = 0.3 * np.sin(2 * np.pi * 700 * times_s)
    at_48 = net.embed(tone, rate_hz=48_000)
    at_16 = net.embed(torch.from_numpy(tone[::3]))
    assert len(at_48.frames) == len(at_16.frames) == 7
    cosine = at_48.clip @ at_16.clip / np.linalg.norm(at_48.clip) / np.linalg.norm(at_16.clip)
    assert cosine > 0.99


@pytest.mark.parametrize(
    ("audio", "match"),
    [
        (np.zeros((2, 16_000), np.float32), "average channels"),
        (np.zeros(16_000, np.int16), "divide by 32768"),
        (np.full(16_000, np.nan), "NaN"),
        (np.zeros(399, np.float32), "shorter than one frame"),
        (np.zeros(0, np.float32), "S > 0"),
    ],
)
def test_what_is_no_recording_is_refused(audio: np.ndarray, match: str) -> None:
    with pytest.raises(InputError, match=match):
        model().embed(audio)


def test_bad_files_and_settings_are_refused(tmp_path: Path) -> None:
    net = model()
    with pytest.raises(AudioError, match="no such file"):
        net.embed(tmp_path / "a.wav")
    with pytest.raises(InputError, match="is a folder"):
        net.embed(tmp_path)
    soundfile.write(tmp_path / "short.wav", np.zeros(300), RATE_HZ)
    with pytest.raises(AudioError, match="shorter than one frame") as caught:
        net.embed(tmp_path / "short.wav")
    assert caught.value.path == tmp_path / "short.wav"
    for options in ({"window_s": 0.01}, {"window_s": 200.0}, {"window_s": 1, "hop_s": 2}):
        with pytest.raises(InputError, match="window"):
            net.embed(noise(1.0), **options)
    with pytest.raises(InputError, match="pooling 'max'"):
        net.embed(noise(1.0), pooling="max")  # type: ignore[call-overload]
    net.encoder.cls.data.fill_(float("inf"))
    with pytest.raises(InputError, match="not finite"):
        net.embed(noise(1.0))


def test_the_longest_window_takes_the_whole_position_table() -> None:
    net = AudioModel(
        AudioModelConfig(
            encoder=EncoderConfig(width=16, depth=1, heads=1, max_time_patches=8), window_s=99.0
        )
    ).eval()
    found = net.embed(noise(3.0))
    assert found.starts_s.tolist() == [0.0, 1.28, 2.56]
    for extra in range(0, 400, 57):  # a remainder under a frame makes the window longer
        assert len(net.embed(noise(1.28 + extra / RATE_HZ)).windows) == 1


def test_tags_name_the_classes_over_time() -> None:
    net = model(labels=("dog", "cat", "rain"), window_s=1.0)
    assert net.classifier is not None
    net.classifier.head.weight.data.mul_(50)
    wave = noise(2.5)
    found = net.tag(wave)
    logits = net.embed(wave).logits
    assert logits is not None
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    np.testing.assert_allclose(found.clip_scores, scores.max(axis=0), atol=1e-5)
    assert [tag.score for tag in found.tags] == sorted(found.clip_scores.tolist(), reverse=True)
    assert {tag.label for tag in found.tags} == {"dog", "cat", "rain"}
    assert [(w.start_s, w.end_s) for w in found.windows] == [(0, 1), (1, 2), (2, 2.5)]
    best = found.windows[1].tags[0]
    assert best.label == net.config.labels[int(scores[1].argmax())]
    assert len(net.tag(wave, top_k=2).tags) == 2
    limit = float(np.sort(found.clip_scores)[1])
    assert len(net.tag(wave, threshold=limit).tags) == 2
    assert [t.tags for t in net.tag([wave, wave], top_k=1)] == [net.tag(wave, top_k=1).tags] * 2


def test_labels_that_exclude_each_other_sum_to_one() -> None:
    found = model(labels=("a", "b", "c"), single_label=True, window_s=1.0).tag(noise(1.5))
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, atol=1e-6)
    expected = (found.scores[0] + found.scores[1] / 2) / 1.5
    np.testing.assert_allclose(found.clip_scores, expected, atol=1e-6)


def test_tags_need_classes() -> None:
    with pytest.raises(InputError, match="no classes"):
        model().tag(noise(1.0))
    with pytest.raises(InputError, match="top_k is 0"):
        model(labels=("a",)).tag(noise(1.0), top_k=0)
