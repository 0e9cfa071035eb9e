"""How much of both sources the features of a mixture keep, for every run of an ablation.

    python evidence/retention.py ABLATION

Two clips that no run has heard are mixed in full, by the maximum of their log-mels as in training.
Of the patches' vectors of a mixture and of its sources, each number standardised over all clips:

- ``likeness``: correlation between the mixture's patches and the mean of its two sources' patches,
  which is what the retention loss asks for;
- ``recall``: of the two sources, how many are among the TOP clips nearest to the mixture (cosine
  between means over patches), which a network cannot reach by making all clips alike.

Writes ABLATION/retention.csv, a line for each row: means over seeds with 95 % t intervals, and
differences from the reference row paired by seed.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from sets import manifest
from torch import Tensor

from sslam.ablation.suite import ANCHORS, UNTRAINED, Suite, load_suite
from sslam.ablation.summary import Estimate, estimate
from sslam.audio.io import read_audio
from sslam.data.manifest import Clip
from sslam.evaluation.encoders import untrained
from sslam.features.logmel import n_samples
from sslam.files import whole
from sslam.model.audio_model import AudioModel
from sslam.views.mixing import Windows, mix
from sslam.weights.native import load_folder

FRAMES = 208  # what the runs are trained on
TOP = 10
BATCH = 32
NOWHERE_ALONE = Windows(0, 0, 0)


@dataclass(frozen=True)
class Retention:
    """Both measures of one model."""

    likeness: float
    recall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ablation", type=Path)
    parser.add_argument("--suite", default="paper-small")
    parser.add_argument("--manifests", type=Path, default=Path("runs/manifests"))
    arguments = parser.parse_args()
    clips = [clip for clip in manifest(arguments.manifests, "esc50") if clip.split == "test"]
    waves = long_enough(clips)
    suite = load_suite(arguments.suite)
    found = {
        row: {seed: retention(model, waves) for seed, model in models.items()}
        for row, models in trained(suite, arguments.ablation)
    }
    lines = list(table(found, suite.reference))
    with (
        whole(arguments.ablation / "retention.csv") as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("row", "seeds", "measure", "mean", "half", "gain", "gain_half"))
        writer.writerows(lines)
    print(f"{len(waves)} clips")
    for row, seeds, measure, mean, half, gain, gain_half in lines:
        print(
            f"{row} ({seeds}) {measure} {mean:.2f} ± {half:.2f}, gain {gain:.2f} ± {gain_half:.2f}"
        )


def long_enough(clips: Sequence[Clip]) -> Tensor:
    """(n, S): the beginnings of the clips that fill a window of FRAMES."""
    samples = n_samples(FRAMES)
    waves = (torch.from_numpy(read_audio(clip.path)) for clip in clips)
    return torch.stack([wave[:samples] for wave in waves if len(wave) >= samples])


def trained(suite: Suite, folder: Path) -> Iterator[tuple[str, Mapping[int, AudioModel]]]:
    """The anchors, then every row, with the finished models by seed."""
    stage = suite.start_recipe().stages[-1].name
    start = load_folder(folder / "start" / "stages" / stage)
    for name in ANCHORS:
        seed = suite.first_seed
        yield name, {seed: untrained(start, seed) if name == UNTRAINED else start}
    for row in suite.rows:
        runs = sorted((folder / "runs" / row.name).glob("seed-*/scores.json"))
        yield (
            row.name,
            {int(p.parent.name.split("-")[1]): load_folder(p.parent / "model") for p in runs},
        )


def retention(model: AudioModel, waves: Tensor) -> Retention:
    """Both measures over (n, S) clips, each mixed with the one before."""
    model.eval()
    with torch.inference_mode():
        logmel = torch.cat([model.front_end(part).logmel for part in waves.split(BATCH)])
        alone, mixed = (_patches(model, each) for each in (logmel, mix(logmel, NOWHERE_ALONE, 1)))
    mean, scale = alone.mean(dim=(0, 1)), alone.std(dim=(0, 1)).clamp_min(1e-6)
    alone, mixed = (alone - mean) / scale, (mixed - mean) / scale
    return Retention(*(100 * measure(alone, mixed) for measure in (likeness, recall)))


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
    found: Mapping[str, Mapping[int, Retention]], reference: str
) -> Iterator[tuple[str, int, str, float, float, float, float]]:
    """A line for each row and measure."""
    nothing = Estimate(float("nan"), float("nan"), 0)
    for row, seeds in found.items():
        if not seeds:
            continue
        for measure in (field.name for field in fields(Retention)):
            values = {seed: asdict(each)[measure] for seed, each in seeds.items()}
            theirs = {seed: asdict(each)[measure] for seed, each in found[reference].items()}
            common = [] if row in (*ANCHORS, reference) else sorted(values.keys() & theirs.keys())
            score = estimate(list(values.values()))
            gain = estimate([values[s] - theirs[s] for s in common]) if common else nothing
            yield row, score.n, measure, score.mean, score.half, gain.mean, gain.half


def _patches(model: AudioModel, logmel: Tensor) -> Tensor:
    """(n, T, F) -> (n, N, D)."""
    return torch.cat([model.encoder(part).patches for part in logmel.split(BATCH)])


if __name__ == "__main__":
    main()
