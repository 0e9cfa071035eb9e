"""A Ray cluster gives the table that one process gives, also when its actors are killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.inference.recordings import saved_model, write_sounds

from sslam.cli.main import main
from sslam.data.manifest import Clip
from sslam.inference import cluster
from sslam.inference import job as job_module
from sslam.inference.job import run_job
from sslam.inference.parts import Part
from sslam.inference.progress import Progress
from sslam.inference.tables import vector_row
from sslam.weights.zoo import load_model

TRIES = 4


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One cluster of one core, as small as they come, for the tests that need one.

    Ray is no part of what `make test` installs: its own processes must be up within 20 s of wall
    time, which a busy machine does not give them.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray", reason="pip install 'sslam[cluster]' runs this")
    for tries_left in reversed(range(TRIES)):
        try:
            ray.init(
                num_cpus=1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=80 * 2**20,
            )
            break
        except Exception:  # its own processes have 30 s to come up, whatever else is going on
            ray.shutdown()
            if not tries_left:
                raise
    yield ray
    ray.shutdown()


def actors() -> list[int]:
    """Processes of this cluster that hold a model: children of the children of this process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and "_Maker" in command(int(folder.name)):
            found.append(int(folder.name))
    return [pid for pid in found if parent(parent(pid)) == os.getpid()]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


def test_the_table_is_that_of_one_process_although_an_actor_is_killed(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sounds(tmp_path / "in", 12)
    (tmp_path / "in" / "005bad.wav").write_bytes(b"RIFF")
    model = saved_model(tmp_path / "model")
    monkeypatch.setattr(job_module, "CHUNK_CLIPS", 2)
    words = ["embed", str(tmp_path / "in"), "--model", str(model), "--window-s", "0.3", "--out"]
    assert main([*words, str(tmp_path / "local.npz")]) == 3
    capsys.readouterr()
    killed: list[int] = []

    def kill(self: object, progress: Progress) -> None:
        if not killed:
            killed.extend(actors())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr("sslam.cli.job_bar.JobBar.show", kill)
    monkeypatch.setattr("sslam.inference.progress.REPORT_S", 0.0)
    out = tmp_path / "ray.npz"
    assert main([*words, str(out), "--engine", "ray", "--workers", "1"]) == 3
    assert killed
    printed = capsys.readouterr()
    assert "of 12 files" in printed.out
    assert "1 of 13 files could not be used" in printed.err
    with np.load(tmp_path / "local.npz") as here, np.load(out) as there:
        assert here.keys() == there.keys()
        for name in here:
            if name == "vector":
                np.testing.assert_allclose(there[name], here[name], atol=1e-5)
            else:
                assert np.array_equal(here[name], there[name]), name
    for suffix in ("errors.csv", "npz.job.json"):
        assert (tmp_path / f"ray.{suffix}").read_text() == (
            tmp_path / f"local.{suffix}"
        ).read_text()
    # The engine is no setting: what one has begun or finished, the other knows.
    assert main([*words, str(out)]) == 3
    assert "13 of the files were done before" in capsys.readouterr().out


def test_a_job_that_was_stopped_goes_on(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [Clip(path) for path in write_sounds(tmp_path / "in", 6)]
    model = load_model(saved_model(tmp_path / "model"))
    monkeypatch.setattr(job_module, "CHUNK_CLIPS", 2)
    monkeypatch.setattr("sslam.inference.progress.REPORT_S", 0.0)

    def stop(progress: Progress) -> None:
        if progress.files >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(model, clips, tmp_path / "x.npz", report=stop, engine=cluster.ray_engine(1))
    result = run_job(model, clips, tmp_path / "x.npz", engine=cluster.ray_engine(1))
    assert (result.files, result.found_done) == (6, 2)
    run_job(model, clips, tmp_path / "whole.npz")
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_parts_travel_as_data() -> None:
    dtype = vector_row(3)
    rng = np.random.default_rng(0)
    rows = np.frombuffer(rng.bytes(5 * dtype.itemsize), dtype)
    parts = [
        Part(0, rows[:2], audio_s=0.1),
        Part(1, None, reason="name \udcff: é"),
        Part(2, rows[2:2]),
        Part(3, rows[2:], audio_s=1e-300),
    ]
    there = list(cluster.unpacked(cluster.packed(parts), dtype))
    for sent, came in zip(parts, there, strict=True):
        assert (sent.number, sent.audio_s, sent.reason) == (came.number, came.audio_s, came.reason)
        assert (sent.rows is None) == (came.rows is None)
        if sent.rows is not None and came.rows is not None:
            assert sent.rows.tobytes() == came.rows.tobytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--device", "cuda:1"], "on a cluster give auto, cpu or cuda"),
        (["--threads", "0"], "threads is 0"),
        (["--workers", "0"], "workers is 0"),
        ([], "pip install 'sslam[cluster]'"),
    ],
)
def test_what_a_cluster_cannot_do_is_told_in_one_line(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    out = ["--out", str(tmp_path / "x.npz"), "--engine", "ray"]
    assert main(["embed", str(tmp_path), "--model", "none", *out, *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
