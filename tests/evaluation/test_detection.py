"""What a model of timed events scores."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.scenes import CLASSES, STEP_S, scene
from tests.training.tuning import write_timed

from sslam.data.manifest import Event
from sslam.errors import MissingExtraError
from sslam.evaluation.detection import event_figures, score_events
from sslam.evaluation.events import intersection_counts
from sslam.evaluation.heard import Heard, decoded, heard
from sslam.evaluation.psds import SCENARIOS, psds
from sslam.evaluation.thresholds import choose_thresholds
from sslam.inference.events import Decoding


def perfect(clip: Heard) -> Heard:
    """The scores of a model that hears everything, in patches of 160 ms."""
    scores = np.full(clip.scores.shape, 0.1, dtype=np.float32)
    for patch, (column, label) in itertools.product(range(len(scores)), enumerate(CLASSES)):
        start_s, end_s = patch * STEP_S, (patch + 1) * STEP_S
        for event in clip.reference:
            if event.label == label and event.onset_s < end_s and event.offset_s > start_s:
                scores[patch, column] = 0.2
    return Heard(clip.reference, scores, clip.duration_s)


def test_scores_of_a_whole_set() -> None:
    clips = [perfect(scene(seed)) for seed in range(8)]
    assert event_figures(clips, CLASSES, STEP_S)["segment_f1"] > 0.9
    decoding = Decoding(choose_thresholds(clips, CLASSES, STEP_S))
    assert decoding.thresholds == pytest.approx((0.15, 0.15))
    found = score_events(clips, CLASSES, STEP_S, decoding)
    values = {metric.name: metric for metric in found.metrics}
    assert list(values) == [
        "segment_f1", "segment_f1_micro", "event_f1", "event_f1_micro",
        "intersection_f1", "intersection_f1_micro",
    ]  # fmt: skip
    assert all(m.low <= m.value <= m.high and m.n == 8 for m in found.metrics)
    assert values["event_f1"].value == 1 and values["segment_f1"].value > 0.9
    assert [each.label for each in found.per_class] == ["a", "b"]
    assert all(each.events == 8 and each.event_f1 == 1 for each in found.per_class)
    nothing = score_events(clips, CLASSES, STEP_S, Decoding((0.5, 0.5)))
    assert {metric.value for metric in nothing.metrics} == {0.0}
    assert bool(found.psds) != bool(found.missing)


def test_clips_are_heard_with_their_lengths_and_events(tmp_path: Path) -> None:
    clips = write_timed(tmp_path, 2)
    rows = [np.zeros((10, 2), dtype=np.float32) for _ in clips]
    for clip, each in zip(clips, heard(clips, rows), strict=True):
        assert each.reference == clip.events and each.duration_s == pytest.approx(1.6)


def test_psds_is_one_for_perfect_scores_or_names_its_extra() -> None:
    events = [(Event("a", 1.6, 3.2),), (Event("b", 0.8, 2.4), Event("a", 4.0, 4.8))]
    scores = [np.full((62, 2), 0.1) for _ in events]
    for rows, clip in zip(scores, events, strict=True):
        for event in clip:
            span = slice(round(event.onset_s / STEP_S), round(event.offset_s / STEP_S))
            rows[span, CLASSES.index(event.label)] = 0.9
    arguments = (scores, events, [62 * STEP_S] * 2, CLASSES, STEP_S)
    try:
        for setting in SCENARIOS.values():
            assert psds(*arguments, setting) == pytest.approx(1.0)
    except MissingExtraError as error:
        assert "sslam[sed]" in str(error)


def test_intersection_f1_is_that_of_sed_scores_eval() -> None:
    sed = pytest.importorskip("sed_scores_eval")
    table = pytest.importorskip("sed_scores_eval.base_modules.scores").create_score_dataframe
    clips = [scene(seed) for seed in range(8)]
    tables, truth = {}, {}
    for number, clip in enumerate(clips):
        times = np.minimum(np.arange(len(clip.scores) + 1) * STEP_S, clip.duration_s)
        tables[f"{number}"] = table(clip.scores, times, CLASSES)
        truth[f"{number}"] = [(e.onset_s, e.offset_s, e.label) for e in clip.reference]
    for threshold in (0.3, 0.55, 0.7):
        timed = decoded(clips, CLASSES, STEP_S, Decoding((threshold,) * 2))
        ours = intersection_counts(timed, CLASSES)
        # Theirs takes scores above the threshold, ours from it on: no score is at it here.
        theirs, *_ = sed.intersection_based.fscore(
            tables, truth, threshold, dtc_threshold=0.5, gtc_threshold=0.5
        )
        assert ours.per_class == pytest.approx([theirs[label] for label in CLASSES])
        assert ours.macro == pytest.approx(theirs["macro_average"])
        assert ours.micro == pytest.approx(theirs["micro_average"])
        assert 0 < ours.micro < 1
