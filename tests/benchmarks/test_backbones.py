from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from sslam.benchmarks.backbones import XaresFeatures, by_length, load_backbone
from sslam.errors import InputError


class Tones:
    """Gives the waveform itself in steps of 10 samples, at 8 kHz."""

    sampling_rate, output_dim, hop_size_in_ms = 8_000, 10, 1.25

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        return audio[:, : audio.shape[1] // 10 * 10].unflatten(1, (-1, 10))


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Three clips of noise, two of one length, with rubbish where the padding is."""
    wave = torch.randn(3, 24_000, generator=torch.Generator().manual_seed(0))
    return wave, torch.tensor([24_000, 16_000, 24_000])


def test_clips_of_one_length_go_together_and_padding_is_never_seen() -> None:
    seen: list[tuple[int, ...]] = []

    def encode(wave: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(wave.shape))
        return wave.mean(dim=1, keepdim=True)

    wave, samples = padded()
    found = by_length(encode, wave, samples)
    assert seen == [(1, 16_000), (2, 24_000)]
    expected = [wave[i, : int(samples[i])].mean() for i in range(3)]
    torch.testing.assert_close(found[:, 0], torch.stack(expected))


def test_an_encoder_at_another_rate_hears_resampled_sound() -> None:
    wave, samples = padded()
    found = XaresFeatures(Tones(), "tones").features(wave, samples)
    heard = soxr.resample(wave[1, :16_000].numpy(), 16_000, 8_000)
    expected = heard[: len(heard) // 10 * 10].reshape(-1, 10).mean(axis=0)
    np.testing.assert_allclose(found[1].numpy(), expected, atol=1e-6)


def test_an_object_in_another_form_is_refused() -> None:
    class Mute:
        sampling_rate = 16_000

    class Flat(Tones):
        def __call__(self, audio: torch.Tensor) -> torch.Tensor:
            return audio

    with pytest.raises(InputError, match="no integer output_dim"):
        XaresFeatures(Mute(), "mute")
    with pytest.raises(InputError, match=r"gives \(1, 8000\), not \(1, time, 10\)"):
        XaresFeatures(Flat(), "flat").features(padded()[0][:1, :16_000], torch.tensor([16_000]))
    with pytest.raises(InputError, match="no_such_module"):
        load_backbone("no_such_module:Encoder")


def save_wav2vec2(folder: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": (8, 8),
        "conv_stride": (20, 16),
        "conv_kernel": (40, 16),
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "vocab_size": 4,
    }
    torch.manual_seed(0)
    if kind == "wav2vec2":
        sizes["num_feat_extract_layers"] = 2
        model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes))
    else:
        model = transformers.Data2VecAudioModel(transformers.Data2VecAudioConfig(**sizes))
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["wav2vec2", "data2vec-audio"])
def test_models_of_raw_sound_give_a_vector_a_clip(tmp_path: Path, kind: str) -> None:
    save_wav2vec2(tmp_path, kind)
    encoder = load_backbone(str(tmp_path))
    wave, samples = padded()
    found = encoder.features(wave, samples)
    assert found.shape == (3, 16) and found.isfinite().all()
    alone = encoder.features(wave[1:2, :16_000], samples[1:2])
    torch.testing.assert_close(found[1:2], alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found[0], found[2])
    assert encoder.fingerprint() == load_backbone(str(tmp_path)).fingerprint()
    with pytest.raises(InputError, match="take --pooling mean"):
        load_backbone(str(tmp_path), "cls").features(wave, samples)


def test_an_audio_spectrogram_transformer_gives_both_poolings(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=96,
        num_mel_bins=32,
    )
    transformers.ASTModel(config).save_pretrained(tmp_path)
    extractor = transformers.ASTFeatureExtractor(max_length=96, num_mel_bins=32)
    extractor.save_pretrained(tmp_path)
    wave, samples = padded()
    mean, pooled = (
        load_backbone(str(tmp_path), how).features(wave, samples) for how in ("mean", "cls")
    )
    assert mean.shape == pooled.shape == (3, 16) and not torch.allclose(mean, pooled)


def test_a_model_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load_backbone(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)
