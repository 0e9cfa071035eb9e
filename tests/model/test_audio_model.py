"""AudioModel: a batch of unequal clips gives what each clip gives alone."""

from __future__ import annotations

import pytest
import torch

from sslam.errors import InputError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig

SMALL = EncoderConfig(width=32, depth=2, heads=2)


def model(**options: object) -> AudioModel:
    torch.manual_seed(0)
    return AudioModel(AudioModelConfig(encoder=SMALL, **options)).eval()


@torch.no_grad()
def test_unequal_clips_give_what_they_give_alone() -> None:
    net = model(labels=("dog", "cat"))
    samples = torch.tensor([16_000, 9_123, 400])
    wave = torch.randn(3, 16_000)
    batch = net(wave, samples)
    for i, count in enumerate(samples.tolist()):
        alone = net(wave[i : i + 1, :count])
        steps = int(alone.times[0])
        assert int(batch.times[i]) == steps
        for pooling in ("cls", "mean", "statistics"):
            torch.testing.assert_close(
                batch.clip(pooling)[i : i + 1], alone.clip(pooling), atol=1e-5, rtol=0
            )
        torch.testing.assert_close(
            batch.frames[i, :steps], alone.frames[0, :steps], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            net.logits(batch)[i : i + 1], net.logits(alone), atol=1e-5, rtol=0
        )


@torch.no_grad()
def test_padding_is_content_when_the_model_says_so() -> None:
    net = model(mask_padding=False)
    wave, samples = torch.randn(2, 16_000), torch.tensor([16_000, 8_000])
    assert net(wave, samples).times.tolist() == [7, 7]
    assert model()(wave, samples).times.tolist() == [7, 3]
    assert not torch.allclose(net(wave, samples).cls[1], model()(wave, samples).cls[1])


def test_no_classes_no_scores() -> None:
    net = model()
    with pytest.raises(InputError, match="no classes"):
        net.logits(net(torch.randn(1, 4000)))
