"""Pre-training from recordings and a recipe to a run folder; the same call again goes on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from sslam.data.crops import ClipCrops, CropPlan, Measured, PackedCrops, measure_durations
from sslam.data.sources import load_clips
from sslam.errors import InputError
from sslam.training.device import choices
from sslam.training.distributed import joined, own_device
from sslam.training.log import RunLog, Silence
from sslam.training.parallel import Way
from sslam.training.ranks import Ranks
from sslam.training.recipe import Recipe
from sslam.training.run import Outcome, Run, Watch
from sslam.training.run_folder import Corpus, RunFolder, describe_corpus
from sslam.training.stopping import Limits, Signals
from sslam.training.task import Pretraining


@dataclass(frozen=True)
class Place:
    """Where and how a run computes; nothing of it changes what the run learns.

    Attributes:
        device: ``auto`` takes CUDA where there is a GPU, else the CPU.
        workers: processes that read audio, for each process of the run; None chooses.
        way: how the networks lie on the processes that torchrun started, if it did.
        timeout_s: how long a process waits for the others before it takes them for lost.
        compiled: torch.compile compiles the blocks of the networks before they are used.
    """

    device: str = "auto"
    workers: int | None = None
    way: Way = "ddp"
    timeout_s: float = 600.0
    compiled: bool = False


def pretrain(
    source: Sequence[Path],
    out: Path,
    recipe: Recipe,
    limits: Limits | None = None,
    init: str | None = None,
    place: Place = Place(),
    watch: Watch = Watch(),  # noqa: B008 (frozen)
) -> Outcome:
    """Pre-train on the recordings of ``source`` by ``recipe``, in the run folder ``out``.

    A run that stopped for any reason goes on where its newest checkpoint is, and then gives the
    same losses, to the last bit on one machine and in one process, as one that never stopped.

    Under torchrun every process calls this with the same arguments and shares the groups of a
    step. Only the first one needs to see ``out``; where each holds a slice of the networks, all do.

    Args:
        source: folders, audio files or manifests.
        out: the run folder, which will hold checkpoints/, stages/, model/, metrics.jsonl,
            train.log and config.yaml.
        recipe: what to do.
        limits: bounds of this call.
        init: a run folder, a checkpoint of a run or a model to start from.
        place: devices and processes.
        watch: who else looks at the run.

    Raises:
        InputError, RecipeError, CheckpointError, CollapseError, DivergedError, RankLostError: one
            line that says what to do.
        FollowedError: another process of the run raised one of these.
    """
    limits = limits or Limits()
    device = own_device(pick_device(place.device))
    with joined(device, place.timeout_s) as ranks, ExitStack() as stack:
        measured, plan = ranks.together(lambda: _read_corpus(source, recipe, ranks))
        corpus = describe_corpus(source, measured)
        _require_one_corpus(ranks, corpus)
        folder = RunFolder(out)
        ranks.lead(lambda: stack.enter_context(folder.locked()))
        run = ranks.lead(lambda: folder.claim(recipe, corpus, init)) or ""
        bound = recipe.steps if limits.steps is None else min(recipe.steps, limits.steps)
        log = stack.enter_context(RunLog(out, bound)) if ranks.leads else Silence()
        for skipped in measured.skipped:
            log.say(f"left out {skipped.path}: {skipped.reason}")
        signals = stack.enter_context(Signals())
        for choice in choices(device, place.compiled).lines():
            log.note(choice)
        task = Pretraining(
            recipe, plan, device, log.say, ranks, place.workers, place.way, place.compiled
        )
        return Run(run, folder, task, log, watch).go(limits, signals, init)


def _read_corpus(source: Sequence[Path], recipe: Recipe, ranks: Ranks) -> tuple[Measured, CropPlan]:
    ranks.own_groups(recipe.groups)  # refuses a number of processes that does not fit
    measured = measure_durations(load_clips(list(source)))
    return measured, crop_plan(recipe, measured)


def _require_one_corpus(ranks: Ranks, corpus: Corpus) -> None:
    """Check that all processes found the same recordings.

    Raises:
        InputError: naming the first that did not.
    """
    found = ranks.gather((corpus.clips, corpus.digest))
    for rank, (clips, digest) in enumerate(found):
        if digest != found[0][1]:
            raise InputError(
                f"rank {rank} finds {clips} clips where rank 0 finds {found[0][0]}, or others: "
                "give every machine the same recordings"
            )


def crop_plan(recipe: Recipe, measured: Measured) -> CropPlan:
    """The training samples that a recipe makes of clips.

    Raises:
        InputError: too little sound.
    """
    kind = PackedCrops if recipe.data.crops == "packed" else ClipCrops
    plan = kind(measured.clips, measured.durations_s, recipe.data.seconds, recipe.seed)
    if len(plan) < 2 and any(stage.objective.sees_mixed for stage in recipe.stages):
        raise InputError(
            f"mixing needs at least 2 crops of {recipe.data.seconds:g} s, and the recordings "
            "give 1: give more recordings or a smaller data.frames"
        )
    return plan


def pick_device(name: str) -> torch.device:
    """The device ``name`` means.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name} cannot be used here: {reason}") from error
    return device
