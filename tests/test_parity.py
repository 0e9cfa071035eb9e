"""The carried copy of the reference's numbers is met, and the check itself can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.parity import all_checks
from tests.parity_checks.folder import Check, Goldens

HERE = Path(__file__).parent
GOLDENS = HERE / "data" / "goldens"


def test_every_number_of_the_reference_is_met() -> None:
    checks = list(all_checks(Goldens(GOLDENS)))
    assert [c.line() for c in checks if not c.holds] == []
    names = {c.name.split("/")[0] for c in checks}
    assert names >= {"fbank", "encoder", "stage1", "stage2", "ema", "masks"}
    assert len(checks) > 200


def test_a_wrong_number_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "goldens"
    shutil.copytree(GOLDENS, folder)
    index = json.loads((folder / "index.json").read_text())
    only = {"pretrain": {k: v for k, v in index["pretrain"].items() if k not in ("stage2", "ema")}}
    (folder / "index.json").write_text(json.dumps(only))
    facts = json.loads((folder / "stage1.json").read_text())
    facts["total_reduced"] *= 1 + 1e-4
    (folder / "stage1.json").write_text(json.dumps(facts))
    command = [sys.executable, str(HERE / "parity.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    over = [line for line in done.stdout.splitlines() if line.startswith("OVER")]
    assert len(over) == 1 and "stage1/total" in over[0]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "parity.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_deviation_that_is_no_number_fails() -> None:
    assert not Check("x", float("nan"), 1.0).holds
