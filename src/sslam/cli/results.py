"""How verbs that score write what they found."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslam.evaluation.probe import ClassScore

_SIGNAL_STATUS = 128


def stopped_status(signal: int | None) -> int:
    """The exit status of a run that is not finished: 0, or 128 + n when signal n stopped it."""
    return 0 if signal is None else _SIGNAL_STATUS + signal


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null instead."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_per_class(path: Path, scores: Iterable[ClassScore]) -> None:
    """The average precision of each class as CSV; empty where no clip holds it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "average_precision", "positives"])
        for score in scores:
            value = "" if score.positives == 0 else f"{score.average_precision:.6f}"
            writer.writerow([score.label, value, score.positives])
