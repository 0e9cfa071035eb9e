"""Scores that were published, as the papers print them: Tables 1 to 3 of SSLAM, and EAT's own.

All are single runs without intervals, in per cent. They stand beside our scores for orientation,
always marked as published; none of them was measured by this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sslam.benchmarks.degrees import BIN_NAMES

Protocol = Literal["fine-tune", "linear"]
SSLAM_PAPER = "SSLAM, ICLR 2025 (arXiv 2506.12222)"
EAT_README = "EAT, README of the released code (arXiv 2401.03497)"


@dataclass(frozen=True)
class Published:
    """One printed number: ``score`` in per cent on ``benchmark`` (``subset``: a bin of degrees)."""

    model: str
    benchmark: str
    protocol: Protocol
    score: float
    source: str
    subset: str = ""
    parameters: str = ""
    pretrained_on: str = ""
    note: str = ""


_STANDARD = ("as-2m", "as-20k", "esc-50", "ks2", "ks1")
_POLYPHONIC = (
    "spass-square",
    "spass-park",
    "spass-waterfront",
    "spass-street",
    "spass-market",
    "idmt-desed-fl",
    "urban-sed",
    "as-20k",
)
# Table 1: model, parameters, pre-training data, then the columns of _STANDARD; None: not printed.
_TABLE_1: tuple[tuple[str, str, str, tuple[float | None, ...]], ...] = (
    ("SS-AST", "89M", "AS+LS", (None, 31.0, 88.8, 98.0, 96.0)),
    ("MAE-AST", "86M", "AS+LS", (None, 30.6, 90.0, 97.9, 95.8)),
    ("MaskSpec", "86M", "AS", (47.1, 32.3, 89.6, 97.7, None)),
    ("MSM-MAE", "86M", "AS", (None, None, 85.6, 87.3, None)),
    ("data2vec", "94M", "AS", (None, 34.5, None, None, None)),
    ("Audio-MAE", "86M", "AS", (47.3, 37.1, 94.1, 98.3, 96.9)),
    ("BEATs iter3", "90M", "AS", (48.0, 38.3, 95.6, 98.3, 97.7)),
    ("BEATs iter3+", "90M", "AS", (48.6, 38.9, 98.1, 98.1, 98.1)),
    ("ASiT", "86M", "AS", (48.0, 38.6, 95.3, 98.9, 98.2)),
    ("A-JEPA", "86M", "AS", (48.6, 38.4, 96.3, 98.5, 97.7)),
    ("EAT", "88M", "AS", (48.6, 40.2, 95.9, 98.3, None)),
    ("SSLAM", "88M", "AS", (50.2, 40.9, 96.2, 98.1, 98.8)),
)
_NOTES = {"BEATs iter3+": "with extra supervision; greyed in the paper"}
# Table 2: protocol, model, then the columns of _POLYPHONIC.
_TABLE_2: tuple[tuple[Protocol, str, tuple[float, ...]], ...] = (
    ("linear", "MB-UA", (60.1, 59.7, 55.2, 63.7, 62.8, 75.8, 71.3, 13.9)),
    ("linear", "MB-PMA", (63.1, 63.5, 58.5, 66.5, 67.4, 78.4, 70.9, 16.1)),
    ("linear", "MB-UA-PMA", (62.7, 63.5, 58.2, 66.6, 66.6, 77.7, 70.9, 15.2)),
    ("linear", "SSLAM", (64.2, 64.2, 59.5, 67.4, 68.5, 77.8, 71.4, 16.9)),
    ("fine-tune", "MB-UA", (84.4, 78.4, 80.1, 81.4, 89.7, 94.4, 90.9, 40.4)),
    ("fine-tune", "MB-PMA", (85.1, 80.0, 82.0, 82.2, 90.8, 94.4, 90.9, 40.6)),
    ("fine-tune", "MB-UA-PMA", (85.0, 79.7, 82.0, 82.2, 90.5, 94.4, 90.9, 40.7)),
    ("fine-tune", "SSLAM", (85.6, 80.5, 82.6, 82.2, 90.2, 94.5, 90.9, 40.9)),
)
# Table 3: protocol, model, then the bins {2,3} to {14+}.
_TABLE_3: tuple[tuple[Protocol, str, tuple[float, ...]], ...] = (
    ("linear", "MB-UA", (61.5, 69.4, 45.8, 53.5, 58.3, 61.6, 66.7)),
    ("linear", "MB-PMA", (58.6, 70.0, 50.7, 57.2, 61.3, 64.8, 67.6)),
    ("linear", "MB-UA-PMA", (58.2, 70.0, 49.8, 56.9, 61.1, 64.7, 67.9)),
    ("linear", "SSLAM", (60.6, 70.6, 53.2, 58.7, 63.0, 66.1, 69.7)),
    ("fine-tune", "MB-UA", (87.3, 86.5, 69.5, 81.5, 82.5, 80.7, 78.1)),
    ("fine-tune", "MB-PMA", (87.3, 86.9, 71.4, 83.0, 83.4, 82.0, 79.3)),
    ("fine-tune", "MB-UA-PMA", (87.2, 86.4, 70.3, 82.7, 83.4, 81.8, 78.8)),
    ("fine-tune", "SSLAM", (87.7, 86.9, 71.9, 83.3, 83.8, 82.2, 79.4)),
)
# EAT's release: model, parameters, AS-20K, AS-2M.
_EAT: tuple[tuple[str, str, float, float], ...] = (
    ("EAT-base, 10 epochs", "88M", 40.3, 48.6),
    ("EAT-base, 30 epochs", "88M", 41.3, 48.9),
    ("EAT-large, 20 epochs", "309M", 42.0, 49.5),
)


def _table_1() -> Iterator[Published]:
    for model, parameters, data, scores in _TABLE_1:
        for name, score in zip(_STANDARD, scores, strict=True):
            if score is not None:
                source, note = f"{SSLAM_PAPER}, Table 1", _NOTES.get(model, "")
                yield Published(model, name, "fine-tune", score, source, "", parameters, data, note)


def _table_2() -> Iterator[Published]:
    source = f"{SSLAM_PAPER}, Table 2"
    for protocol, model, scores in _TABLE_2:
        for name, score in zip(_POLYPHONIC, scores, strict=True):
            # Table 1 holds the same fine-tuned SSLAM score on AS-20K.
            if (protocol, model, name) != ("fine-tune", "SSLAM", "as-20k"):
                yield Published(model, name, protocol, score, source, "", "88M", "AS")


def _table_3() -> Iterator[Published]:
    source, note = f"{SSLAM_PAPER}, Table 3", "the paper's subsets; ours are built otherwise"
    for protocol, model, scores in _TABLE_3:
        for subset, score in zip(BIN_NAMES, scores, strict=True):
            yield Published(model, "degrees", protocol, score, source, subset, "88M", "AS", note)


def _eat() -> Iterator[Published]:
    for model, parameters, as_20k, as_2m in _EAT:
        for name, score in (("as-20k", as_20k), ("as-2m", as_2m)):
            yield Published(model, name, "fine-tune", score, EAT_README, "", parameters, "AS")


PUBLISHED: tuple[Published, ...] = (*_table_1(), *_table_2(), *_table_3(), *_eat())


def published(
    benchmark: str, protocol: Protocol | None = None, subset: str | None = None
) -> tuple[Published, ...]:
    """Published scores on a benchmark, best first; of one protocol or subset where given."""
    rows = (
        row
        for row in PUBLISHED
        if row.benchmark == benchmark
        and protocol in (None, row.protocol)
        and subset in (None, row.subset)
    )
    return tuple(sorted(rows, key=lambda row: -row.score))
