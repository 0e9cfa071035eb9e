"""``sslam export``: a model as one file for other runtimes, checked before it is called done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FEW_CLIPS = 16


@dataclass(frozen=True)
class Args:
    """Export a model, front end included: waveforms in, vectors and class scores out."""

    model: str
    """A model: a name, a folder, a checkpoint, or an id on the hub."""

    out: Path
    """The file to write; with --int8, the smaller one is written beside it as NAME.int8.onnx."""

    format: Literal["onnx"] = "onnx"
    """ONNX: inputs `wave` (batch, length) and `samples` (batch)."""

    int8: bool = False
    """Also write the graph with 8-bit weights, and say how alike its vectors are and how fast."""

    check: tuple[Path, ...] = ()
    """Recordings to compare the 8-bit graph on (files or folders); synthetic sounds by default."""

    revision: str | None = None
    """A branch, tag or commit, for an id on the hub."""


def run(args: Args) -> int:
    """Write the file or files, and print what the checks found."""
    from sslam.errors import InputError
    from sslam.integrations.int8 import compare, quantize_int8
    from sslam.integrations.onnx import export_onnx
    from sslam.weights.zoo import load_model

    if args.out.is_dir():
        raise InputError(f"{args.out} is a folder: give the name of a file, such as model.onnx")
    if args.check and not args.int8:
        raise InputError("--check compares the 8-bit graph: add --int8, or leave it out")
    model = load_model(args.model, revision=args.revision)
    exported = export_onnx(model, args.out)
    print(
        f"{exported.path}: {exported.megabytes:.1f} MB; largest difference from torch "
        f"{exported.deviation:.1e}"
    )
    if args.int8:
        target = args.out.with_suffix(f".int8{args.out.suffix}")
        quantize_int8(exported.path, target)
        found = compare(
            exported.path, target, _waves(args.check, model.config.window_s), model.config.window_s
        )
        print(
            f"{target}: {found.size:.0%} of the size, {found.speed:.2f} times as fast on one "
            f"thread; cosine of clip vectors {found.mean_cosine:.4f} on average, "
            f"{found.lowest_cosine:.4f} at least"
        )
    return 0


def _waves(paths: tuple[Path, ...], window_s: float) -> list:  # type: ignore[type-arg]
    from sslam.audio.io import find_audio, read_audio
    from sslam.integrations.int8 import sounds

    files = [file for path in paths for file in (find_audio(path) if path.is_dir() else [path])]
    if not files:
        return sounds(window_s)
    return [read_audio(file, 0.0, window_s) for file in files]
