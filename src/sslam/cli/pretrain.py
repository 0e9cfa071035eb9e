"""``sslam pretrain``: recordings and a recipe in, a run folder with a model out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sslam.cli.results import stopped_status

if TYPE_CHECKING:
    from sslam.model.audio_model import AudioModel
    from sslam.training.run import Watch


@dataclass(frozen=True)
class Args:
    """Pre-train a model on unlabelled recordings; again, to go on with a run that stopped."""

    clips: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders, audio files, or manifests (.csv, .tsv)."""

    out: Path
    """Run folder: checkpoints, model, metrics.jsonl, train.log, config.yaml."""

    recipe: str = "sslam-tiny"
    """Name of a recipe (`sslam recipes` lists them), or a .yaml file."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Change a key of the recipe, as in `--set stages.stage1.optimiser.lr=1e-4`; repeatable."""

    steps: int | None = None
    """Stop when the run has done this many steps overall."""

    minutes: float | None = None
    """Stop after this much wall time of this call."""

    init: str | None = None
    """Start from these weights: a run folder, a checkpoint of a run, or a model."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    workers: int | None = None
    """Processes that read audio; by default as many as the machine suggests."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: a copy of the networks on every process, or a slice (for large ones).

    Every process writes its slices: with fsdp all machines must share RUN.
    """

    timeout_s: float = 600.0
    """Under torchrun: how long to wait for the other processes before giving them up."""

    compile: bool = False
    """Have torch.compile compile the networks first; needs a C++ compiler or, on CUDA, Triton."""

    track: Annotated[
        tuple[Literal["tensorboard", "wandb", "trackio"], ...], tyro.conf.UseAppendAction
    ] = ()
    """Also send the figures of every step there; repeatable."""

    probe: Path | None = None
    """A manifest of labelled clips: how well their nearest neighbours name them, as a figure."""

    probe_every: int = 1000
    """Steps between two such figures."""


def run(args: Args) -> int:
    """Pre-train; 0 when finished or a limit was reached, 128 + n when signal n stopped the run."""
    from sslam.errors import InputError
    from sslam.training.pretrain import Place, pretrain
    from sslam.training.ranks import FollowedError
    from sslam.training.recipe_files import load_recipe
    from sslam.training.stopping import Limits

    if not args.clips:
        raise InputError("no recordings were given: name a folder, audio files or a manifest")
    for name, value in (
        ("steps", args.steps),
        ("minutes", args.minutes),
        ("timeout-s", args.timeout_s),
        ("probe-every", args.probe_every),
    ):
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value}: give a number above 0")
    try:
        outcome = pretrain(
            args.clips,
            args.out,
            load_recipe(args.recipe, args.set),
            Limits(args.steps, args.minutes),
            init=args.init,
            place=Place(args.device, args.workers, args.parallel, args.timeout_s, args.compile),
            watch=_watch(args),
        )
    except FollowedError as error:  # the process that it follows prints the reason
        return error.exit_code
    return stopped_status(outcome.signal)


def _watch(args: Args) -> Watch:
    from sslam.training.run import Watch

    if args.probe is None:
        return Watch(args.track)
    from sslam.data.manifest import read_manifest
    from sslam.evaluation.embed import clip_features
    from sslam.evaluation.encoders import ModelFeatures
    from sslam.evaluation.probe import knn_probe
    from sslam.evaluation.task import make_task

    clips = read_manifest(args.probe)
    make_task(clips)  # refuses labels that cannot be probed before the run begins

    def probe(model: AudioModel) -> dict[str, float]:
        features = clip_features(ModelFeatures(model), clips)
        result = knn_probe(features.vectors, make_task([clips[i] for i in features.kept]))
        return {f"knn_{result.metrics[0].name}": result.metrics[0].value}

    return Watch(args.track, probe, args.probe_every)
