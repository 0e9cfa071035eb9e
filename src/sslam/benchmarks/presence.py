"""Is the data here: look for every benchmark's folder, or its prepared manifest, under one root."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.layout import find_below
from sslam.data.manifest import Clip, read_manifest
from sslam.errors import InputError

DATA_VARIABLE = "SSLAM_DATA"


@dataclass(frozen=True)
class Presence:
    """Where a benchmark's data lies, or why it counts as absent."""

    benchmark: Benchmark
    source: Path | None
    clips: int
    problem: str

    @property
    def here(self) -> bool:
        """True when the benchmark can run."""
        return self.source is not None and not self.problem

    def load(self) -> list[Clip]:
        """The benchmark's clips.

        Raises:
            InputError: the data is not here.
        """
        if self.source is None:
            raise InputError(f"{self.benchmark.name}: {self.problem}; {self.benchmark.get}")
        return load(self.benchmark, self.source)


def data_root(given: Path | None) -> Path | None:
    """The folder given, or the one that SSLAM_DATA names; None when there is neither.

    Raises:
        InputError: it is not a folder.
    """
    named = os.environ.get(DATA_VARIABLE)
    root = given or (Path(named) if named else None)
    if root is not None and not root.is_dir():
        origin = "--data" if given else DATA_VARIABLE
        raise InputError(f"{origin} is {root}, which is not a folder")
    return root


def find_source(benchmark: Benchmark, root: Path) -> Path | None:
    """``NAME.csv`` (a prepared manifest) or a folder of the benchmark under ``root``, or None.

    Folders are looked up by the benchmark's name first, then by the names it is distributed as.
    """
    manifest = root / f"{benchmark.name}.csv"
    if manifest.is_file():
        return manifest
    for name in (benchmark.name, *benchmark.folders):
        found = find_below(root, name, depth=1)
        if found is not None and found.is_dir():
            return found
    return None


def load(benchmark: Benchmark, source: Path) -> list[Clip]:
    """Clips of a prepared manifest or of a download in the official layout.

    Raises:
        InputError: neither, or nothing of it is there.
    """
    if benchmark.source is not None:
        return benchmark.reader(source)
    if source.suffix == ".csv":
        return read_manifest(source)
    return benchmark.prepare(source)


def look_for(benchmark: Benchmark, root: Path | None) -> Presence:
    """Whether the benchmark's data is under ``root``, by reading its metadata (not its audio)."""
    if benchmark.source is not None:
        return Presence(benchmark, benchmark.source, len(benchmark.reader(benchmark.source)), "")
    if root is None:
        return Presence(benchmark, None, 0, f"no data root: set {DATA_VARIABLE} or give --data")
    source = find_source(benchmark, root) or (root if benchmark.ours else None)
    if source is None:
        return Presence(benchmark, None, 0, f"no folder {benchmark.name} under {root}")
    try:
        return Presence(benchmark, source, len(load(benchmark, source)), "")
    except InputError as error:
        return Presence(benchmark, source, 0, str(error))
