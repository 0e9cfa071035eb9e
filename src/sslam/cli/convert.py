"""``sslam convert``: a checkpoint from one layout to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Args:
    """Turn a checkpoint into a model folder, a published hub folder, or a fairseq file.

    No code in a checkpoint is ever run.
    """

    checkpoint: Annotated[str, tyro.conf.Positional]
    """What to convert: a fairseq .pt, a .safetensors, a folder, a run, or a hub id."""

    out: Path
    """A new folder; model.safetensors and config.json, or checkpoint.pt for fairseq, go there."""

    layout: Literal["ours", "hub", "fairseq"] = "ours"
    """Our model folder, the layout of the published EAT/SSLAM folders, or fairseq's names."""

    teacher: bool = False
    """Keep decoder and teacher, to go on pre-training (ours and fairseq)."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""


def run(args: Args) -> int:
    """Write the folder and say what is in it; 0."""
    from dataclasses import replace

    from sslam.errors import InputError
    from sslam.weights.conversion import to_foreign
    from sslam.weights.fairseq import write_fairseq
    from sslam.weights.hub import write_published
    from sslam.weights.native import save_folder
    from sslam.weights.zoo import load_converted

    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f"{args.out} exists and is not an empty folder; give another --out")
    if args.teacher and args.layout == "hub":
        raise InputError("the published layout holds no teacher; give --layout ours or fairseq")
    found = load_converted(args.checkpoint, revision=args.revision)
    if args.teacher and found.pretraining is None:
        raise InputError(f"{args.checkpoint} holds no decoder and teacher; leave --teacher out")
    if not args.teacher:
        found = replace(found, pretraining=None)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.layout == "ours":
        save_folder(found.model, args.out, pretraining=found.pretraining)
    elif args.layout == "hub":
        write_published(to_foreign(found), args.out)
    else:
        write_fairseq(to_foreign(found), args.out / "checkpoint.pt")
    encoder, classes = found.model.config.encoder, len(found.model.config.labels)
    parts = [f"width {encoder.width}", f"depth {encoder.depth}", f"heads {encoder.heads}"]
    parts += [f"{classes} classes"] if classes else []
    parts += ["decoder and teacher"] if found.pretraining is not None else []
    print(f"{args.out}: {', '.join(parts)}")
    return 0
