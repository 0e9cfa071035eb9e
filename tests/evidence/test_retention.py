"""What a mixture keeps of its sources, against loops over clips that are easily followed."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import retention
import torch


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (n, N, D) of clips, and of mixtures that keep most of both."""
    generator = torch.Generator().manual_seed(0)
    alone = torch.randn(30, 6, 8, generator=generator)
    noise = torch.randn(30, 6, 8, generator=generator)
    return alone, alone + alone.roll(1, dims=0) + 0.8 * noise


def test_recall_equals_a_loop(drawn) -> None:
    alone, mixed = drawn
    clips, heard = alone.mean(dim=1).numpy(), mixed.mean(dim=1).numpy()
    found = 0
    for number, mixture in enumerate(heard):
        near = [clip @ mixture / np.linalg.norm(clip) / np.linalg.norm(mixture) for clip in clips]
        best = np.argsort(near)[::-1][: retention.TOP]
        found += (number in best) + ((number - 1) % len(clips) in best)
    assert retention.recall(alone, mixed) == pytest.approx(found / (2 * len(clips)))
    assert found > 2 * len(clips) * retention.TOP / len(clips)  # more than by chance


def test_likeness_is_that_of_the_two_sources_alone(drawn) -> None:
    alone, mixed = drawn
    both = [(alone[k] + alone[k - 1]) / 2 for k in range(len(alone))]
    expected = np.corrcoef(mixed.flatten(), torch.stack(both).flatten())[0, 1]
    assert retention.likeness(alone, mixed) == pytest.approx(expected, abs=1e-6)
    assert retention.likeness(alone, torch.stack(both)) == pytest.approx(1, abs=1e-5)
    assert abs(retention.likeness(alone, mixed.roll(3, dims=0))) < 0.2


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    found = {
        "start": {1: {"recall": 50.0}},
        "mb-ua": {1: {"recall": 10.0}, 2: {"recall": 30.0}, 3: {"recall": 50.0}},
        "sslam": {2: {"recall": 31.0}, 3: {"recall": 52.0}},
    }
    lines = list(retention.table(found, "mb-ua"))
    assert [(row, seeds) for row, seeds, *_ in lines] == [("start", 1), ("mb-ua", 3), ("sslam", 2)]
    assert [line[-1] is None for line in lines] == [True, True, False]
    gain = lines[2][-1]
    assert gain is not None and gain.mean == 1.5 and gain.n == 2
    retention.write(lines, tmp_path / "retention.csv")
    rows = list(csv.DictReader((tmp_path / "retention.csv").open()))
    assert float(rows[2]["gain"]) == 1.5 and rows[0]["gain"] == ""
    assert math.isnan(float(rows[0]["half"]))
