"""Every error a user can meet: one line that names the value and the remedy."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class SslamError(Exception):
    """Something the user can put right. The command line prints it in one line and exits with 2."""

    exit_code = 2


class InputError(SslamError):
    """An argument, folder, manifest or tensor that cannot be used as given."""


class AudioError(InputError):
    """A file that holds no usable audio.

    ``path`` and ``reason`` stay apart, so that a job can record both and go on.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[AudioError], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class RecipeError(SslamError):
    """A recipe with an unknown key or a value outside its range."""


class CheckpointError(SslamError):
    """A checkpoint or model folder that is damaged, foreign or unsafe."""


class CollapseError(SslamError):
    """The representation collapsed during training: outputs no longer vary between clips."""


class MissingExtraError(SslamError):
    """A feature needs a package that an extra of sslam installs."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import ``module``, or say which extra installs it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is not installed; install it with: pip install 'sslam[{extra}]'"
        ) from error
