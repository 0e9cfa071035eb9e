"""The evidence scripts as modules, and a collection of recordings like the one they read."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2] / "evidence"))

RATE_HZ = 16_000
FIELDS = (
    "file", "label", "category", "source", "licence", "licence_tier", "attribution", "note",
    "orig_path", "split_group", "fold", "flags",
)  # fmt: skip
LABELS = ("bell", "blade", "dog", "whoosh", "frog", "rain")
CLIPS = 20  # of a label; a quarter of them, in fold 4, is held out
Row = dict[str, str]


def row(**cells: str) -> Row:
    """A row of the metadata; what is not given is harmless."""
    plain = dict.fromkeys(FIELDS, "") | {
        "source": "sonic_pi_samples",
        "licence": "CC0",
        "licence_tier": "permissive",
        "category": "domestic_foley",
        "fold": "1",
        "flags": "isolated",
        "orig_path": "a/perc.flac",
    }
    return plain | cells


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``events/``, ``esc50_nc/`` and ``unlabelled/`` with metadata, and ``licences/``."""
    folder = tmp_path_factory.mktemp("collection")
    rng = np.random.default_rng(1)
    events = [
        row(file=f"{name}/{k}.wav", label=name, split_group=f"fs:{name}{k}", fold=str(k % 4 + 1))
        for name in LABELS
        for k in range(CLIPS)
    ]
    ambience = [
        row(file=f"{k}.wav", category="ambience", split_group=f"maad:{k}", fold=str(k % 4 + 1))
        for k in range(8)
    ]
    _write(folder / "events", events, rng)
    _write(folder / "esc50_nc", [], rng)
    _write(folder / "unlabelled", ambience, rng)
    (folder / "licences").mkdir()
    for name in ("blanket_SOUNDS_LICENSING.md", "librosa_data_licences.txt"):
        (folder / "licences" / name).write_text("")
    return folder


def _write(folder: Path, rows: list[Row], rng: np.random.Generator) -> None:
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    for each in rows:
        pitch_hz = 150.0 * 2.0 ** LABELS.index(each["label"]) if each["label"] else 90.0
        wave = 0.2 * np.sin(2 * np.pi * pitch_hz * rng.uniform(0.95, 1.05) * time_s)
        wave += 0.01 * rng.standard_normal(len(time_s))
        path = folder / each["file"]
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, wave, RATE_HZ)
