"""A foreign config as nested dictionaries, whether it was plain, omegaconf's or argparse's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sslam.errors import CheckpointError
from sslam.weights.inert import Inert

MAX_DEPTH = 32
MAX_VALUES = 50_000  # a published config has about 500


@dataclass(frozen=True)
class Section:
    """A part of a config; a missing part is an empty one."""

    values: Mapping[str, object] = field(default_factory=dict)

    def section(self, key: str) -> Section:
        """The part under ``key``."""
        value = self.values.get(key)
        return Section(value if isinstance(value, dict) else {})

    def integer(self, key: str) -> int | None:
        """The positive integer under ``key``, None where there is none.

        Raises:
            CheckpointError: a value that is no positive integer.
        """
        value = self.number(key)
        if value is None:
            return None
        if value != int(value) or not 0 < value < 2**31:
            raise CheckpointError(f"its config has {key} {value}, not a positive integer")
        return int(value)

    def number(self, key: str) -> float | None:
        """The finite number under ``key``, None where there is none.

        Raises:
            CheckpointError: a value that is no finite number.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**62:
            raise CheckpointError(f"its config has {key} of type {type(value).__name__}")
        if not math.isfinite(value):
            raise CheckpointError(f"its config has {key} {value}")
        return value


def plain(config: object) -> Section:
    """Unfold inert omegaconf containers, enums and namespaces to dictionaries, lists and scalars.

    Raises:
        CheckpointError: nested too deep or too large for a config.
    """
    unfolded = _Unfolding().value(config, 0)
    return Section(unfolded if isinstance(unfolded, dict) else {})


class _Unfolding:
    """Counts values, since a small file can share its parts into an enormous tree."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def value(self, node: object, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise CheckpointError("its config is too large or too deep to be one")
        if isinstance(node, Inert):
            return self.value(_content(node), depth + 1)
        if isinstance(node, dict):
            pairs = node.items()
            return {k: self.value(v, depth + 1) for k, v in pairs if isinstance(k, str)}
        if isinstance(node, list | tuple):
            return [self.value(item, depth + 1) for item in node]
        return node if isinstance(node, str | int | float | bool) else None


def _content(node: Inert) -> object:
    """What an inert object stands for: its content, value, fields, or enum value."""
    state = node.state
    if isinstance(state, dict):
        for key in ("_content", "_val"):
            if key in state:
                return state[key]
        return state
    return node.args[0] if len(node.args) == 1 else None
