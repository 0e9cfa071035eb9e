"""Recompute a folder of reference numbers with this package, and say how far off each one is.

    python tests/parity.py FOLDER

FOLDER holds an ``index.json`` that says which file plays which part; sizes come from its configs.
One line a check: name, deviation, tolerance. Exit status 1 when one is over, 2 when the folder
cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.parity_checks.checkpoints import checkpoint_checks, classifier_checks
from tests.parity_checks.features import encoder_checks, fbank_checks
from tests.parity_checks.folder import Check, Goldens
from tests.parity_checks.masks import mask_checks
from tests.parity_checks.method import ema_checks, stage_checks


def all_checks(goldens: Goldens) -> Iterator[Check]:
    """Every check that the folder has numbers for."""
    parts = {
        "fbank": fbank_checks,
        "encoder": encoder_checks,
        "pretrain": lambda g: (*stage_checks(g, 1), *stage_checks(g, 2), *ema_checks(g)),
        "masks": mask_checks,
        "classifier": classifier_checks,
        "checkpoints": checkpoint_checks,
    }
    for part, checks in parts.items():
        if part in goldens.index:
            yield from checks(goldens)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not (folder / "index.json").is_file():
        print(f"parity: {folder}/index.json: no such file", file=sys.stderr)
        return 2
    checks = list(all_checks(Goldens(folder)))
    for check in checks:
        print(check.line())
    over = sum(not check.holds for check in checks)
    print(f"{len(checks)} checks, {over} over their tolerance")
    return 1 if over or not checks else 0


if __name__ == "__main__":
    sys.exit(main())
