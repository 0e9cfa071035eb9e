"""Thresholds from validation, and what a model of timed events scores."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tests.training.tuning import write_timed

from sslam.data.manifest import Event
from sslam.errors import MissingExtraError
from sslam.evaluation.detection import (
    Heard,
    choose_thresholds,
    decoded,
    event_figures,
    heard,
    score_events,
    segment_scores,
)
from sslam.evaluation.events import active_segments, intersection_counts, segment_counts
from sslam.evaluation.psds import SCENARIOS, psds
from sslam.inference.events import Decoding

CLASSES, STEP_S = ("a", "b"), 0.16


def scene(seed: int, ties: bool = False) -> Heard:
    """Two seconds and a bit of each class, and scores that are a little higher where it sounds."""
    rng = np.random.default_rng(seed)
    duration_s = float(rng.uniform(3.0, 6.0))
    events, scores = [], rng.uniform(0, 0.7, (int(np.ceil(duration_s / STEP_S)), 2))
    for column, label in enumerate(CLASSES):
        onset_s = float(rng.uniform(0, 2))
        events.append(Event(label, onset_s, onset_s + float(rng.uniform(0.1, 0.9))))
        sounds = slice(int(onset_s / STEP_S), int(events[-1].offset_s / STEP_S) + 1)
        scores[sounds, column] += 0.3
    if ties:
        scores = np.round(scores * 8) / 8
    return Heard(tuple(events), scores.astype(np.float32), duration_s)


@pytest.mark.parametrize("median", [1, 3])
def test_segment_scores_say_which_segments_any_threshold_gives(median: int) -> None:
    for seed in range(6):
        clip = scene(seed)
        found = segment_scores(clip, STEP_S, median)
        for threshold in (0.3, 0.6, 0.8):
            (timed,) = decoded([clip], CLASSES, STEP_S, Decoding((threshold,) * 2, median))
            expected = active_segments(timed.estimated, CLASSES, len(found))
            np.testing.assert_array_equal(found >= threshold, expected)


@pytest.mark.parametrize(("ties", "median"), [(False, 1), (True, 1), (False, 3)])
def test_chosen_thresholds_are_the_best_of_all(ties: bool, median: int) -> None:
    clips = [scene(seed, ties) for seed in range(8)]
    chosen = choose_thresholds(clips, CLASSES, STEP_S, median)

    def f1(thresholds: tuple[float, ...]) -> np.ndarray:
        timed = decoded(clips, CLASSES, STEP_S, Decoding(thresholds, median))
        return segment_counts(timed, CLASSES).per_class

    levels = np.unique(np.concatenate([segment_scores(c, STEP_S, median) for c in clips]))
    best = np.nanmax([f1((float(level),) * 2) for level in levels], axis=0)
    np.testing.assert_allclose(f1(chosen), best)
    assert f1(chosen).min() > f1((0.5, 0.5)).min()
    assert not np.isin(np.float32(chosen), levels).any()  # between two scores, not on one


def test_a_class_that_does_not_sound_keeps_the_usual_threshold() -> None:
    clip = scene(0)
    alone = Heard(clip.reference[:1], clip.scores, clip.duration_s)
    assert choose_thresholds([alone], CLASSES, STEP_S)[1] == 0.5
    assert choose_thresholds([], CLASSES, STEP_S) == (0.5, 0.5)


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
