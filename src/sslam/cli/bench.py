"""``sslam bench``: run the benchmarks whose data is here, beside the published scores."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sslam.benchmarks.benchmark import Benchmark
    from sslam.benchmarks.evaluate import ProbeEvaluation
    from sslam.benchmarks.published import Protocol
    from sslam.benchmarks.suite import Evaluate, Predictions, SuiteResult
    from sslam.data.manifest import Clip
    from sslam.evaluation.encoders import ClipEncoder

PLAIN_WIDTH = 240


@dataclass
class Args:
    """Score models on a suite of benchmarks, by a probe or a fine-tuning; --list shows the sets."""

    model: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A model: a name, a folder, or a checkpoint. Repeat it to compare models."""

    backbone: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Another encoder, scored by the probe: a model of transformers (AST, wav2vec2, data2vec-audio;
    a folder or a hub id), or module:Class in X-ARES's form. Repeatable."""

    protocol: Literal["probe", "finetune", "linear-paper"] = "probe"
    """A probe on frozen features computed once; the paper's fine-tuning; or its linear evaluation,
    with augmentation through the frozen encoder. The last two need --out, where they can go on."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With finetune or linear-paper: change a key of every recipe, as in `--set steps=1000`."""

    suite: str = "paper"
    """mono, polyphony, paper, the name of one benchmark, or a .yaml file."""

    data: Path | None = None
    """Folder that holds the data sets; otherwise the one that SSLAM_DATA names."""

    out: Path | None = None
    """Folder for table.csv, report.html and the cached features."""

    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Name every benchmark and whether its data is here; runs nothing."""

    baseline: Literal["logmel", "logmel-segments"] | None = None
    """Score log-mel statistics too, as the floor to beat."""

    probe: Literal["linear", "knn"] = "linear"
    """Logistic regression or nearest neighbours."""

    pooling: Literal["cls", "mean", "statistics"] | None = None
    """A model's clip vector: CLS token or mean of patches, by default its own choice; a backbone's
    is its mean."""

    batch: int = 32
    """Clips encoded at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    seed: int = 0
    """Of the validation folds and the bootstrap."""


def run(args: Args) -> int:
    """List, or run and print the table; 0 when every benchmark that is here was scored."""
    from sslam.benchmarks.presence import data_root
    from sslam.benchmarks.suite import run_suite, suite
    from sslam.errors import InputError

    root = data_root(args.data)
    if args.list:
        return _list(root)
    which = suite(args.suite)
    _check(args)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    published: Protocol = "fine-tune" if args.protocol == "finetune" else "linear"
    result = run_suite(which, root, _models(args), published, seed=args.seed, label=_label(args))
    _show(result)
    if args.out is not None:
        _write(result, args.out)
    if not result.results and not result.failures:
        raise InputError(
            f"no benchmark of suite {which.name} is here; sslam bench --list says how to get them"
        )
    return 1 if result.failures else 0


def _label(args: Args) -> str:
    """What tables call the way of scoring: our probe is not the paper's linear evaluation."""
    if args.protocol == "probe":
        return {"linear": "linear probe", "knn": "k-NN probe"}[args.probe]
    return {"finetune": "fine-tune", "linear-paper": "paper's linear"}[args.protocol]


def _check(args: Args) -> None:
    """Refuse what does not go together."""
    from sslam.errors import InputError

    if not args.model and not args.backbone and args.baseline is None:
        raise InputError(
            "nothing to score: give --model M, --backbone B, --baseline logmel, or --list"
        )
    names = (*args.model, *args.backbone)
    if len(set(names)) < len(names):
        raise InputError(f"a model is given twice: {', '.join(names)}")
    if args.protocol == "probe":
        if args.set:
            raise InputError("--set changes recipes, which a probe has not: give --protocol too")
        return
    if args.out is None:
        raise InputError(f"--protocol {args.protocol} keeps its runs: give --out FOLDER")
    if args.backbone or args.baseline is not None:
        raise InputError(f"--protocol {args.protocol} takes --model alone; probe the others")


def _list(root: Path | None) -> int:
    from rich.table import Table

    from sslam.benchmarks.presence import look_for
    from sslam.benchmarks.registry import BENCHMARKS

    table = Table("benchmark", "classes", "metric", "here", "clips, or how to get it")
    for member in BENCHMARKS.values():
        place = look_for(member, root)
        found = f"{place.clips} clips in {place.source}" if place.here else ""
        # A folder that is there but cannot be read is a problem to see, not a set to download.
        missing = place.problem if place.source is not None else f"get it: {member.get}"
        here = "yes" if place.here else "no"
        table.add_row(member.name, str(len(member.classes)), member.metric, here, found or missing)
    _console().print(table)
    return 0


def _models(args: Args) -> dict[str, Evaluate]:
    from sslam.benchmarks.evaluate import ProbeEvaluation

    if args.protocol != "probe":
        return _tuned_models(args)
    cache = None if args.out is None else args.out / "features"
    return {
        name: _watched(name, ProbeEvaluation(encoder, args.probe, args.batch, cache, args.seed))
        for name, encoder in _encoders(args).items()
    }


def _watched(name: str, evaluation: ProbeEvaluation) -> Evaluate:
    """An evaluation that shows on standard error how far its encoding is."""
    from dataclasses import replace

    from sslam.cli.encoding_bar import EncodingBar

    def run(member: Benchmark, clips: Sequence[Clip]) -> Predictions:
        with EncodingBar(f"{member.name}, {name}", len(clips)) as bar:
            return replace(evaluation, progress=bar.show)(member, clips)

    return run


def _tuned_models(args: Args) -> dict[str, Evaluate]:
    from functools import partial

    from sslam.benchmarks.evaluate import FineTuneEvaluation
    from sslam.weights.zoo import load_model

    runs = (args.out or Path()) / args.protocol
    return {
        name: FineTuneEvaluation(
            partial(load_model, name),
            runs / _file_name(name),
            args.protocol == "linear-paper",
            args.set,
            args.device,
            name,
            args.seed,
        )
        for name in args.model
    }


def _file_name(name: str) -> str:
    """A model's name, safe as that of a folder, and different where the names are."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return plain.strip(".") or "model"


def _encoders(args: Args) -> dict[str, ClipEncoder]:
    from sslam.evaluation.encoders import SEGMENTS, LogmelStatistics, ModelFeatures
    from sslam.model.device import pick_device

    encoders: dict[str, ClipEncoder] = {}
    device = pick_device(args.device)
    if args.model:
        from sslam.weights.zoo import load_model

        for name in args.model:
            encoders[name] = ModelFeatures(load_model(name).to(device), args.pooling)
    if args.backbone:
        from sslam.benchmarks.backbones import load_backbone

        for name in args.backbone:
            encoders[name] = load_backbone(name, "mean", str(device))
    if args.baseline is not None:
        segments = SEGMENTS if args.baseline == "logmel-segments" else 0
        encoders[args.baseline] = LogmelStatistics(segments)
    return encoders


def _show(result: SuiteResult) -> None:
    from sslam.benchmarks.table import absent_lines, comparison_lines, rich_table, table_rows

    console = _console()
    if result.results:
        console.print(rich_table(table_rows(result)))
    for line in (*comparison_lines(result), *absent_lines(result)):
        console.print(line, markup=False)
    for failure in result.failures:
        print(
            f"sslam: {failure.benchmark.name}, {failure.model}: {failure.reason}", file=sys.stderr
        )


def _write(result: SuiteResult, out: Path) -> None:
    from sslam.benchmarks.page import write_page
    from sslam.benchmarks.table import table_rows, write_csv

    write_csv(table_rows(result), out / "table.csv")
    write_page(result, out / "report.html")
    print(f"wrote {out / 'table.csv'} and {out / 'report.html'}")


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # Without a terminal there is no width to fit: long lines stay whole for whoever reads them.
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
