"""How much of both sources the features of a mixture keep, for every run of an ablation.

    python evidence/retention.py ABLATION [--scenes] [--rows ROW ...]

Two clips that no run has heard are mixed in full, by the maximum of their log-mels as in training.
Of the patches' vectors of a mixture and of its sources, each number standardised over all clips:

- ``likeness``: correlation between the mixture's patches and the mean of its two sources' patches,
  which is what the retention loss asks for;
- ``recall``: of the two sources, how many are among the TOP clips nearest to the mixture (cosine
  between means over patches), which a network cannot reach by making all clips alike;
- with ``--scenes``, which takes a minute a run: ``scenes``, the mAP of mixed scenes with a wide
  vector and the loss that suits it (``bands``, least squares), and that of each bin of degrees.

Writes ABLATION/retention.csv, a line for each row: means over seeds with 95 % t intervals, and
differences from the reference row paired by seed. All in per cent.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from sets import manifest
from torch import Tensor

from sslam.ablation.score import score_parts
from sslam.ablation.suite import ANCHORS, UNTRAINED, Suite, load_suite
from sslam.ablation.summary import Estimate, estimate, paired
from sslam.audio.io import read_audio
from sslam.data.manifest import Clip
from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import ModelFeatures, untrained
from sslam.evaluation.probe import linear_probe
from sslam.evaluation.task import make_task
from sslam.features.logmel import n_samples
from sslam.files import whole
from sslam.model.audio_model import AudioModel
from sslam.views.mixing import Windows, mix
from sslam.weights.native import load_folder

TOP = 10
BATCH = 32
NOWHERE_ALONE = Windows(0, 0, 0)
Measures = Mapping[str, float]
"""Figures of one model by name, in per cent."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ablation", type=Path)
    parser.add_argument("--suite", default="paper-small")
    parser.add_argument("--manifests", type=Path, default=Path("runs/manifests"))
    parser.add_argument("--rows", nargs="*", default=[], help="all by default")
    parser.add_argument("--scenes", action="store_true")
    arguments = parser.parse_args()
    clips = [clip for clip in manifest(arguments.manifests, "esc50") if clip.split == "test"]
    scenes = manifest(arguments.manifests, "soundscapes") if arguments.scenes else ()
    suite = load_suite(arguments.suite)
    waves = long_enough(clips, suite.start_recipe().data.frames)
    found = {
        row: {
            seed: {**retention(model, waves), **(scene_scores(model, scenes) if scenes else {})}
            for seed, model in models.items()
        }
        for row, models in trained(suite, arguments.ablation, arguments.rows)
    }
    lines = list(table(found, suite.reference))
    write(lines, arguments.ablation / "retention.csv")
    print(f"{len(waves)} clips")
    for row, seeds, measure, score, gain in lines:
        against = "" if gain is None else f", {gain} against {suite.reference}"
        print(f"{row} ({seeds}) {measure}: {score}{against}")


def long_enough(clips: Sequence[Clip], frames: int) -> Tensor:
    """(n, S): the beginnings of the clips that fill a window of ``frames``."""
    samples = n_samples(frames)
    waves = (torch.from_numpy(read_audio(clip.path)) for clip in clips)
    return torch.stack([wave[:samples] for wave in waves if len(wave) >= samples])


def trained(
    suite: Suite, folder: Path, wanted: Sequence[str]
) -> Iterator[tuple[str, Mapping[int, AudioModel]]]:
    """The anchors, then every row, with the finished models by seed; ``wanted`` alone if given."""
    stage = suite.start_recipe().stages[-1].name
    start = load_folder(folder / "start" / "stages" / stage)
    for name in [*ANCHORS, *(row.name for row in suite.rows)]:
        if wanted and name not in wanted:
            continue
        if name in ANCHORS:
            seed = suite.first_seed
            yield name, {seed: untrained(start, seed) if name == UNTRAINED else start}
            continue
        runs = sorted((folder / "runs" / name).glob("seed-*/scores.json"))
        yield (
            name,
            {int(p.parent.name.split("-")[1]): load_folder(p.parent / "model") for p in runs},
        )


def retention(model: AudioModel, waves: Tensor) -> Measures:
    """``likeness`` and ``recall`` over (n, S) clips, each mixed with the one before."""
    model.eval()
    with torch.inference_mode():
        logmel = torch.cat([model.front_end(part).logmel for part in waves.split(BATCH)])
        alone, mixed = (_patches(model, each) for each in (logmel, mix(logmel, NOWHERE_ALONE, 1)))
    mean, scale = alone.mean(dim=(0, 1)), alone.std(dim=(0, 1)).clamp_min(1e-6)
    alone, mixed = (alone - mean) / scale, (mixed - mean) / scale
    return {measure.__name__: 100 * measure(alone, mixed) for measure in (likeness, recall)}


def scene_scores(model: AudioModel, scenes: Sequence[Clip]) -> Measures:
    """mAP over all test scenes, and over those of each bin of degrees."""
    features = clip_features(ModelFeatures(model, "bands"), scenes)
    task = make_task([scenes[index] for index in features.kept.tolist()])
    found = linear_probe(features.vectors, task, losses=("squared",))
    parts = score_parts("scenes", "bands", task, found.scores)
    return {f"{each.set} {each.part}".strip(): each.value for each in parts}


def likeness(alone: Tensor, mixed: Tensor) -> float:
    """Correlation of (n, N, D) mixtures with the mean of their sources."""
    both = (alone + alone.roll(1, dims=0)) / 2
    return float(torch.corrcoef(torch.stack([mixed.flatten(), both.flatten()]))[0, 1])


def recall(alone: Tensor, mixed: Tensor) -> float:
    """The share of sources among the TOP clips nearest to each of (n, N, D) mixtures."""
    clips, heard = (torch.nn.functional.normalize(x.mean(dim=1), dim=1) for x in (alone, mixed))
    nearest = (heard @ clips.T).topk(TOP, dim=1).indices
    host = torch.arange(len(clips))
    sources = torch.stack([host, host.roll(1)], dim=1)
    return float((nearest[:, None, :] == sources[:, :, None]).any(dim=2).double().mean())


def table(
    found: Mapping[str, Mapping[int, Measures]], reference: str
) -> Iterator[tuple[str, int, str, Estimate, Estimate | None]]:
    """Row, seeds, measure, its estimate, and that of its difference from the reference."""
    theirs = found.get(reference, {})
    for row, seeds in found.items():
        for measure in next(iter(seeds.values()), ()):
            ours, others = (
                {seed: each[measure] for seed, each in one.items()} for one in (seeds, theirs)
            )
            gain = None if row in (*ANCHORS, reference) else paired(ours, others)
            score = estimate(list(ours.values()))
            yield row, score.n, measure, score, gain


def write(lines: Sequence[tuple[str, int, str, Estimate, Estimate | None]], path: Path) -> None:
    """As CSV; half the width of an interval is in the column after its mean."""
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "seeds", "measure", "mean", "half", "gain", "gain_half"))
        for row, seeds, measure, score, gain in lines:
            differs = ("", "") if gain is None else (gain.mean, gain.half)
            writer.writerow((row, seeds, measure, score.mean, score.half, *differs))


def _patches(model: AudioModel, logmel: Tensor) -> Tensor:
    """(n, T, F) -> (n, N, D)."""
    return torch.cat([model.encoder(part).patches for part in logmel.split(BATCH)])


if __name__ == "__main__":
    main()
