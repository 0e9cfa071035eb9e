from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslam.benchmarks.details import add_details, class_scores, confusions, worst_classes
from sslam.benchmarks.registry import BENCHMARKS
from sslam.benchmarks.suite import Details, Predictions
from sslam.data.manifest import Clip
from sslam.evaluation.report import Report

NAMES = ("cat", "dog", "fox", "owl")


def predictions(targets: np.ndarray, scores: np.ndarray) -> Predictions:
    clips = tuple(Clip(Path(f"{row}.wav")) for row in range(len(targets)))
    return Predictions(clips, NAMES, targets.astype(bool), scores.astype(float))


@pytest.fixture
def single() -> Predictions:
    """Two clips a class; one cat is called dog, both foxes are called cat, no owl is tested."""
    truth, called = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0, 0]
    return predictions(np.eye(4)[truth], np.eye(4)[called])


def test_single_label_classes_and_confusions(single: Predictions) -> None:
    values = class_scores(single, True)
    np.testing.assert_array_equal(values, [0.5, 1.0, 0.0, np.nan])
    worst = worst_classes(values)
    assert [NAMES[row] for row in worst] == ["fox", "cat", "dog"]
    found = confusions(single, True, worst)
    np.testing.assert_array_equal(found.share, [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0]])


def test_several_labels_count_what_sounds_where_a_class_is_ranked_wrongly() -> None:
    targets = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]])
    scores = np.array([[0.1, 0, 0, 0], [0.9, 1, 0, 0], [0.8, 1, 1, 0], [0.0, 0, 1, 0]])
    made = predictions(targets, scores)
    (cat,) = confusions(made, False, np.array([0])).share
    # Two clips hold a cat; of the two ranked first, one holds dog and fox instead.
    np.testing.assert_array_equal(cat, [0, 0.5, 0.5, 0])
    assert class_scores(made, False)[1] == 1.0 and class_scores(made, False)[0] < 1.0


def test_the_page_names_the_worst_classes_and_their_confusions(single: Predictions) -> None:
    page = Report("t")
    add_details(page, [Details("tiny", BENCHMARKS["esc-50"], single)])
    html = page.html()
    assert "esc-50, tiny: a closer look" in html
    bars, cells = html.split("What clips of the worst classes are called</title>")
    places = [bars.index(name) for name in (">fox<", ">cat<", ">dog<")]
    assert places == sorted(places)
    # Every fox is called a cat, every second cat a dog, and every dog a dog.
    assert re.findall(r'middle" fill="#\w+">(\d+)<', cells) == ["100", "50", "50", "100"]
    assert html.index("<td>fox</td><td>cat</td><td>1.000</td>") < html.index(
        "<td>cat</td><td>dog</td><td>0.500</td>"
    )


def test_degrees_are_charted_where_two_bins_are_filled() -> None:
    rng = np.random.default_rng(0)
    targets = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
    made = predictions(targets, rng.random((4, 4)))
    page = Report("t")
    add_details(page, [Details("tiny", BENCHMARKS["urban-sed"], made)])
    assert "mAP by degree of polyphony" in page.html() and "{4,5} (2)" in page.html()
    few = replace(made, targets=targets[:2].astype(bool), scores=made.scores[:2])
    page = Report("t")
    add_details(page, [Details("tiny", BENCHMARKS["urban-sed"], few)])
    assert "mAP by degree" not in page.html()
