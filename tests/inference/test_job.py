"""Jobs: every file in the table or among the errors, once, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import soundfile
from tests.inference.recordings import small_model, write_sounds

from sslam.audio.windows import sliding_windows
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.inference import job as job_module
from sslam.inference.job import errors_of, run_job
from sslam.inference.progress import Progress
from sslam.inference.rows import JobOptions
from sslam.weights.native import fingerprint

KILLS = 20


def clips_of(paths: list[Path]) -> list[Clip]:
    return [Clip(path) for path in paths]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def test_rows_are_what_the_model_gives_each_file(tmp_path: Path) -> None:
    paths = write_sounds(tmp_path / "in", 9, longest_s=1.5)
    model, options = small_model(), JobOptions(window_s=0.5, hop_s=0.25)
    result = run_job(model, clips_of(paths), tmp_path / "x.npz", options)
    assert (result.files, result.skipped, result.errors) == (9, 0, None)
    table = read_npz(tmp_path / "x.npz")
    for number, path in enumerate(paths):
        mine = table["file"] == list(table["paths"]).index(str(path))
        windows = list(sliding_windows(path, 0.5, 0.25))
        assert table["start_s"][mine].tolist() == [window.start_s for window in windows]
        assert table["end_s"][mine].tolist() == [window.end_s for window in windows]
        alone = np.stack([model.embed(window.wave).clip for window in windows])
        np.testing.assert_allclose(table["vector"][mine], alone, atol=1e-5, err_msg=str(number))


def test_frames_are_those_of_embed(tmp_path: Path) -> None:
    paths = write_sounds(tmp_path / "in", 3, longest_s=2.0)
    model, options = small_model(), JobOptions("frames", window_s=0.8, hop_s=0.48)
    run_job(model, clips_of(paths), tmp_path / "x.npz", options)
    table = read_npz(tmp_path / "x.npz")
    for number, path in enumerate(paths):
        mine = table["file"] == number
        found = model.embed(path, window_s=0.8, hop_s=0.48)
        np.testing.assert_allclose(table["vector"][mine], found.frames, atol=1e-5)
        np.testing.assert_allclose(table["start_s"][mine], found.times_s, atol=1e-9)
        assert (table["end_s"][mine] - table["start_s"][mine] <= 0.16 + 1e-9).all()


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    clips = clips_of(write_sounds(tmp_path / "in", 4))
    model = small_model(labels=("dog", "Straße", "a,b"))
    for suffix in ("parquet", "csv", "npz"):
        run_job(model, clips, tmp_path / f"x.{suffix}", JobOptions("scores"), name="small")
    table = read_npz(tmp_path / "x.npz")
    columns = parquet.read_table(tmp_path / "x.parquet")
    assert columns["path"].to_pylist() == [str(table["paths"][file]) for file in table["file"]]
    vectors = np.array(columns["vector"].to_pylist(), np.float32)
    assert np.array_equal(vectors, table["vector"])
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "start_s", "end_s", "dog", "Straße", "a,b"]
    digits = [[row[label] for label in model.config.labels] for row in rows]
    assert np.array_equal(np.array(digits, np.float32), table["vector"])
    metadata = json.loads(columns.schema.metadata[b"sslam"])
    assert metadata["fingerprint"] == fingerprint(model)
    assert (metadata["model"], metadata["window_s"]) == ("small", 10.24)
    assert metadata["labels"] == ["dog", "Straße", "a,b"]
    assert json.loads((tmp_path / "x.csv.job.json").read_text())["settings"] == {
        key: value for key, value in metadata.items() if key != "labels"
    }


def test_tags_are_those_of_the_model(tmp_path: Path) -> None:
    paths = write_sounds(tmp_path / "in", 2, longest_s=1.5)
    model = small_model(labels=tuple("abcdef"))
    options = JobOptions("tags", window_s=0.6, top_k=4, threshold=0.5)
    run_job(model, clips_of(paths), tmp_path / "x.parquet", options)
    rows = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    expected = [
        (str(path), window.start_s, tag.label, pytest.approx(tag.score, abs=1e-5))
        for path in paths
        for window in model.tag(path, window_s=0.6, top_k=4, threshold=0.5).windows
        for tag in window.tags
    ]
    assert [(r["path"], r["start_s"], r["label"], r["score"]) for r in rows] == expected
    assert expected


def test_a_part_of_a_file_has_the_times_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 48_000), 16_000)
    clips = [Clip(path, start_s=1.0, end_s=1.7), Clip(path, start_s=2.0, end_s=None)]
    run_job(small_model(), clips, tmp_path / "x.npz", JobOptions(window_s=0.5))
    table = read_npz(tmp_path / "x.npz")
    np.testing.assert_allclose(table["start_s"], [1.0, 1.5, 2.0, 2.5])
    np.testing.assert_allclose(table["end_s"], [1.5, 1.7, 2.5, 3.0])


def test_bad_files_are_named_and_leave_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_sounds(tmp_path / "in", 5)
    folder = tmp_path / "in"
    (folder / "000a.wav").write_bytes(b"")
    (folder / "001a.flac").write_bytes(b"not audio at all")
    soundfile.write(folder / "002a.wav", np.zeros(100), 16_000)  # shorter than a frame
    long = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000 * 30)
    soundfile.write(folder / "003a.flac", long, 16_000)  # breaks long after its first rows
    data = bytearray((folder / "003a.flac").read_bytes())
    data[-40_000:-20_000] = bytes(20_000)
    (folder / "003a.flac").write_bytes(data)
    bad = [*sorted(folder.glob("*a.*")), folder / "gone.wav"]
    monkeypatch.setattr(
        "sslam.model.recordings.BATCH_S", {"cpu": 0.2, "cuda": 0.2}
    )  # its rows are written
    out = tmp_path / "x.npz"
    result = run_job(
        small_model(), clips_of(sorted([*good, *bad])), out, JobOptions(window_s=0.1, hop_s=0.1)
    )
    assert (result.files, result.skipped) == (10, 5)
    with errors_of(out).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"]
    assert [Path(path) for path, _ in rows[1:]] == sorted(bad)
    assert all(reason for _, reason in rows)
    assert "shorter than one frame" in rows[3][1]
    table = read_npz(out)
    named = {str(table["paths"][file]) for file in table["file"]}
    assert named == {str(path) for path in good}
    for path in good:
        mine = table["file"] == list(table["paths"]).index(str(path))
        assert mine.sum() == len(list(sliding_windows(path, 0.1, 0.1)))


def test_a_model_that_gives_nan_fails_the_file_and_not_the_job(tmp_path: Path) -> None:
    paths = write_sounds(tmp_path / "in", 2)
    model = small_model()
    model.encoder.cls.data.fill_(float("nan"))
    result = run_job(model, clips_of(paths), tmp_path / "x.npz")
    assert (result.skipped, result.rows) == (2, 0)
    assert "not finite" in errors_of(tmp_path / "x.npz").read_text()


def test_a_complete_job_does_nothing_again(tmp_path: Path) -> None:
    paths = write_sounds(tmp_path / "in", 4)
    (tmp_path / "in" / "bad.wav").write_bytes(b"")
    clips = clips_of([*paths, tmp_path / "in" / "bad.wav"])
    out = tmp_path / "x.csv"
    first = run_job(small_model(), clips, out)
    before = out.read_bytes()
    out.chmod(0o444)
    again = run_job(small_model(), clips, out)
    assert out.read_bytes() == before and again.found_done == 5
    assert (again.skipped, again.errors, again.rows) == (1, first.errors, first.rows)
    with pytest.raises(InputError, match=r"window_s is 10\.24 there and 5\.0 here"):
        run_job(small_model(), clips, out, JobOptions(window_s=5.0, hop_s=5.0))
    with pytest.raises(InputError, match="fingerprint"):
        run_job(small_model(width=16), clips, out)
    with pytest.raises(InputError, match="another list of files"):
        run_job(small_model(), clips[1:], out)
    assert run_job(small_model(), clips[1:4], out, overwrite=True).files == 3
    assert not errors_of(out).exists()
    out.with_name("x.csv.job.json").unlink()
    with pytest.raises(InputError, match="no table of a job"):
        run_job(small_model(), clips, out)


class KilledError(Exception):
    """Stands for the end of a process."""


def test_going_on_gives_the_very_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "CHUNK_CLIPS", 5)
    clips = clips_of(write_sounds(tmp_path / "in", 18))
    run_job(small_model(), clips, tmp_path / "whole.npz")
    out, partial = tmp_path / "x.npz", tmp_path / "x.npz.partial"

    monkeypatch.setattr("sslam.inference.progress.REPORT_S", 0.0)
    for limit in (5, 10):

        def stop(progress: Progress, limit: int = limit) -> None:
            if progress.files >= limit:
                raise KilledError

        with pytest.raises(KilledError):
            run_job(small_model(), clips, out, report=stop)
        with (partial / "rows.bin").open("ab") as file:  # a row that was not committed
            file.write(b"\1" * 77)
        with (partial / "journal.jsonl").open("ab") as file:
            file.write(b'{"rows": 99, "done": [{"pa')
        with pytest.raises(InputError, match="pooling is cls there and mean here"):
            run_job(small_model(), clips, out, JobOptions(pooling="mean"))
    result = run_job(small_model(), clips, out)
    assert result.found_done >= 10 and not partial.exists()
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert threading.active_count() < 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.bin", b""),
        ("journal.jsonl", b"no JSON\n"),
        ("journal.jsonl", b'{"rows": 1}\n'),
        ("journal.jsonl", b'{"rows": null, "done": []}\n'),
        ("job.json", b"no JSON"),
    ],
)
def test_a_damaged_job_is_one_line_and_starts_again_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.setattr(job_module, "CHUNK_CLIPS", 1)
    monkeypatch.setattr("sslam.inference.progress.REPORT_S", 0.0)
    clips = clips_of(write_sounds(tmp_path / "in", 2))
    whole, out = tmp_path / "whole.npz", tmp_path / "x.npz"
    run_job(small_model(), clips, whole)

    def stop(progress: Progress) -> None:
        if progress.files == 1:
            raise KilledError

    with pytest.raises(KilledError):
        run_job(small_model(), clips, out, report=stop)
    (tmp_path / "x.npz.partial" / name).write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        run_job(small_model(), clips, out)
    run_job(small_model(), clips, out, overwrite=True)
    assert out.read_bytes() == whole.read_bytes()


def test_two_processes_do_not_share_a_job(tmp_path: Path) -> None:
    clips = clips_of(write_sounds(tmp_path / "in", 3))

    def intrude(progress: Progress) -> None:
        with pytest.raises(InputError, match="another process"):
            run_job(small_model(), clips, tmp_path / "x.npz")

    run_job(small_model(), clips, tmp_path / "x.npz", report=intrude)


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    paths = write_sounds(tmp_path / "in", 70)
    told: list[Progress] = []
    run_job(small_model(), clips_of(paths), tmp_path / "x.npz", report=told.append)
    last = told[-1]
    assert (last.files, last.files_total, last.share, last.left_s) == (70, 70, 1.0, 0.0)
    seconds = sum(soundfile.info(path).duration for path in paths)
    assert last.audio_s == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize(
    ("out", "match"),
    [("x.txt", "must end in"), ("folder.npz", "is a folder")],
)
def test_an_impossible_table_is_refused_at_once(tmp_path: Path, out: str, match: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=match):
        run_job(small_model(), [Clip(tmp_path / "a.wav")], tmp_path / out)


def test_killed_jobs_end_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at random moments; each process finds whatever state another left."""
    paths = write_sounds(tmp_path / "in", 40)
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF")
    clips = clips_of([*paths, tmp_path / "in" / "bad.wav"])
    model, whole, out = small_model(), tmp_path / "whole.parquet", tmp_path / "x.parquet"
    monkeypatch.setattr(job_module, "CHUNK_CLIPS", 3)
    started_s = time.monotonic()
    run_job(model, clips, whole)
    lasts_s = time.monotonic() - started_s
    rng, kills, journals, completed = random.Random(0), 0, set(), 0
    while kills < KILLS or completed < 1 or len(journals) <= 3:
        assert kills < 20 * KILLS, f"{completed} completed, journals of {journals} lines"
        process = multiprocessing.get_context("fork").Process(
            target=run_job, args=(model, clips, out)
        )
        process.start()
        process.join(rng.uniform(0.0, 1.2) * lasts_s)
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
        journal = tmp_path / "x.parquet.partial" / "journal.jsonl"
        journals.add(journal.read_bytes().count(b"\n") if journal.exists() else None)
        if process.exitcode == 0:
            check_same(whole, out)
            completed += 1
            out.unlink()
    run_job(model, clips, out)
    check_same(whole, out)


def check_same(whole: Path, out: Path) -> None:
    first, second = parquet.read_table(whole), parquet.read_table(out)
    assert first.equals(second, check_metadata=True)
    assert len(first) == len(set(first["path"].to_pylist())) == 40
    assert errors_of(out).read_bytes() == errors_of(whole).read_bytes()
