"""A batch gives what single clips give, and padding is the reference's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sslam.errors import InputError
from sslam.features.front_end import FRAME_MULTIPLE, FrontEnd, FrontEndConfig
from sslam.features.logmel import LogMel, n_frames

torch.set_num_threads(1)


def clips(*lengths: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(length, generator=rng) + 0.02 for length in lengths]


def padded(waves: list[torch.Tensor], fill: float) -> tuple[torch.Tensor, torch.Tensor]:
    samples = torch.tensor([len(wave) for wave in waves])
    batch = torch.full((len(waves), int(samples.max()) + 77), fill)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = wave
    return batch, samples


@pytest.mark.parametrize("fill", [0.0, 5.0, float("nan")])
@pytest.mark.parametrize("lengths", [(400, 559, 560), (16_000, 4_801, 33_333), (8_000,)])
def test_a_clip_in_a_padded_batch_gives_its_frames_alone(
    lengths: tuple[int, ...], fill: float
) -> None:
    front_end = FrontEnd()
    waves = clips(*lengths)
    batch = front_end(*padded(waves, fill))
    for row, wave, frames in zip(batch.logmel, waves, batch.frames.tolist(), strict=True):
        alone = front_end(wave[None])
        assert frames == n_frames(len(wave)) == alone.frames.item()
        torch.testing.assert_close(row[:frames], alone.logmel[0, :frames], rtol=0, atol=1e-6)


def test_frames_past_the_clip_are_zero_before_normalising() -> None:
    config = FrontEndConfig(mean=-5.0, std=2.0)
    batch = FrontEnd(config)(*padded(clips(4_000, 9_000), 0.0))
    assert batch.logmel.shape[1] % FRAME_MULTIPLE == 0
    for row, frames in zip(batch.logmel, batch.frames.tolist(), strict=True):
        assert (row[frames:] == 5.0 / 4.0).all()
        assert not (row[:frames] == 5.0 / 4.0).any()


def test_real_frames_are_the_normalised_log_mel_of_the_centred_clip() -> None:
    (wave,) = clips(7_777)
    config = FrontEndConfig(mean=-6.627, std=5.359)
    out = FrontEnd(config)(wave[None])
    expected = (LogMel()((wave - wave.mean())[None]) + 6.627) / (2 * 5.359)
    torch.testing.assert_close(out.logmel[:, : out.frames[0]], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 16, 33, 1024])
def test_cropping_and_padding_to_a_number_of_frames(frames: int) -> None:
    front_end = FrontEnd()
    batch, samples = padded(clips(16_000, 3_000), 0.0)
    free, fixed = front_end(batch, samples), front_end(batch, samples, frames)
    assert fixed.logmel.shape == (2, frames, 128)
    assert fixed.frames.tolist() == free.frames.clamp(max=frames).tolist()
    shared = min(frames, free.logmel.shape[1])
    torch.testing.assert_close(fixed.logmel[:, :shared], free.logmel[:, :shared], rtol=0, atol=1e-6)


def test_a_short_clip_equals_the_reference_padding_included() -> None:
    with np.load(Path(__file__).parents[1] / "data" / "fbank_golden.npz") as golden:
        wave, expected = golden["short/wav"], torch.from_numpy(golden["short/norm1024"])
    out = FrontEnd()(torch.from_numpy(wave)[None], frames=1024)
    assert out.frames.tolist() == [28]
    torch.testing.assert_close(out.logmel[0], expected, rtol=0, atol=1e-4)


def test_mel_settings_are_honoured() -> None:
    (wave,) = clips(16_000)
    config = FrontEndConfig(n_mels=40, low_hz=100.0, high_hz=4_000.0)
    out = FrontEnd(config)(wave[None])
    bands = LogMel(40, 100.0, 4_000.0)((wave - wave.mean())[None])
    torch.testing.assert_close(
        out.logmel[:, : out.frames[0]],
        (bands - config.mean) / (2 * config.std),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("frames", [None, 16, 1024])
def test_what_accelerators_and_gradients_take_is_the_same(frames: int | None) -> None:
    batch, samples = padded(clips(50_001, 3_000, 16_000), 0.0)
    front_end = FrontEnd()
    in_place = front_end(batch, samples, frames)
    together = front_end(batch.requires_grad_(), samples, frames)
    assert together.logmel.requires_grad and not in_place.logmel.requires_grad
    assert together.frames.tolist() == in_place.frames.tolist()
    torch.testing.assert_close(together.logmel, in_place.logmel, rtol=0, atol=1e-6)


def test_a_clip_shorter_than_a_frame_is_named_with_the_minimum() -> None:
    with pytest.raises(InputError, match=r"399 samples.*at least 400"):
        FrontEnd()(torch.zeros(2, 1_000), torch.tensor([1_000, 399]))


@pytest.mark.parametrize(
    ("wave", "samples", "frames"),
    [
        (torch.zeros(1_000), None, None),
        (torch.zeros(0, 1_000), None, None),
        (torch.zeros(2, 1_000), torch.tensor([1_000]), None),
        (torch.zeros(2, 1_000), torch.tensor([1_000, 1_001]), None),
        (torch.zeros(2, 1_000), torch.tensor([1_000.0, 500.0]), None),
        (torch.zeros(2, 1_000, dtype=torch.float64), None, None),
        (torch.zeros(2, 1_000), None, 0),
    ],
)
def test_unusable_batches_are_refused(
    wave: torch.Tensor, samples: torch.Tensor | None, frames: int | None
) -> None:
    with pytest.raises(InputError):
        FrontEnd()(wave, samples, frames)


@pytest.mark.parametrize("bad", [{"std": 0.0}, {"n_mel": 128}, {"high_hz": 9_000.0}])
def test_unknown_keys_and_impossible_values_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FrontEndConfig(**bad)


def test_nothing_of_it_is_saved_with_the_weights() -> None:
    assert not FrontEnd().state_dict()
