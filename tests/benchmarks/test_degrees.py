from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.degrees import BENCHMARK as DEGREES
from sslam.benchmarks.degrees import BIN_NAMES, degree, subsets
from sslam.benchmarks.suite import Suite, run_suite
from sslam.benchmarks.table import table_rows
from sslam.benchmarks.verification import verify
from sslam.errors import InputError
from sslam.labels import spass_labels


@pytest.fixture
def root(tmp_path: Path, sound) -> Path:
    """A few clips of URBAN-SED with 1 to 3 labels and of SPASS Market with 4 and 5."""
    names = ("siren", "drilling", "dog_bark")
    urban = tmp_path / "urban-sed"
    for split in ("train", "test"):
        (urban / "annotations" / split).mkdir(parents=True)
        for number in range(6):
            labels = [names[(number + k) % 3] for k in range(number % 3 + 1)]
            sound(urban / "audio" / split / f"{split}{number}.wav", labels)
            text = "\n".join(f"{k}\t{k + 1}\t{label}" for k, label in enumerate(labels))
            (urban / "annotations" / split / f"{split}{number}.txt").write_text(text)
    heard = spass_labels("market")[:6]
    rows = ["audio_filename,class"]
    for number in range(8):
        labels = [heard[(number + k) % 6] for k in range(4 + number % 2)]
        sound(tmp_path / "spass" / "Market audio files" / f"market{number}.wav", labels)
        rows += [f"market{number}.wav,{label}" for label in labels]
    (tmp_path / "spass" / "1_MatrixLabelsMarket.csv").write_text("\n".join(rows))
    return tmp_path


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (1, ""), (2, "{2,3}"), (3, "{2,3}"), (4, "{4,5}"), (13, "{12,13}"), (20, "{14+}")],
)
def test_degree_counts_distinct_labels(count: int, expected: str) -> None:
    labels = [f"class {number}" for number in range(count)]
    assert degree([*labels, *labels]) == expected


def test_bins_are_the_papers() -> None:
    assert BIN_NAMES == ("{2,3}", "{4,5}", "{6,7}", "{8,9}", "{10,11}", "{12,13}", "{14+}")


def test_pool_takes_the_sets_that_are_there_without_single_labels(root: Path) -> None:
    clips = DEGREES.prepare(root)
    assert len(clips) == 8 + 8  # two of three clips of URBAN-SED, every one of SPASS
    sizes = {name: len(members) for name, members in subsets(clips).items()}
    assert sizes == dict.fromkeys(BIN_NAMES, 0) | {"{2,3}": 8, "{4,5}": 8}
    assert {clip.group.split("/")[0] for clip in clips if clip.group} == {"spass-market"}


def test_an_empty_root_is_refused_with_the_sets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"spass-square.*urban-sed"):
        DEGREES.prepare(tmp_path)


def test_verify_lists_each_bin(root: Path) -> None:
    rows = {row.item: row.found for row in verify(DEGREES, root).rows}
    assert rows["clips of degree {2,3}"] == "4 train, 4 test"
    assert rows["clips of degree {4,5}"] == "6 train, 2 test"
    assert rows["clips of degree {14+}"] == "0 train, 0 test"


def test_each_bin_is_scored_beside_its_own_published_numbers(root: Path, score) -> None:
    rows = table_rows(score(DEGREES, root))
    ours = {row.subset: row.clips for row in rows if not row.published}
    assert ours == {"": 6, "{2,3}": 4, "{4,5}": 2}
    assert {r.score for r in rows if r.model == "SSLAM" and r.subset == "{4,5}"} == {70.6, 86.9}
    assert all("otherwise" in row.source for row in rows if row.published)


def test_absent_without_any_set(tmp_path: Path) -> None:
    result = run_suite(Suite("one", (DEGREES,)), tmp_path, {"none": lambda *_: pytest.fail()})
    assert [place.benchmark.name for place in result.absent] == ["degrees"]
