"""Each augmentation against a plain loop over clips, and its distribution against the recipe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sslam.errors import InputError
from sslam.features.augment import (
    MixupConfig,
    NoiseRollConfig,
    RollGainConfig,
    SpecAugmentConfig,
    mixup,
    noise_roll,
    roll_gain,
    spec_augment,
)

torch.set_num_threads(1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int) -> Tensor:
    return 1 + torch.rand(*shape, generator=rng(9))


def is_circular_shift(result: Tensor, original: Tensor) -> bool:
    return any(torch.allclose(result, original.roll(k, 0)) for k in range(len(original)))


@pytest.mark.parametrize(
    "augment",
    [
        lambda x, g: roll_gain(x[..., 0], g),
        lambda x, g: mixup(x, torch.eye(len(x)), g).logmel,
        spec_augment,
        noise_roll,
    ],
)
def test_the_generator_decides_everything(
    augment: Callable[[Tensor, torch.Generator], Tensor],
) -> None:
    x = uniform(3, 50, 20)
    kept = x.clone()
    first = augment(x, rng(1))
    assert torch.equal(first, augment(x, rng(1)))
    assert any(not torch.equal(first, augment(x, rng(seed))) for seed in range(2, 6))
    assert torch.equal(x, kept)


def test_roll_gain_turns_each_clip_and_scales_it() -> None:
    wave = uniform(40, 23)
    out = roll_gain(wave, rng())
    gain = out.sum(1) / wave.sum(1)
    for result, original, factor in zip(out, wave, gain, strict=True):
        assert is_circular_shift(result / factor, original)
    assert ((gain > 0.5) & (gain < 1.5)).all() and len(gain.unique()) == len(gain)


def test_roll_gain_leaves_the_padding_in_place() -> None:
    wave = uniform(20, 30)
    samples = torch.arange(11, 31)
    out = roll_gain(wave, rng(), samples=samples)
    for result, original, size in zip(out, wave, samples.tolist(), strict=True):
        factor = result[:size].sum() / original[:size].sum()
        assert is_circular_shift(result[:size] / factor, original[:size])
        torch.testing.assert_close(result[size:], original[size:] * factor)


def test_gain_is_beta_distributed_and_every_shift_occurs() -> None:
    ramp = torch.arange(8.0).expand(4_000, 8)
    out = roll_gain(ramp, rng(), RollGainConfig(concentration=10.0, floor=0.5))
    gain = out.sum(1) / 28
    assert gain.mean().item() == pytest.approx(1.0, abs=0.01)
    assert gain.var().item() == pytest.approx(1 / (4 * 21), rel=0.1)  # of Beta(a, a): 1/(4(2a+1))
    shifts = out.argmin(1).bincount(minlength=8)
    assert (shifts > 400).all()


@pytest.mark.parametrize("count", [1, 4, 5])
def test_mixup_mixes_with_the_flipped_batch_and_labels_alike(count: int) -> None:
    x, labels = uniform(count, 6, 3), torch.eye(count, dtype=torch.int64)
    out = mixup(x, labels, rng(), MixupConfig(probability=1.0))
    for i in range(count):
        partner = count - 1 - i
        share = out.labels[i, i].item() if partner != i else 1.0
        torch.testing.assert_close(out.logmel[i], share * x[i] + (1 - share) * x[partner])
        if partner != i:
            assert out.labels[i, partner].item() == pytest.approx(1 - share)
    torch.testing.assert_close(out.labels.sum(1), torch.ones(count))


def test_mixup_happens_with_its_probability_and_lambda_is_beta() -> None:
    x, labels = uniform(2, 1, 1), torch.eye(2)
    config = MixupConfig(alpha=0.8, probability=0.9)
    generator = rng()
    shares = torch.stack([mixup(x, labels, generator, config).labels[0, 0] for _ in range(3_000)])
    mixed = shares[shares != 1]
    assert len(mixed) / len(shares) == pytest.approx(0.9, abs=0.02)
    assert mixed.mean().item() == pytest.approx(0.5, abs=0.03)
    assert mixed.var().item() == pytest.approx(1 / (4 * 2.6), rel=0.1)
    untouched = mixup(x, labels, rng(), MixupConfig(probability=0.0))
    assert torch.equal(untouched.logmel, x) and torch.equal(untouched.labels, labels)


def test_mixup_refuses_labels_of_another_batch() -> None:
    with pytest.raises(InputError, match="3 rows of labels for 2 clips"):
        mixup(uniform(2, 4, 4), torch.eye(3), rng())


@pytest.mark.parametrize(("frames", "bins", "ratio"), [(1024, 128, 0.2), (33, 7, 0.4), (10, 10, 1)])
def test_spec_augment_hides_one_band_and_one_stretch_of_each_clip(
    frames: int, bins: int, ratio: float
) -> None:
    x = uniform(60, frames, bins)
    out = spec_augment(x, rng(), SpecAugmentConfig(mel_ratio=ratio, time_ratio=ratio))
    widths = []
    for result, original in zip(out, x, strict=True):
        hidden = result == 0
        assert torch.equal(result[~hidden], original[~hidden])
        in_time, in_band = hidden.all(1), hidden.all(0)
        if in_time.all() or in_band.all():
            continue
        assert torch.equal(hidden, in_time[:, None] | in_band[None, :])
        for stretch, size in ((in_time, frames), (in_band, bins)):
            changes = stretch.int().diff().abs().sum().item()
            assert changes + int(stretch[0]) + int(stretch[-1]) in (0, 2)  # one piece at most
            assert stretch.sum() <= ratio * size
        widths.append((in_time.sum().item(), in_band.sum().item()))
    assert len(set(widths)) > 5


def plain_spec_augment(
    x: Tensor, generator: torch.Generator, mel_ratio: float, time_ratio: float
) -> Tensor:
    """Cell by cell, as the definition reads: a width, then a place where it fits."""
    count, frames, bins = x.shape
    draws = [torch.rand(2, count, 1, generator=generator)[..., 0].tolist() for _ in range(2)]
    out = x.clone()
    for clip in range(count):
        for axis, (widths, places), ratio in ((1, draws[0], mel_ratio), (0, draws[1], time_ratio)):
            size = bins if axis else frames
            width = int(widths[clip] * ratio * size)
            first = int(places[clip] * (size - width + 1))
            for at in range(first, first + width):
                if axis:
                    out[clip, :, at] = 0
                else:
                    out[clip, at, :] = 0
    return out


@pytest.mark.parametrize(("mel_ratio", "time_ratio"), [(0.2, 0.2), (0.5, 0.0), (1.0, 0.7)])
def test_spec_augment_is_the_plain_loop(mel_ratio: float, time_ratio: float) -> None:
    x = uniform(40, 31, 17)
    out = spec_augment(x, rng(3), SpecAugmentConfig(mel_ratio=mel_ratio, time_ratio=time_ratio))
    assert torch.equal(out, plain_spec_augment(x, rng(3), mel_ratio, time_ratio))
    assert not torch.equal(out, x)


def test_spec_augment_reaches_its_widest_masks_and_every_place() -> None:
    out = spec_augment(torch.ones(3_000, 50, 40), rng(), SpecAugmentConfig())
    hidden = out == 0
    in_time, in_band = hidden.all(2), hidden.all(1)
    assert in_time.sum(1).max() == 9 and in_band.sum(1).max() == 7  # width < ratio * size
    assert in_time.any(0).all() and in_band.any(0).all()
    assert in_time.sum(1).float().mean().item() == pytest.approx(4.5, abs=0.2)


def test_noise_roll_adds_bounded_noise_and_turns_time() -> None:
    x = 10 * uniform(200, 30, 2)
    out = noise_roll(x, rng(), NoiseRollConfig(noise=0.1, roll_frames=10))
    shifts, strengths = set(), []
    for result, original in zip(out, x, strict=True):
        distances = [(result - original.roll(k, 0)).abs().max().item() for k in range(-10, 10)]
        shift = min(range(20), key=distances.__getitem__) - 10
        added = result - original.roll(shift, 0)
        assert added.min() > -1e-5 and added.max() < 0.1
        shifts.add(shift)
        strengths.append(added.max().item())
    assert shifts == set(range(-10, 10))
    assert min(strengths) < 0.01 and max(strengths) > 0.09


def test_noise_roll_can_be_nothing() -> None:
    x = uniform(2, 5, 3)
    assert torch.equal(noise_roll(x, rng(), NoiseRollConfig(noise=0.0, roll_frames=0)), x)
