"""Class lists of AudioSet and SPASS, in their published order, shipped with the package.

The order is a contract: the classifier of a published checkpoint has its outputs in it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sslam.errors import InputError

SPASS_SCENES = ("square", "park", "waterfront", "street", "market")


@dataclass(frozen=True)
class AudioSetLabel:
    """One class of AudioSet: output ``index``, machine id and display name."""

    index: int
    mid: str
    name: str


@cache
def audioset_labels() -> tuple[AudioSetLabel, ...]:
    """AudioSet's 527 classes (CC BY 4.0), index order.

    >>> audioset_labels()[0]
    AudioSetLabel(index=0, mid='/m/09x0r', name='Speech')
    """
    return tuple(AudioSetLabel(int(i), mid, name) for i, mid, name in _rows("audioset.csv"))


@cache
def spass_labels(scene: str) -> tuple[str, ...]:
    """The classes of one SPASS scene, in the order of the paper's manifests.

    Raises:
        InputError: no such scene.

    >>> len(spass_labels("market"))
    22
    """
    if scene not in SPASS_SCENES:
        raise InputError(f"no SPASS scene {scene!r}; choose from {', '.join(SPASS_SCENES)}")
    return tuple(key for _, key, _ in _rows(f"spass_{scene}.csv"))


def _rows(file_name: str) -> list[list[str]]:
    text = files(__package__).joinpath(file_name).read_text(encoding="utf-8")
    return [row for row in csv.reader(text.splitlines()) if row]
