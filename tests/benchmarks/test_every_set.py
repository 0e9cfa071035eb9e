"""Each data set from its download to the table, by the commands that a person gives."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.benchmarks.conftest import small_model
from tests.benchmarks.layouts import Copy, write_copy

from sslam.benchmarks.published import published
from sslam.benchmarks.registry import BENCHMARKS
from sslam.benchmarks.verification import verify
from sslam.cli import bench, data_benchmarks
from sslam.cli.data_benchmarks import PrepareArgs, VerifyArgs
from sslam.data.manifest import read_manifest
from sslam.weights.native import save_folder

CHANGES = ("steps=2", "batch=4", "frames=64", "warmup_steps=1")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_copy(name: str, copy: Copy, findings: Path) -> None:
    """``verify`` finds everything as it should be but the files that are lost."""
    complete = copy.lost == 0 or copy.benchmark.expected.partial
    status = data_benchmarks.run_verify(VerifyArgs(name, copy.folder, findings))
    with findings.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = [row["item"] for row in rows if row["ok"] == "False" and row["item"] != "missing file"]
    assert wrong == ([] if complete else ["missing files"]) and status == (not complete)
    assert sum(row["item"] == "missing file" for row in rows) == copy.lost


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_the_download_to_the_table(
    name: str, tmp_path: Path, sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    copy = write_copy(name, root, sound)
    monkeypatch.setitem(BENCHMARKS, name, copy.benchmark)
    check_copy(name, copy, tmp_path / "found.csv")

    assert data_benchmarks.run_prepare(PrepareArgs(name, copy.folder, root / f"{name}.csv")) == 0
    clips = read_manifest(root / f"{name}.csv")
    assert all(clip.path.is_file() for clip in clips)
    assert [row for row in verify(copy.benchmark, clips).rows if not row.ok] == []

    probed, tuned = tmp_path / "probed", tmp_path / "tuned"
    assert bench.run(bench.Args(suite=name, data=root, out=probed, baseline="logmel")) == 0
    save_folder(small_model(), tmp_path / "model")
    model = (str(tmp_path / "model"),)
    options = {"protocol": "finetune", "set": CHANGES, "device": "cpu"}
    assert bench.run(bench.Args(model, suite=name, data=root, out=tuned, **options)) == 0

    rows = {"linear probe": table(probed), "fine-tune": table(tuned)}
    tested = [clip for clip in clips if clip.split == "test" or clip.split.startswith("fold")]
    for protocol, found in rows.items():
        ours = next(row for row in found if row["published"] == "False")
        assert (ours["benchmark"], ours["protocol"]) == (name, protocol)
        assert int(ours["clips"]) == len(tested) and 0 <= float(ours["score"]) <= 100
        beside = [
            (row["model"], float(row["score"])) for row in found if row["published"] == "True"
        ]
        whole = {(row.model, row.score) for row in published(name, subset="")}
        assert whole <= set(beside)
    # Log-mels alone tell tones: far above the chance of one in three or four classes.
    assert float(rows["linear probe"][0]["score"]) >= 50
