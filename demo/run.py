"""Learn from real recordings, test what was learnt, and write a report: `make demo`.

A demo that was stopped goes on when it is run again; a finished one answers from its run folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from page import build_page
from pictures import make_example
from recordings import (
    choose_pair,
    make_soundscapes,
    read_recordings,
    write_training_manifest,
)
from results import gather_facts, show, write_results
from scores import ClipVectors, score_encoders

from sslam.errors import SslamError
from sslam.evaluation.encoders import ClipEncoder, LogmelStatistics
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.training.pretrain import pretrain
from sslam.training.recipe import Recipe
from sslam.training.recipe_files import load_recipe
from sslam.training.stopping import Ending, Limits
from sslam.training.task import new_bootstrap
from sslam.weights.native import load_folder

ROOT = Path(__file__).parents[1]
SCENES = (320, 160)  # to train and to test probes on
QUICK_SCENES, QUICK_CLIPS_A_CLASS = (34, 16), 3
QUICK = (
    "group_clips=4",
    "stages.stage1.steps=4",
    "stages.stage1.warmup_steps=1",
    "stages.stage2.steps=2",
    "stages.stage2.warmup_steps=1",
)
MADE = ("pretraining", "soundscapes", "features")


def demonstrate(out: Path, seed: int, quick: bool) -> None:
    """The demo from recordings to report."""
    began_s = time.monotonic()
    recipe = load_recipe("micro", [f"seed={seed}", *(QUICK if quick else ())])
    recordings = read_recordings(QUICK_CLIPS_A_CLASS if quick else None)

    manifest = write_training_manifest(recordings, out / "pretraining.csv")
    _say(f"1. Learn from real recordings, without labels: {recipe.steps} steps of two stages")
    run = out / "pretraining"
    pretrain_with_a_break(manifest, run, recipe)

    train, test = QUICK_SCENES if quick else SCENES
    _say(f"2. Mix labelled sounds into {train + test} soundscapes of 2 to 9 sounds each")
    soundscapes = make_soundscapes(recordings, out / "soundscapes", train, test, seed)

    encoders, cache = make_encoders(recipe, run), out / "features"
    _say("3. Probe single sounds: which one is it? (a linear classifier on frozen features)")
    single = score_encoders("Single sounds", encoders, recordings.events, cache, _say)
    _say("4. Probe soundscapes: which sounds are in it?")
    scenes = score_encoders("Soundscapes", encoders, soundscapes, cache, _say)

    show(single, scenes)
    facts = gather_facts(recipe, recordings, run)
    write_results(out / "results.json", single, scenes, facts)
    example = make_example(recipe, *choose_pair(recordings))
    page = build_page(single, scenes, example, run / "metrics.jsonl", facts)
    page.write(out / "report.html")
    _say(f"\n{out / 'report.html'} shows this in pictures ({time.monotonic() - began_s:.0f} s)")


def pretrain_with_a_break(manifest: Path, run: Path, recipe: Recipe) -> None:
    """Stop half-way through stage 1 and go on, to show that nothing is lost."""
    half = recipe.stages[0].steps // 2
    outcome = pretrain([manifest], run, recipe, Limits(steps=half))
    if outcome.ending is Ending.STEPS:
        outcome = pretrain([manifest], run, recipe)
    if outcome.signal is not None:
        sys.exit(128 + outcome.signal)


def make_encoders(recipe: Recipe, run: Path) -> dict[str, ClipEncoder]:
    """What the probes stand on; the random weights are those that training began with."""
    untrained = AudioModel(AudioModelConfig(encoder=recipe.model.encoder))
    untrained.encoder.load_state_dict(new_bootstrap(recipe).student.state_dict())
    stage1, stage2 = (load_folder(run / "stages" / stage.name) for stage in recipe.stages)
    return {
        "log-mel statistics": LogmelStatistics(),
        "random weights": ClipVectors(untrained),
        "after stage 1": ClipVectors(stage1),
        "after stage 2": ClipVectors(stage2),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="run folder; under runs/ when not given")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--quick", action="store_true", help="a few steps: shows that it runs")
    parser.add_argument("--fresh", action="store_true", help="throw away what an earlier run made")
    return parser.parse_args()


def _default_out(seed: int, quick: bool) -> Path:
    name = f"demo-quick-{seed}" if quick else "demo" if seed == 1 else f"demo-{seed}"
    return ROOT / "runs" / name


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Run the demo; 2 when something must be put right first."""
    args = _arguments()
    out = args.out or _default_out(args.seed, args.quick)
    try:
        if args.fresh:
            for name in MADE:
                shutil.rmtree(out / name, ignore_errors=True)
        demonstrate(out, args.seed, args.quick)
        if args.out is None:
            shutil.copyfile(out / "report.html", ROOT / "report.html")
    except SslamError as error:
        print(f"demo: {error} (or start anew with --fresh)", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
