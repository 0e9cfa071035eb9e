"""Copy what the test suite needs of a folder of reference numbers.

    python -m tests.parity_checks.compact FOLDER OUT

Position tables are rebuilt, and what other numbers of the folder imply is left out.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

LEFT_OUT = (
    "fixed_positional_encoder.positions",
    "dec_out_rows",
    "mix_source",
    "y_orig_patch_row",
    "targets",
    "block1_",
    "_512",
)
COPIED = ("encoder_cfg.json", "stage1.json", "stage2.json", "ema.json", "masks.json", "masks.npz")
THINNED = (
    "encoder.safetensors",
    "encoder_out.safetensors",
    "teacher.safetensors",
    "pretrain_batch.safetensors",
    "stage1.safetensors",
    "stage2.safetensors",
    "ema.safetensors",
)
WAVES = ("chirp", "silence", "short")


def main(folder: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(folder / name, out / name)
    for name in THINNED:
        tensors = load_file(folder / name)
        kept = {n: t for n, t in tensors.items() if not any(part in n for part in LEFT_OUT)}
        save_file(kept, out / name)
    arrays = np.load(folder / "fbank.npz")
    kept = {n: arrays[n] for n in arrays.files if n.startswith(WAVES) and "norm" not in n}
    np.savez_compressed(out / "fbank.npz", **kept)
    index = json.loads((folder / "index.json").read_text())
    for part in ("classifier", "checkpoints"):  # carried with the tests of checkpoints
        index.pop(part, None)
    (out / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
