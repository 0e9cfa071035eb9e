from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import tyro

from sslam.audio.io import RATE_HZ
from sslam.cli.synth import Args, run
from sslam.data.manifest import Clip, read_manifest, write_manifest
from sslam.data.soundscapes.jams import read_jams
from sslam.data.soundscapes.split import refuse_shared_scenes
from sslam.errors import InputError, SslamError

SHORT = ["--duration-s", "1", "--degrees", "2", "3", "--workers", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of four bursts."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for label in ("bang", "hiss", "knock", "rattle"):
        (folder / label).mkdir()
        for number in range(4):
            wave = 0.1 * rng.standard_normal(RATE_HZ // 4)
            soundfile.write(folder / label / f"{number}.flac", wave, RATE_HZ)
    return folder


def synth(*arguments: str | Path) -> int:
    return run(tyro.cli(Args, args=[str(argument) for argument in arguments]))


def test_class_folders_become_train_and_test(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = [folder, "--out", out, "--scenes", "6", "--test-scenes", "4", *SHORT]
    assert synth(*asked) == 0
    assert "4 test, 6 train scenes (10 made, 0 kept)" in capsys.readouterr().out
    sides = {
        side: [read_jams(path) for path in sorted((out / "jams" / side).iterdir())]
        for side in ("train", "test")
    }
    assert {scene.degree for scenes in sides.values() for scene in scenes} <= {2, 3}
    refuse_shared_scenes(sides["train"], sides["test"])
    assert synth(*asked) == 0
    assert "(0 made, 10 kept)" in capsys.readouterr().out


def test_splits_of_a_manifest_are_kept(folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.rglob("*.flac"))
    clips = [
        Clip(path, (path.parent.name,), split="test" if path.stem == "3" else "train")
        for path in paths
    ]
    write_manifest(clips, tmp_path / "events.csv")
    out = tmp_path / "out"
    synth(tmp_path / "events.csv", "--out", out, "--scenes", "3", "--test-scenes", "3", *SHORT)
    for side in ("train", "test"):
        for path in (out / "jams" / side).iterdir():
            stems = {event.path.stem for event in read_jams(path).events}
            assert (stems == {"3"}) == (side == "test")
    assert len(read_manifest(out / "manifest.csv")) == 6


def test_backgrounds_are_split_too(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "rooms").mkdir()
    for number in range(4):
        wave = 0.1 * rng.standard_normal(RATE_HZ)
        soundfile.write(tmp_path / "rooms" / f"{number}.wav", wave, RATE_HZ)
    out, used = tmp_path / "out", {}
    asked = ["--scenes", "4", "--test-scenes", "4", *SHORT]
    synth(folder, "--out", out, "--backgrounds", tmp_path / "rooms", *asked)
    for side in ("train", "test"):
        behind = [read_jams(path).background for path in (out / "jams" / side).iterdir()]
        used[side] = {background.path for background in behind if background}
        assert len(behind) == 4 and all(behind)
    assert not used["train"] & used["test"]
    one = tmp_path / "rooms" / "0.wav"
    with pytest.raises(InputError, match="no backgrounds are left for the test scenes"):
        synth(folder, "--out", tmp_path / "other", "--backgrounds", one, *asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenes", "0"], "at least one scene"),
        (["--seed", "-1"], "--seed -1"),
        (["--workers", "0"], "--workers 0"),
        (["--degrees", "7"], "degree 7 needs as many different labels and the events have 4"),
        (["--test-scenes", "1", "--test-share", "2"], "test_share"),
        (["--snr-db.low", "50"], "low 50 above high 15"),
        (["--backgrounds", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_bad_options_are_one_line(
    folder: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(SslamError) as caught:
        synth(folder, "--out", tmp_path / "out", "--scenes", "2", "--workers", "1", *arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_splits_and_unlabelled_clips_are_refused(folder: Path, tmp_path: Path) -> None:
    path = sorted(folder.rglob("*.flac"))[0]
    write_manifest([Clip(path, ("a",), split="fold1")], tmp_path / "folds.csv")
    with pytest.raises(InputError, match="'fold1'"):
        synth(tmp_path / "folds.csv", "--out", tmp_path / "out", *SHORT)
    write_manifest([Clip(path)], tmp_path / "plain.csv")
    with pytest.raises(InputError, match="exactly one label, it has 0"):
        synth(tmp_path / "plain.csv", "--out", tmp_path / "out", *SHORT)
    with pytest.raises(InputError, match="no events were given"):
        synth("--out", tmp_path / "out")
