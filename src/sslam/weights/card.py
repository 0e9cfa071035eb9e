"""The page that goes with a published model: what it is, what it heard, how well it does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from sslam.errors import InputError
from sslam.model.audio_model import AudioModelConfig

LIBRARY = "sslam"
_LISTED_CLASSES = 30  # more than these fold away


@dataclass(frozen=True)
class Score:
    """One result of the model."""

    dataset: str  # "ESC-50"
    metric: str  # "accuracy", "mAP"
    value: float
    task: str = "audio-classification"  # the hub's name for the kind of task
    split: str = ""
    note: str = ""  # how it was measured: "linear probe, 5 folds"


@dataclass(frozen=True)
class CardFacts:
    """What only the publisher of a model knows."""

    name: str = ""  # as people load it: the id on the hub
    licence: str | None = None  # the hub's name for it, such as "mit" or "cc-by-4.0"
    data: str = ""  # in words: which recordings it learned from
    datasets: tuple[str, ...] = ()  # ids of data sets on the hub
    scores: tuple[Score, ...] = ()
    notes: str = ""  # limits and warnings, in words


def model_card(config: AudioModelConfig, facts: CardFacts, parameters: int | None = None) -> str:
    """A README.md with the front matter that the hub reads.

    Args:
        config: sizes, front end, classes and training facts, as saved with the model.
        parameters: number of weights.

    Raises:
        InputError: a score that is not a finite number.
    """
    for score in facts.scores:
        if not abs(score.value) < float("inf"):
            raise InputError(f"the score on {score.dataset} is {score.value}: give a finite number")
    matter = yaml.safe_dump(_front_matter(config, facts), sort_keys=False, allow_unicode=True)
    sections = [
        f"# {facts.name or 'An audio model'}",
        _introduction(config),
        _use(config, facts),
        _architecture(config, parameters),
        _training(config, facts),
        _scores(facts),
        _classes(config),
        f"## Limits\n\n{facts.notes}" if facts.notes else "",
        f"## Licence\n\n{facts.licence or 'Not stated by the publisher.'}",
    ]
    return f"---\n{matter}---\n\n" + "\n\n".join(part for part in sections if part) + "\n"


def _front_matter(config: AudioModelConfig, facts: CardFacts) -> dict[str, object]:
    matter: dict[str, object] = {
        "license": facts.licence,
        "library_name": LIBRARY,
        "pipeline_tag": "audio-classification" if config.labels else "feature-extraction",
        "tags": ["audio", "self-supervised", "embeddings", LIBRARY],
        "datasets": list(facts.datasets),
    }
    if facts.scores:
        results = [_result(score) for score in facts.scores]
        matter["model-index"] = [{"name": facts.name or LIBRARY, "results": results}]
    return {key: value for key, value in matter.items() if value}


def _result(score: Score) -> dict[str, object]:
    dataset = {"name": score.dataset, "type": _slug(score.dataset)}
    if score.split:
        dataset["split"] = score.split
    name = f"{score.metric} ({score.note})" if score.note else score.metric
    metric = {"type": _slug(score.metric), "name": name, "value": float(score.value)}
    return {"task": {"type": score.task}, "dataset": dataset, "metrics": [metric]}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _introduction(config: AudioModelConfig) -> str:
    lines = [
        "An encoder of sound, trained without labels to keep apart the several sources that a "
        "recording holds. It turns audio of any length into one vector for the clip and one for "
        f"every {config.encoder.patch * 10} ms."
    ]
    if config.labels:
        lines.append(f"A classifier on top names {len(config.labels)} classes of sound.")
    return " ".join(lines)


def _use(config: AudioModelConfig, facts: CardFacts) -> str:
    name = facts.name or "path/to/this/folder"
    code = ["import sslam", "", f'model = sslam.load_model("{name}")']
    code.append('vectors = model.embed("street.wav")  # .clip, .frames, .times_s')
    if config.labels:
        code.append('tags = model.tag("street.wav")')
    return "## Use\n\n```python\n" + "\n".join(code) + "\n```"


def _architecture(config: AudioModelConfig, parameters: int | None) -> str:
    encoder, front_end = config.encoder, config.front_end
    rows = [
        ("width × depth × heads", f"{encoder.width} × {encoder.depth} × {encoder.heads}"),
        ("patch", f"{encoder.patch} frames × {encoder.patch} mel bins"),
        ("input", f"mono audio at 16 kHz, log-mel of {encoder.n_mels} bins every 10 ms"),
        ("normalisation", f"mean {front_end.mean:g}, standard deviation {front_end.std:g}"),
        ("clip vector", config.pooling),
    ]
    if parameters is not None:
        rows.insert(0, ("parameters", f"{parameters / 1e6:.1f} million"))
    return "## Architecture\n\n" + _table(("", ""), rows)


def _training(config: AudioModelConfig, facts: CardFacts) -> str:
    words = facts.data or "The publisher does not say which recordings it learned from."
    rows = [(key.replace("_", " "), _cell(value)) for key, value in config.training.items()]
    known = f"\n\n{_table(('fact', 'value'), rows)}" if rows else ""
    return f"## Training\n\n{words}{known}"


def _scores(facts: CardFacts) -> str:
    if not facts.scores:
        return ""
    rows = [(s.dataset, s.split, s.metric, f"{s.value:g}", s.note) for s in facts.scores]
    return "## Scores\n\n" + _table(("data set", "split", "metric", "value", "how"), rows)


def _classes(config: AudioModelConfig) -> str:
    if not config.labels:
        return ""
    kind = "exactly one" if config.single_label else "any number"
    names = ", ".join(_escaped(label) for label in config.labels)
    if len(config.labels) > _LISTED_CLASSES:
        names = f"<details><summary>all of them</summary>\n\n{names}\n\n</details>"
    return f"## Classes\n\n{len(config.labels)}, of which {kind} holds for a clip.\n\n{names}"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *(tuple(map(_escaped, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """Nothing in a label or a fact may close a cell or start a tag."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
