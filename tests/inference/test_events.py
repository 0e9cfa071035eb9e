"""From scores over time to events."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import median_filter

from sslam.errors import InputError
from sslam.inference.events import (
    Decoding,
    decode_events,
    decoding_of,
    find_runs,
    smoothed,
    thresholds_of,
)
from sslam.model.network import AudioModelConfig

CLASSES = ("a", "b")
HALF = (0.5, 0.5)


def test_decoding_gives_the_runs_above_the_threshold() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.6], [0.4, 0.7], [0.8, 0.2]])
    found = decode_events(scores, CLASSES, 0.16, 0.6)
    expected = [("a", 0.0, 0.32), ("a", 0.48, 0.6), ("b", 0.16, 0.48)]
    assert [e.label for e in found] == [label for label, _, _ in expected]
    for event, (_, onset_s, offset_s) in zip(found, expected, strict=True):
        assert (event.onset_s, event.offset_s) == pytest.approx((onset_s, offset_s))
    assert find_runs(scores, Decoding(HALF)).score.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_each_class_has_its_own_threshold() -> None:
    scores = np.full((4, 2), 0.3)
    (event,) = decode_events(scores, CLASSES, 1.0, 4.0, Decoding((0.5, 0.3)))
    assert (event.label, event.onset_s, event.offset_s) == ("b", 0.0, 4.0)


def test_a_run_that_begins_after_the_end_is_none() -> None:
    scores = np.array([[0.0], [0.0], [1.0]])
    assert decode_events(scores, ("a",), 0.16, 0.32) == ()


def test_smoothing_removes_lone_rows_and_closes_gaps() -> None:
    column = np.array([0, 1, 0, 0, 1, 1, 0, 1, 1, 0])[:, None].astype(float)
    (event,) = decode_events(column, ("a",), 1.0, 10.0, Decoding((0.5,), median=3))
    assert (event.onset_s, event.offset_s) == (4.0, 9.0)


@pytest.mark.parametrize("median", [1, 3, 7])
def test_smoothing_scores_is_smoothing_the_decisions(median: int) -> None:
    scores = np.random.default_rng(0).random((40, 3))
    for threshold in (0.2, 0.5, float(scores[7, 1])):
        decisions = (scores >= threshold).astype(np.uint8)
        expected = median_filter(decisions, size=(median, 1)).astype(bool)
        np.testing.assert_array_equal(smoothed(scores, median) >= threshold, expected)


def test_a_model_says_how_its_scores_become_events() -> None:
    plain = AudioModelConfig(labels=CLASSES)
    with pytest.raises(InputError, match="gives no timed events; fine-tune one"):
        decoding_of(plain)
    timed = plain.model_copy(update={"training": {"target": "frames"}})
    assert decoding_of(timed) == Decoding(HALF)
    kept = Decoding((0.25, 0.75), 5)
    facts = {"target": "frames", "events": kept.as_json(CLASSES)}
    again = AudioModelConfig.model_validate_json(
        plain.model_copy(update={"training": facts}).model_dump_json()
    )
    assert decoding_of(again) == kept


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="median filter is 2 long"):
        Decoding(HALF, 2)
    with pytest.raises(InputError, match="do not fit 2 classes"):
        decode_events(np.zeros((3, 3)), CLASSES, 1.0, 3.0)
    with pytest.raises(InputError, match="threshold of 'c': the classes are a, b"):
        thresholds_of({"c": 0.1}, CLASSES)
