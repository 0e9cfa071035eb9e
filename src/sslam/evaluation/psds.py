"""The polyphonic sound detection score, computed by sed_scores_eval (the extra ``sed``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Event
from sslam.errors import require_extra


@dataclass(frozen=True)
class PsdsSetting:
    """Tolerances and costs; the two of `SCENARIOS` are those of DCASE's task 4.

    Attributes:
        detection: share of a found event that true ones must fill.
        ground_truth: share of a true event that found ones must fill.
        cross_trigger: share of a false alarm that another class must fill to count against it.
        alpha_ct: cost of such cross triggers.
        alpha_st: cost of classes that differ in how well they are found.
        max_per_hour: false alarms an hour up to which the curve counts.
    """

    detection: float = 0.7
    ground_truth: float = 0.7
    cross_trigger: float | None = None
    alpha_ct: float = 0.0
    alpha_st: float = 1.0
    max_per_hour: float = 100.0


SCENARIOS = {
    "psds1": PsdsSetting(),
    "psds2": PsdsSetting(detection=0.1, ground_truth=0.1, cross_trigger=0.3, alpha_ct=0.5),
}
"""The first asks for exact times, the second for the right class."""


def psds(
    scores: Sequence[NDArray[np.floating]],
    references: Sequence[Sequence[Event]],
    durations_s: Sequence[float],
    classes: Sequence[str],
    step_s: float,
    setting: PsdsSetting = SCENARIOS["psds1"],
) -> float:
    """Intersection-based detection score over all thresholds.

    Args:
        scores: (T, C) for each clip.
        references: events of each clip.
        durations_s: of each clip.
        classes: columns of the scores.
        step_s: seconds of a row.
        setting: tolerances.

    Raises:
        MissingExtraError: the extra ``sed`` is not installed.
    """
    require_extra("sed_scores_eval", "sed")
    sed: Any = require_extra("sed_scores_eval.intersection_based", "sed")
    tables_of: Any = require_extra("sed_scores_eval.base_modules.scores", "sed")
    names = [f"clip{index:07d}" for index in range(len(scores))]
    tables, truth = {}, {}
    for name, rows, events in zip(names, scores, references, strict=True):
        times = np.arange(len(rows) + 1) * step_s
        tables[name] = tables_of.create_score_dataframe(
            rows, timestamps=times, event_classes=list(classes)
        )
        truth[name] = [(event.onset_s, event.offset_s, event.label) for event in events]
    value, *_ = sed.psds(
        scores=tables,
        ground_truth=truth,
        audio_durations=dict(zip(names, durations_s, strict=True)),
        dtc_threshold=setting.detection,
        gtc_threshold=setting.ground_truth,
        cttc_threshold=setting.cross_trigger,
        alpha_ct=setting.alpha_ct,
        alpha_st=setting.alpha_st,
        max_efpr=setting.max_per_hour,
    )
    return float(value)
