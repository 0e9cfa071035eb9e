from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from sslam.audio.io import RATE_HZ
from sslam.cli.main import main


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.normal(size=RATE_HZ), RATE_HZ)
    return folder


def test_recordings_are_packed_and_verified(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    assert main(["data", "pack", str(clips), "--out", str(shards)]) == 0
    assert "6 clips" in capsys.readouterr().out
    assert main(["data", "verify", str(shards)]) == 0
    tar = next(shards.glob("*.tar"))
    content = bytearray(tar.read_bytes())
    content[1000] ^= 1
    tar.write_bytes(content)
    assert main(["data", "verify", str(shards)]) == 1
    assert "differs from its checksum" in capsys.readouterr().out


def test_statistics_of_shards_are_those_of_their_files(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "pack", str(clips), "--out", str(tmp_path / "shards")])
    capsys.readouterr()
    measured = []
    for source in (clips, tmp_path / "shards"):
        assert main(["data", "stats", str(source)]) == 0
        out = capsys.readouterr().out
        assert "6 clips, 0.00 hours; 0 skipped" in out
        measured.append(yaml.safe_load(out[out.index("front_end:") :])["front_end"])
    assert measured[0] == pytest.approx(measured[1], abs=0.01)  # 16 bits
    assert measured[0].keys() == {"mean", "std"}


def test_statistics_name_what_they_leave_out(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "bad.wav").write_text("no sound")
    assert main(["data", "stats", str(clips), "--most", "7"]) == 0
    shown = capsys.readouterr()
    assert "6 clips" in shown.out
    assert "1 skipped" in shown.out
    assert "bad.wav" in shown.err
    assert main(["data", "stats", str(clips), "--most", "0"]) == 2


def test_a_plan_has_a_line_a_stage_and_number_of_devices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "--recipe", "paper-base", "--devices", "1", "64"]) == 0
    out = capsys.readouterr().out
    assert "87.8 M parameters learn" in out
    for cells in (("1", "stage1", "1077", "48", "400000"), ("64", "stage2", "1224", "768")):
        assert any(
            [cell.strip() for cell in line.split("│")[1:-1]][: len(cells)] == list(cells)
            for line in out.splitlines()
        ), cells
    assert main(["plan", "--devices", "0"]) == 2
    assert main(["plan", "--utilisation", "2"]) == 2
