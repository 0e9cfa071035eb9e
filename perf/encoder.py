"""The encoder from log-mels to clip embeddings, beside the plain one and the machine's limit.

python perf/encoder.py [--quick] [--sizes base tiny] [--batch 4]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.flops import clip_token_flops
from perf.machine import MATMUL_SIDE
from perf.measure import Figure, cpu_ratio, in_turns, ratio
from perf.plain import PlainEncoder

from sslam.model.config import SIZES
from sslam.model.encoder import Encoder

FRAMES = 1024
LEAST_SHARE = {"base": 85.0}  # % of the matrix product's rate


def figures(quick: bool, sizes: tuple[str, ...] = ("base", "tiny"), batch: int = 4) -> list[Figure]:
    """The figures of each size."""
    return [figure for size in sizes for figure in size_figures(size, batch, 2 if quick else 9)]


@torch.inference_mode()
def size_figures(size: str, batch: int, turns: int) -> list[Figure]:
    """Clips a second, the share of the matrix product's rate, and the ratio to plain."""
    torch.manual_seed(0)
    config = SIZES[size].encoder
    ours, plain = Encoder(config).eval(), PlainEncoder(config).eval()
    plain.load_state_dict(ours.state_dict())
    logmel = torch.randn(batch, FRAMES, config.n_mels)
    left, right = torch.rand(2, MATMUL_SIDE, MATMUL_SIDE)
    work = {
        "plain": lambda: plain(logmel)[:, 0],
        "ours": lambda: ours.clip_token(logmel),
        "product": lambda: left @ right,
    }
    times = in_turns(work, turns)
    limit = 2 * MATMUL_SIDE**3 / times["product"].wall
    useful = clip_token_flops(config, batch, FRAMES) / times["ours"].wall
    faster = ratio(times["plain"], times["ours"])
    name = f"encoder {size}, batch {batch}"
    return [
        Figure(f"{name}: rate", batch / times["ours"].wall, "clips/s"),
        Figure(f"{name}: useful arithmetic", useful / 1e9, "GFLOP/s"),
        Figure(
            f"{name}: share of the matrix product's rate",
            100 * useful / limit,
            "%",
            at_least=LEAST_SHARE.get(size),
        ),
        Figure(
            f"{name}: times plain's rate",
            faster,
            "x",
            at_least=1.3,
            note=f"processor time {cpu_ratio(times['plain'], times['ours']):.2f}",
            bound=f"at the matrix product's rate it would be {faster * limit / useful:.2f}",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base", "tiny"])
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    for figure in figures(args.quick, tuple(args.sizes), args.batch):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
