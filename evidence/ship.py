"""From a finished run to the model that ships: scores, classifier, float16 weights, card, credits.

    python evidence/ship.py RUN --audio AUDIO

Needs the manifests of `corpus.py`. Everything that takes long is kept under ``--work`` and found
again. Writes config.json, model.safetensors, README.md, ATTRIBUTION.md and curves.svg.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from card import NAME, read_story, write_card
from corpus import pretraining_rows, read_parts
from credits import attribution
from evaluate import evaluate, tested, write_scores
from sets import read_sets
from tag_head import SCENES, score_tagger, summary, tag_scenes, train_tag_head

from sslam.errors import InputError
from sslam.weights.native import load_folder, save_folder

MOST_BYTES = 25_000_000
MODELS = Path(__file__).parents[1] / "src" / "sslam" / "models"


@dataclass(frozen=True)
class Shipment:
    """Where everything is, and where it goes."""

    run: Path
    audio: Path
    manifests: Path = Path("runs/manifests")
    work: Path = Path("runs/ship")
    scores: Path = Path("runs/evidence")
    out: Path = MODELS / NAME
    scenes: dict[str, int] = field(default_factory=lambda: dict(SCENES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--manifests", type=Path, default=Path("runs/manifests"))
    parser.add_argument("--work", type=Path, default=Path("runs/ship"))
    parser.add_argument("--scores", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--out", type=Path, default=MODELS / NAME)
    arguments = parser.parse_args()
    print(ship(Shipment(**vars(arguments))))


def ship(shipment: Shipment) -> str:
    """Do all of it; a line about what was written.

    Raises:
        InputError: the run has no model, or the folder is larger than may ship.
    """
    if not (shipment.run / "model").is_dir():
        raise InputError(f"{shipment.run} has no model/ yet: let the run reach a checkpoint")
    rows = read_parts(shipment.audio)
    encoder = load_folder(shipment.run / "model")
    scenes = tag_scenes(rows, shipment.work / "scenes", shipment.scenes)
    head = train_tag_head(encoder, scenes, shipment.work / "features")
    save_folder(head.model, shipment.out, dtype=torch.float16)
    shipped = load_folder(shipment.out)  # what users get is what is measured
    tags = score_tagger(shipped, scenes, None)
    scores = evaluate(read_sets(shipment.manifests), tested([(NAME, shipped)]), shipment.scores)
    write_scores(scores, shipment.scores, NAME)
    facts = json.dumps(summary(head, tags), indent=1) + "\n"
    (shipment.scores / f"{NAME}-tags.json").write_text(facts, encoding="utf-8")
    write_card(shipped, read_story(shipment.run), scores, (head, tags), shipment.out)
    credits = attribution(pretraining_rows(rows), shipment.audio / "licences")
    (shipment.out / "ATTRIBUTION.md").write_text(credits, encoding="utf-8")
    size = sum(path.stat().st_size for path in shipment.out.iterdir())
    if size > MOST_BYTES:
        raise InputError(f"{shipment.out} is {size} bytes, more than {MOST_BYTES}")
    return f"{shipment.out}: {size / 1e6:.1f} MB, classifier {tags.metrics[0]}"


if __name__ == "__main__":
    main()
