"""``sslam data prepare`` and ``sslam data verify``: from a download to a checked manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class PrepareArgs:
    """Turn a benchmark's download into a CSV manifest with labels, splits, groups and events."""

    name: Annotated[str, tyro.conf.Positional]
    """A benchmark, as `sslam bench --list` names it."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The unpacked download."""

    out: Path | None = None
    """The manifest to write; by default NAME.csv beside the folder, where bench finds it."""


@dataclass
class VerifyArgs:
    """Compare shards with their checksums, or a benchmark's download with what it should hold."""

    name: Annotated[str, tyro.conf.Positional]
    """A folder of shards, or a benchmark, as `sslam bench --list` names it."""

    folder: Annotated[Path | None, tyro.conf.Positional] = None
    """Of a benchmark: the unpacked download, or a manifest made by prepare."""

    out: Path | None = None
    """Write every missing, unreadable or differing item to this CSV."""

    decode: bool = False
    """Read every file to its end, not its header alone."""


def run_prepare(args: PrepareArgs) -> int:
    """Write the manifest and say how many clips each split holds; 0."""
    from collections import Counter

    from sslam.benchmarks.registry import benchmark
    from sslam.data.manifest import write_manifest

    member = benchmark(args.name)
    named = member.list_clips(args.folder)
    clips = member.prepare(args.folder)
    # A set pooled from others is prepared from the data root itself.
    root = args.folder if member.ours else args.folder.resolve().parent
    out = args.out or root / f"{member.name}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(clips, out)
    splits = ", ".join(
        f"{n} {split}" for split, n in sorted(Counter(c.split for c in clips).items())
    )
    print(f"wrote {out}: {len(clips)} clips ({splits})")
    if len(clips) < len(named):
        print(
            f"left out {len(named) - len(clips)} clips whose files are missing; "
            f"`sslam data verify {member.name} {args.folder}` names them"
        )
    return 0


def _verify_shards(folder: Path) -> int:
    from sslam.data.pack import verify

    faults = verify(folder)
    for fault in faults:
        print(f"{fault.path}: {fault.reason}")
    print(f"{folder}: {len(faults)} shards are at fault" if faults else f"{folder}: all is well")
    return 1 if faults else 0


def run_verify(args: VerifyArgs) -> int:
    """Print what is expected and found; 0 when all is well, 1 when something differs."""
    if args.folder is None:
        return _verify_shards(Path(args.name))
    from rich.console import Console
    from rich.table import Table

    from sslam.benchmarks.registry import benchmark
    from sslam.benchmarks.verification import verify, write_findings
    from sslam.data.manifest import read_manifest

    member = benchmark(args.name)
    manifest = args.folder.suffix.lower() == ".csv"
    found = verify(member, read_manifest(args.folder) if manifest else args.folder, args.decode)
    table = Table("item", "expected", "found", "ok", title=member.title)
    for row in found.rows:
        table.add_row(row.item, row.expected, row.found, "yes" if row.ok else "NO")
    Console(highlight=False).print(table)
    if args.out is not None:
        write_findings(found, args.out)
        print(f"wrote {args.out}")
    return 0 if found.ok else 1
