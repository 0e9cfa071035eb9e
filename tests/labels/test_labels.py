from __future__ import annotations

import pytest

from sslam.errors import InputError
from sslam.labels import SPASS_SCENES, audioset_labels, spass_labels


def test_audioset_has_all_classes_in_order_despite_the_missing_last_newline() -> None:
    labels = audioset_labels()
    assert [label.index for label in labels] == list(range(527))
    assert (labels[0].mid, labels[0].name) == ("/m/09x0r", "Speech")
    assert (labels[526].mid, labels[526].name) == ("/m/07hvw1", "Field recording")


def test_audioset_names_with_commas_are_whole_and_nothing_occurs_twice() -> None:
    labels = audioset_labels()
    assert labels[1].name == "Male speech, man speaking"
    assert len({label.name for label in labels}) == len({label.mid for label in labels}) == 527


@pytest.mark.parametrize(
    ("scene", "count"),
    [("market", 22), ("park", 23), ("square", 27), ("street", 27), ("waterfront", 29)],
)
def test_spass_scenes_have_their_classes(scene: str, count: int) -> None:
    assert len(set(spass_labels(scene))) == len(spass_labels(scene)) == count


def test_spass_scenes_together_have_33_classes() -> None:
    assert len({name for scene in SPASS_SCENES for name in spass_labels(scene)}) == 33


def test_unknown_scene_is_refused_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"'beach'.*square.*market"):
        spass_labels("beach")
