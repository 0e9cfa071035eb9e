from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.tuning import labelled, write_tones

from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.training.finetune.batches import Draws, LabelledBatch, LabelledBatches, clip_weights
from sslam.training.finetune.recipe import SamplingConfig

CROP = 4_000


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return write_tones(tmp_path_factory.mktemp("tones"), 7, seconds=0.5)


def batches(
    clips: list[Clip], start: int, count: int, crop: int = CROP
) -> list[tuple[LabelledBatch, ...]]:
    data = labelled(clips)
    draws = Draws(data.targets, SamplingConfig(), seed=5)
    reading = LabelledBatches(data, draws, crop, 3, 2, seed=5).iterate(start)
    try:
        return list(islice(reading, count))
    finally:
        reading.close()


def test_an_epoch_holds_every_clip_once_with_its_own_label(tones: list[Clip]) -> None:
    rows = [
        (clip, target.tolist())
        for step in batches(tones, 0, 7)
        for batch in step
        for clip, target in zip(batch.clips, batch.targets, strict=True)
    ]
    assert len(rows) == 42
    for epoch in range(6):
        assert {clip.path for clip, _ in rows[7 * epoch : 7 * epoch + 7]} == {c.path for c in tones}
    first, second = ([clip.path for clip, _ in rows[7 * e : 7 * e + 7]] for e in (0, 1))
    assert first != second
    assert all(target == labelled([clip]).targets[0].tolist() for clip, target in rows)


def test_a_step_is_the_same_from_wherever_reading_starts(tones: list[Clip]) -> None:
    late, early = batches(tones, 3, 1)[0], batches(tones, 0, 4)[3]
    for one, other in zip(late, early, strict=True):
        assert torch.equal(one.wave, other.wave) and one.starts_s == other.starts_s


def test_a_crop_is_the_part_of_the_clip_that_starts_where_it_says(tones: list[Clip]) -> None:
    starts = set()
    for batch in batches(tones, 0, 1)[0]:
        for row, clip, start_s in zip(batch.wave, batch.clips, batch.starts_s, strict=True):
            start = round(start_s * 16_000)
            starts.add(start)
            expected = torch.from_numpy(clip.read()[start : start + CROP])
            torch.testing.assert_close(row, expected)
    assert len(starts) == 6


def test_short_clips_are_padded_with_silence(tones: list[Clip]) -> None:
    for batch in batches(tones, 0, 1, crop=10_000)[0]:
        assert batch.wave.shape == (3, 10_000) and batch.samples.tolist() == [8_000] * 3
        assert not batch.wave[:, 8_000:].any() and batch.wave[:, :8_000].any(dim=1).all()


def test_an_unreadable_clip_is_replaced_and_named(tones: list[Clip], tmp_path: Path) -> None:
    lost = replace(tones[0], path=tmp_path / "lost.wav")
    found = batches([lost, *tones[1:]], 0, 2)
    skipped = [s.path for step in found for batch in step for s in batch.skipped]
    assert lost.path in skipped
    assert all(clip.path != lost.path for step in found for batch in step for clip in batch.clips)
    again = batches([lost, *tones[1:]], 0, 2)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one[0].wave, other[0].wave) and torch.equal(one[1].wave, other[1].wave)
    with pytest.raises(InputError, match=r"100 clips in a row cannot be read.*lost\.wav"):
        batches([lost, lost, lost], 0, 1)


def test_weights_are_the_sum_over_labels_of_1000_by_count() -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]], dtype=bool)
    expected = [
        1000 / 3.01,
        1000 / 3.01 + 1000 / 1.01,
        1000 / 3.01 + 1000 / 1.01,
        0.0,
    ]
    assert clip_weights(targets) == pytest.approx(expected)


def test_balanced_draws_favour_rare_classes() -> None:
    targets = np.zeros((100, 2), dtype=bool)
    targets[:95, 0], targets[95:, 1] = True, True
    draws = Draws(targets, SamplingConfig(kind="balanced", draws=2_000), seed=0)
    taken = np.concatenate([draws.epoch(epoch) for epoch in range(2)])
    assert len(taken) == 4_000 and abs((taken >= 95).mean() - 0.5) < 0.05
    assert not np.array_equal(draws.epoch(0), draws.epoch(1))


def test_draws_without_replacement_are_distinct_and_bounded() -> None:
    targets = np.eye(4, dtype=bool)
    config = SamplingConfig(kind="balanced", draws=3, replacement=False)
    for epoch in range(5):
        assert len(set(Draws(targets, config, seed=1).epoch(epoch).tolist())) == 3
    more = Draws(targets, config.model_copy(update={"draws": 9}), seed=1)
    assert more.count == 4 and sorted(more.epoch(0).tolist()) == [0, 1, 2, 3]
