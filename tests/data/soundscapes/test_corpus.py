from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sslam.audio.io import RATE_HZ, read_audio
from sslam.data.manifest import Clip, read_manifest
from sslam.data.soundscapes.config import RoomConfig, SoundscapeConfig
from sslam.data.soundscapes.corpus import Part, Recipe, check_events, write_corpus
from sslam.data.soundscapes.jams import read_jams, read_measured
from sslam.data.soundscapes.render import render
from sslam.data.soundscapes.split import refuse_shared_scenes, split_groups
from sslam.data.soundscapes.strong_labels import read_strong_labels
from sslam.errors import InputError

CONFIG = SoundscapeConfig(duration_s=1.5, degrees=(2, 3), room=RoomConfig(share=0.5))


@pytest.fixture
def recipe(events: list[Clip], backgrounds: list[Clip]) -> Recipe:
    split = split_groups(events, 0.5, 0)
    parts = (
        Part("train", 12, split.train, backgrounds[:2]),
        Part("test", 5, split.test, backgrounds[2:]),
    )
    return Recipe(parts, CONFIG, seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the page, whose title is the folder's name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "statistics.html"
    }


def test_everything_agrees(tmp_path: Path, recipe: Recipe) -> None:
    corpus = write_corpus(recipe, tmp_path / "out")
    assert (corpus.made, corpus.kept, corpus.skipped) == (17, 0, ())
    assert corpus.statistics.scenes == {"test": 5, "train": 12}
    clips = read_manifest(tmp_path / "out" / "manifest.csv")
    assert [clip.split for clip in clips] == ["train"] * 12 + ["test"] * 5
    scenes: dict[str, list] = {"train": [], "test": []}
    for clip in clips:
        scene = read_jams(tmp_path / "out" / "jams" / clip.split / f"{clip.path.stem}.jams")
        scenes[clip.split].append(scene)
        assert clip.labels == scene.labels and len(clip.labels) in (2, 3)
        table = read_strong_labels(tmp_path / "out" / f"{clip.split}.tsv")
        assert table[clip.path.name] == clip.events == scene.as_clip(clip.path).events
        wave = read_audio(clip.path)
        # 16-bit files: within one step of what the plan gives.
        np.testing.assert_allclose(wave, render(scene), atol=1.5 / 2**15)
        measured = read_measured(tmp_path / "out" / "jams" / clip.split / f"{clip.path.stem}.jams")
        level = 10 * np.log10(np.mean(wave.astype(np.float64) ** 2))
        assert measured["rms_dbfs"] == pytest.approx(level, abs=0.05)
    refuse_shared_scenes(scenes["train"], scenes["test"])
    assert scenes["train"][0].seed != scenes["test"][0].seed
    assert "17 scenes" in (tmp_path / "out" / "statistics.html").read_text()


def test_processes_do_not_change_a_byte(tmp_path: Path, recipe: Recipe) -> None:
    write_corpus(recipe, tmp_path / "one", workers=1)
    write_corpus(recipe, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, recipe: Recipe) -> None:
    long = replace(recipe, parts=tuple(replace(part, scenes=150) for part in recipe.parts[:1]))
    (tmp_path / "recipe.pkl").write_bytes(pickle.dumps(long))
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "from sslam.data.soundscapes.corpus import write_corpus\n"
        "write_corpus(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))\n"
    )
    out = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(tmp_path / "recipe.pkl"), str(out)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 30
    while len(list((out / "jams" / "train").glob("*.jams"))) < 20:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in (out / "jams" / "train").glob("*.jams")}
    assert 20 <= len(finished) < 150 and not (out / "manifest.csv").exists()
    (out / "audio" / "train" / "000149.flac.1.partial").write_bytes(b"half a file")
    corpus = write_corpus(long, out)
    assert (corpus.kept, corpus.made) == (len(finished), 150 - len(finished))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    write_corpus(long, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(out)


def test_a_folder_can_grow_but_not_change(tmp_path: Path, recipe: Recipe) -> None:
    small = replace(recipe, parts=tuple(replace(part, scenes=2) for part in recipe.parts))
    write_corpus(small, tmp_path / "out")
    corpus = write_corpus(recipe, tmp_path / "out")
    assert (corpus.kept, corpus.made) == (4, 13)
    write_corpus(recipe, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    with pytest.raises(InputError, match="holds 12 train scenes already, 2 were asked for"):
        write_corpus(small, tmp_path / "out")
    with pytest.raises(InputError, match="other sources, settings or seed"):
        write_corpus(replace(recipe, seed=4), tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_corpus(recipe, tmp_path / "full")


def test_a_group_on_both_sides_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    train, test = recipe.parts
    leaky = replace(recipe, parts=(train, replace(test, events=[*test.events, train.events[0]])))
    with pytest.raises(InputError, match=repr(train.events[0].group)):
        write_corpus(leaky, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_events_are_left_out_and_counted(tmp_path: Path, events: list[Clip]) -> None:
    damaged, silent = tmp_path / "damaged.wav", tmp_path / "silent.wav"
    damaged.write_bytes(b"RIFF")
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    bad = [Clip(path, labels=("x",)) for path in (damaged, silent, tmp_path / "missing.wav")]
    heard, skipped = check_events([*events, *bad])
    assert heard == events
    assert [skip.path for skip in skipped] == [clip.path for clip in bad]
    with pytest.raises(InputError, match=r"none of the 3 events can be used; the first: .*damaged"):
        check_events(bad)


def test_scenes_on_a_damaged_background_are_counted(tmp_path: Path, recipe: Recipe) -> None:
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFF")
    train, test = recipe.parts
    mixed = replace(train, backgrounds=[*train.backgrounds, Clip(damaged)])
    corpus = write_corpus(replace(recipe, parts=(mixed, test)), tmp_path / "out")
    assert 0 < len(corpus.skipped) < 12 and {s.path for s in corpus.skipped} == {damaged}
    assert corpus.made + len(corpus.skipped) == 17
    assert len(read_manifest(tmp_path / "out" / "manifest.csv")) == corpus.made
    alone = replace(train, backgrounds=[Clip(damaged)])
    with pytest.raises(InputError, match="no scene could be made"):
        write_corpus(replace(recipe, parts=(alone,)), tmp_path / "none")


def test_the_note_says_what_the_folder_was_made_from(tmp_path: Path, recipe: Recipe) -> None:
    write_corpus(recipe, tmp_path / "out")
    note = json.loads((tmp_path / "out" / "soundscapes.json").read_text())
    assert note["seed"] == 3 and SoundscapeConfig(**note["config"]) == CONFIG
