"""Time of drawing masks: 16 a clip, in batches of 32 clips.

OMP_NUM_THREADS=1 python perf/masks.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.measure import Figure, cpu_ratio, in_turns

from sslam.features.grid import Grid
from sslam.model.config import EncoderConfig
from sslam.views.masking import MaskConfig, inverse_block_masks

CLIPS, MASKS, FRAMES = 32, 16, 1024
MOST_MS = 0.1


def plain_masks(config: MaskConfig, grid: Grid, count: int) -> Tensor:
    """The same masks as the published implementation draws them: each finished on its own."""
    centres = torch.randint(grid.patches, (count, config.blocks(grid)))
    kept = torch.zeros(count, grid.patches).scatter_(1, centres, 1).view(count, *grid)
    which, times, mels = kept.nonzero(as_tuple=True)
    half = config.block // 2
    for time in range(-half, config.block - half):
        for mel in range(-half, config.block - half):
            place = (times + time).clamp(0, grid.time - 1), (mels + mel).clamp(0, grid.mel - 1)
            kept[which, *place] = 1
    rows = kept.view(count, -1)
    for row in rows:
        over = int(row.sum()) - config.visible(grid)
        if over > 0:
            row[torch.multinomial(row, over)] = 0
        elif over < 0:
            row[torch.multinomial(1 - row, -over)] = 1
    return rows == 0


def figures(quick: bool) -> list[Figure]:
    """Milliseconds of processor time for the masks of a clip, and the ratio to plain."""
    grid = EncoderConfig().grid(FRAMES)
    rng = torch.Generator().manual_seed(0)
    config, threads = MaskConfig(), torch.get_num_threads()
    torch.set_num_threads(1)
    times = in_turns(
        {
            "plain": lambda: [plain_masks(config, grid, MASKS) for _ in range(CLIPS)],
            "ours": lambda: inverse_block_masks(config, grid, CLIPS * MASKS, rng),
        },
        turns=11 if quick else 51,
    )
    torch.set_num_threads(threads)
    of_clip_ms, plain_ms = (1e3 * times[name].cpu / CLIPS for name in ("ours", "plain"))
    name = f"{MASKS} masks of a clip"
    return [
        Figure(name, of_clip_ms, "ms", at_most=MOST_MS, more_is_better=False),
        Figure(f"{name}: plain", plain_ms, "ms", more_is_better=False),
        Figure(f"{name}: times plain's rate", cpu_ratio(*times.values()), "x", at_least=20),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    for figure in figures(parser.parse_args().quick):
        print(figure.line())


if __name__ == "__main__":
    main()
