"""The command line: one verb a file, imported when it is used, so that help comes at once.

A verb is a module with ``@dataclass class Args``, whose fields become the options, and
``run(args: Args) -> int``, which gives the exit status. Such a module imports what is slow inside
``run``.
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
    """A module with ``Args`` and ``run``, and a line of help."""

    module: str
    help: str


VERBS: dict[str, Verb] = {
    "pretrain": Verb("sslam.cli.pretrain", "learn from unlabelled recordings, by a recipe"),
    "recipes": Verb("sslam.cli.recipes", "list the recipes, or show one with all its keys"),
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
    name, *rest = arguments
    if name not in VERBS:
        raise SslamError(f"no command is named {name!r}; the commands are: {', '.join(VERBS)}")
    return _run_verb(name, rest)


def _run_verb(name: str, arguments: list[str]) -> int:
    import tyro

    module = importlib.import_module(VERBS[name].module)
    args = tyro.cli(
        module.Args, prog=f"sslam {name}", args=arguments, description=module.Args.__doc__
    )
    return int(module.run(args))


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
