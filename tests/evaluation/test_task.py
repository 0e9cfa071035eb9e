"""Labels and splits: what is drawn is fair, what is wrong is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslam.data.manifest import Clip, Event
from sslam.errors import InputError
from sslam.evaluation.folds import assign_folds
from sslam.evaluation.task import make_task


def clips(count: int, classes: int = 3, groups: int | None = None) -> list[Clip]:
    return [
        Clip(
            Path(f"{i}.wav"),
            labels=(f"class{i % classes}",),
            group="" if groups is None else f"g{i // classes % groups}",
        )
        for i in range(count)
    ]


def with_splits(given: list[Clip], splits: str) -> list[Clip]:
    names = {"t": "train", "v": "valid", "e": "eval"}
    return [replace(c, split=names[s]) for c, s in zip(given, splits, strict=True)]


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_keep_groups_whole_and_classes_even(folds: int) -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(60, size=400)
    targets = rng.random((400, 6)) < [0.5, 0.3, 0.2, 0.1, 0.1, 0.05]
    fold = assign_folds(targets, groups, folds, seed=1)
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    share = np.array([targets[fold == f].sum(axis=0) for f in range(folds)]) / targets.sum(axis=0)
    assert abs(share - 1 / folds).max() < 0.25 / folds
    np.testing.assert_array_equal(fold, assign_folds(targets, groups, folds, seed=1))
    assert (fold != assign_folds(targets, groups, folds, seed=2)).any()


def test_single_labels_are_spread_exactly() -> None:
    targets = np.eye(10, dtype=bool)[np.arange(400) % 10]
    fold = assign_folds(targets, np.arange(400), 4, seed=0)
    assert all((targets[fold == f].sum(axis=0) == 10).all() for f in range(4))


def test_drawn_split_shares_no_group_and_tests_no_unknown_class() -> None:
    given = clips(120, classes=4, groups=12)
    given.append(Clip(Path("rare.wav"), labels=("rare",), group="alone"))
    for seed in range(5):
        task = make_task(given, seed=seed)
        assert set(task.train) | set(task.test) == set(range(121))
        assert not {given[i].group for i in task.train} & {given[i].group for i in task.test}
        assert 120 in task.train
        assert 15 <= len(task.test) <= 35
    same = make_task(given, seed=4)
    np.testing.assert_array_equal(task.test, same.test)


def test_pieces_of_one_recording_stay_together() -> None:
    given = [
        Clip(Path(f"{i // 4}.wav"), labels=("ab"[i % 2],), start_s=float(i)) for i in range(80)
    ]
    task = make_task(given)
    assert not {given[i].path for i in task.train} & {given[i].path for i in task.test}


def test_given_splits_are_used_under_their_other_names() -> None:
    task = make_task(with_splits(clips(9), "tttvvveee"))
    assert [task.train.tolist(), task.valid.tolist(), task.test.tolist()] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ]
    assert task.classes == ("class0", "class1", "class2") and not task.multilabel
    np.testing.assert_array_equal(task.targets, np.eye(3, dtype=bool)[[0, 1, 2] * 3])


def test_events_label_a_clip_that_has_no_labels() -> None:
    events = (Event("dog", 0, 1), Event("cat", 1, 2), Event("dog", 3, 4))
    given = [Clip(Path(f"{i}.wav"), events=events) for i in range(4)]
    task = make_task(given)
    assert task.multilabel and task.classes == ("cat", "dog")
    assert task.targets.all()


@pytest.mark.parametrize(
    "given, words",
    [
        ([Clip(Path("a.wav")), Clip(Path("b.wav"))], "none of the 2 clips has a label"),
        ([*clips(6), Clip(Path("bare.wav"))], "bare.wav has no label"),
        (clips(6, classes=1), "two classes or more"),
        (with_splits(clips(6), "tttttt"), "no clip is left for test"),
        (with_splits(clips(6), "eeeeee"), "no clip is left for train"),
        (with_splits(clips(6, classes=6), "ttttte"), "class 'class5' is in test but not in train"),
        (with_splits(clips(6, groups=1), "ttteee"), "group 'g0' is in both train and test"),
        (with_splits(clips(9, groups=1), "tttvvveee"), "group 'g0' is in both train and valid"),
        ([replace(c, split="tset") for c in clips(6)], "split 'tset' is unknown"),
        ([*with_splits(clips(6), "ttteee"), *clips(1)], "split '' is unknown"),
        (clips(6, groups=1), "6 clips in 1 group cannot be split"),
    ],
)
def test_bad_labels_and_splits_are_named_in_one_line(given: list[Clip], words: str) -> None:
    with pytest.raises(InputError) as error:
        make_task(given)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_kind_can_be_said() -> None:
    bare = [*clips(8), Clip(Path("bare.wav"))]
    assert not make_task(bare, kind="multi").targets[8].any()
    several = [*clips(8), Clip(Path("both.wav"), labels=("class0", "class1"))]
    assert make_task(several).multilabel
    with pytest.raises(InputError, match=r"both.wav has 2 labels"):
        make_task(several, kind="single")
