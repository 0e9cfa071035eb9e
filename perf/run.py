"""All measurements of speed and memory, their targets, and what changed since another run.

    python perf/run.py [--quick] [--against perf/RESULTS.json] [--only masks step] [--threads 2]

Writes perf/RESULTS.md and perf/RESULTS.json (elsewhere with --out). A figure that is more than 10 %
worse than in --against is named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.measure import ROOT, Figure

from perf import machine

SUBJECTS = ("masks", "frontend", "encoder", "step", "int8", "loading", "embed", "probe")
PRINTED = {  # scripts whose output is quoted, with the options that make them quick
    "data": ("--clips", "60", "--entries", "200000", "--turns", "1"),
}
WORSE = 1.10


@dataclass(frozen=True)
class Section:
    """A subject's figures, or what its script printed."""

    subject: str
    figures: tuple[Figure, ...]
    printed: str
    seconds: float


def measured(subject: str, quick: bool) -> Section:
    """Run a subject in this process."""
    began_s = time.perf_counter()
    print(f"\n{subject}", flush=True)
    if subject == "machine":
        figures = machine.measure().figures()
    else:
        figures = importlib.import_module(f"perf.{subject}").figures(quick)
    for figure in figures:
        print(figure.line(), flush=True)
    return Section(subject, tuple(figures), "", time.perf_counter() - began_s)


def quoted(subject: str, options: Iterable[str]) -> Section:
    """Run a subject's script and keep what it prints."""
    began_s = time.perf_counter()
    command = [sys.executable, str(ROOT / "perf" / f"{subject}.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    printed = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    print(f"\n{subject}\n{printed}", flush=True)
    return Section(subject, (), printed, time.perf_counter() - began_s)


def worse(old: dict[str, float], figures: Iterable[Figure]) -> list[str]:
    """A line for each figure with a better or worse side that lost more than a tenth."""
    lines = []
    for figure in figures:
        before = old.get(figure.name)
        if not before or not figure.value:
            continue
        change = before / figure.value if figure.more_is_better else figure.value / before
        if change > WORSE:
            lines.append(
                f"worse: {figure.name}: {before:.4g} -> {figure.value:.4g} {figure.unit} "
                f"({100 * (change - 1):.0f} %)"
            )
    return lines


def report(sections: list[Section], about: str, took_s: float) -> str:
    """The page of results."""
    lines = ["# Speed and memory", "", f"{about}. `python perf/run.py` took {took_s:.0f} s.", ""]
    targets = [f for s in sections for f in s.figures if f.target]
    met = sum(f.verdict == "met" for f in targets)
    lines += [f"{met} of {len(targets)} targets met.", ""]
    for section in sections:
        lines += [f"## {section.subject}", ""]
        if section.printed:
            lines += ["```", section.printed, "```", ""]
            continue
        lines += ["| figure | value | | target | | |", "|---|---:|---|---|---|---|"]
        lines += [
            f"| {f.name} | {f.value:.4g} | {f.unit} | {f.target} | {f.verdict} | {f.remark} |"
            for f in section.figures
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="within 10 minutes on two cores")
    parser.add_argument("--against", type=Path, help="RESULTS.json of another run")
    parser.add_argument("--only", nargs="+", choices=(*SUBJECTS, *PRINTED), help="some subjects")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "perf", help="folder of the results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # of the processes started from here
    old = json.loads(args.against.read_text())["values"] if args.against else {}

    began_s = time.perf_counter()
    about = machine.description()
    print(about)
    wanted = args.only or (*SUBJECTS, *PRINTED)
    sections = [
        measured(s, args.quick) for s in ("machine", *SUBJECTS) if s in (*wanted, "machine")
    ]
    present = (s for s in PRINTED if s in wanted and (ROOT / "perf" / f"{s}.py").is_file())
    sections += [quoted(s, PRINTED[s] if args.quick else ()) for s in present]

    figures = [figure for section in sections for figure in section.figures]
    took_s = time.perf_counter() - began_s
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "RESULTS.md").write_text(report(sections, about, took_s))
    results = {
        "machine": about,
        "values": {figure.name: figure.value for figure in figures},
        "figures": [figure.record() for figure in figures],
    }
    (args.out / "RESULTS.json").write_text(json.dumps(results, indent=1) + "\n")

    print(f"\ntargets ({took_s:.0f} s)")
    for figure in figures:
        if figure.target:
            print(figure.line())
    lines = worse(old, figures)
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
