"""The command line: one verb a file, imported when it is used, so that help comes at once.

A verb is a module with ``@dataclass class Args``, whose fields become the options, and
``run(args: Args) -> int``, which gives the exit status. Such a module imports what is slow inside
``run``. A verb may have two words (``data verify``).
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sslam.errors import SslamError


@dataclass(frozen=True)
class Verb:
    """A module, a line of help, and the names of its options class and its function."""

    module: str
    help: str
    args: str = "Args"
    run: str = "run"


VERBS: dict[str, Verb] = {
    "pretrain": Verb("sslam.cli.pretrain", "learn from unlabelled recordings, by a recipe"),
    "recipes": Verb("sslam.cli.recipes", "list the recipes, or show one with all its keys"),
    "embed": Verb("sslam.cli.embed", "write vectors of recordings to a table"),
    "tag": Verb("sslam.cli.tag", "name what is heard in recordings, and when"),
    "convert": Verb("sslam.cli.convert", "turn a checkpoint into a model folder, or back"),
    "doctor": Verb("sslam.cli.doctor", "show what is installed and what works here"),
    "probe": Verb("sslam.cli.probe", "score frozen features on labelled recordings"),
    "finetune": Verb("sslam.cli.finetune", "adapt a model to labels, and score the test clips"),
    "events": Verb("sslam.cli.events", "score a model of timed events on other recordings"),
    "bench": Verb("sslam.cli.bench", "score models on benchmarks, beside the published results"),
    "ablate": Verb("sslam.cli.ablate", "compare ways to pre-train, with error bars over seeds"),
    "export": Verb("sslam.cli.export", "write a model as one ONNX file, checked against torch"),
    "synth": Verb("sslam.cli.synth", "mix labelled recordings into soundscapes"),
    "plan": Verb("sslam.cli.plan", "say what a recipe costs on a number of GPUs"),
    "data pack": Verb(
        "sslam.cli.data_pack", "write recordings into shards", "PackArgs", "run_pack"
    ),
    "data stats": Verb(
        "sslam.cli.data_pack", "measure recordings for a recipe", "StatsArgs", "run_stats"
    ),
    "data prepare": Verb(
        "sslam.cli.data_benchmarks",
        "turn the download of a benchmark into a manifest",
        "PrepareArgs",
        "run_prepare",
    ),
    "data verify": Verb(
        "sslam.cli.data_benchmarks",
        "check shards, or the files of a benchmark, against what they should be",
        "VerifyArgs",
        "run_verify",
    ),
}

_USAGE_STATUS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status: 0 done, 2 something to put right, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except SslamError as error:
        print(f"sslam: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output has gone
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (flushed at exit)
        return 128 + signal.SIGPIPE
    except OSError as error:  # a full disk, a missing permission
        hint = ": make room and run the same command again" if error.errno == errno.ENOSPC else ""
        print(f"sslam: {_one_line(error)}{hint}", file=sys.stderr)
        return SslamError.exit_code


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0 if arguments else _USAGE_STATUS
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"sslam {version('sslam')}")
        return 0
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in VERBS:
            return _run_verb(name, arguments[words:])
    wanted = arguments[0]
    below = [verb for verb in VERBS if verb.startswith(f"{wanted} ")]
    if below:
        raise SslamError(f"{wanted} needs one word more: {', '.join(below)}")
    raise SslamError(f"no command is named {wanted!r}; the commands are: {', '.join(VERBS)}")


def _run_verb(name: str, arguments: list[str]) -> int:
    import tyro

    verb = VERBS[name]
    module = importlib.import_module(verb.module)
    options = getattr(module, verb.args)
    args = tyro.cli(options, prog=f"sslam {name}", args=arguments, description=options.__doc__)
    return int(getattr(module, verb.run)(args))


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: sslam COMMAND [options]",
            "",
            "Self-supervised audio representations.",
            "",
            *lines,
            "",
            "`sslam COMMAND --help` shows the options of a command.",
        ]
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
