"""A file is replaced when its block ends well, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslam.files import whole, write_text


def test_a_block_that_ends_well_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old\r\n")
    with pytest.raises(ValueError, match="half way"), whole(path) as partial:
        partial.write_text("ne")
        raise ValueError("half way")
    assert path.read_bytes() == b"old\r\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole(tmp_path / "table.csv"):
        pass
