"""What a job makes of each window: rows of vectors, or of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.features.logmel import HOP_SAMPLES
from sslam.inference.ahead import Failure, windows_ahead
from sslam.inference.journal import Rows, Settings
from sslam.inference.tables import tag_row, vector_row
from sslam.model.audio_model import AudioModel
from sslam.model.embedding import Tag, best_tags, probabilities, window_of
from sslam.model.network import Pooling, vector_width
from sslam.model.recordings import Cut, Encoded, Placed, Wanted, cut_of, encode_windows
from sslam.weights.native import fingerprint

What = Literal["clip", "frames", "scores", "tags", "events"]


@dataclass(frozen=True)
class JobOptions:
    """What to make of every window.

    ``what``: its clip vector, a vector each 160 ms, the probability of every class, the likeliest
    labels, or the timed events of its clip.
    """

    what: What = "clip"
    pooling: Pooling | None = None  # the model's own
    window_s: float | None = None  # the model's own
    hop_s: float | None = None  # side by side
    top_k: int | None = None  # labels a window; all
    threshold: float = 0.0


class RowMaker:
    """Turns windows into rows.

    Raises:
        InputError: windows the model cannot take, or labels of a model that has none.
    """

    def __init__(self, model: AudioModel, options: JobOptions, name: str = "") -> None:
        self.model, self.options = model.eval(), options
        self.cut: Cut = cut_of(model, options.window_s, options.hop_s)
        what, config = options.what, model.config
        self._scores = what in ("scores", "tags", "events")
        if self._scores and not config.labels:
            raise InputError("this model has no classes: fine-tune it, or load one that has")
        if options.top_k is not None and options.top_k < 1:
            raise InputError(f"top_k is {options.top_k}; give 1 or more")
        self._wanted = Wanted(
            config.pooling if options.pooling is None or self._scores else options.pooling,
            clip=what == "clip",
            frames=what in ("frames", "events"),
            logits=what in ("scores", "tags"),
        )
        width = len(config.labels) if self._scores else config.encoder.width
        if what == "clip":
            width = vector_width(self._wanted.pooling, width)
        self.row: np.dtype[np.void] = tag_row() if what in ("tags", "events") else vector_row(width)
        self._patch_s = config.encoder.patch * HOP_SAMPLES / RATE_HZ
        self._name = name

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the classes, where rows speak of them."""
        return self.model.config.labels if self._scores else ()

    def settings(self) -> Settings:
        """All that the rows depend on, as JSON takes it."""
        options, config = self.options, self.model.config
        shown: Settings = {
            "model": self._name,
            "fingerprint": fingerprint(self.model),
            "config": hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
            "what": options.what,
            "pooling": self._wanted.pooling,
            "window_s": self.cut.window_s,
            "hop_s": self.cut.hop_s,
        }
        if options.what == "tags":
            shown |= {"top_k": options.top_k, "threshold": options.threshold}
        return shown

    def encode(self, windows: Iterator[Placed[int]]) -> Iterator[tuple[Placed[int], Encoded]]:
        """What the rows need of each window, in order."""
        return encode_windows(self.model, windows, self._wanted)

    def rows(self, placed: Placed[int], encoded: Encoded, file: int, from_s: float) -> Rows:
        """The rows of one window. (R,) of the row type.

        Args:
            file: the number that the rows give as theirs.
            from_s: where the window's clip starts in its file.
        """
        window = window_of(placed, encoded, self.model.config.encoder.patch)
        start_s, end_s = from_s + window.start_s, from_s + window.end_s
        what = self.options.what
        if what == "frames":
            starts_s = from_s + window.times_s
            ends_s = np.minimum(starts_s + self._patch_s, end_s)
            return self._table(file, starts_s, ends_s, vector=window.frames)
        if what == "clip" or window.logits is None:
            return self._table(file, [start_s], [end_s], vector=window.clip)
        scores = probabilities(window.logits, self.model.config.single_label)
        if what == "scores":
            return self._table(file, [start_s], [end_s], vector=scores)
        best = best_tags(scores, self.options.top_k, self.options.threshold)
        times_s = [start_s] * len(best), [end_s] * len(best)
        return self._table(file, *times_s, label=best, score=scores[best])

    def closing(self) -> Rows | None:
        """Rows of a clip that come after those of its last window; None where there are no such."""
        return None

    def _table(self, file: int, starts_s: Any, ends_s: Any, **columns: Any) -> Rows:
        rows: Rows = np.empty(len(starts_s), self.row)
        rows["file"], rows["start_s"], rows["end_s"] = file, starts_s, ends_s
        for name, values in columns.items():
            rows[name] = values
        return rows


@dataclass(frozen=True)
class FoundTags:
    """What is heard in one window of a clip, or why the clip cannot be used."""

    number: int  # of the clip
    start_s: float = 0.0
    end_s: float = 0.0
    tags: tuple[Tag, ...] = ()
    reason: str | None = None


def tags_of_clips(maker: RowMaker, clips: Sequence[Clip], threads: int) -> Iterator[FoundTags]:
    """The labels of every window in order, a clip at a time, as soon as they are known."""
    for number, windows in windows_ahead(clips, maker.cut, threads):
        reasons: list[str] = []

        def readable(
            windows: Iterable[Placed[int] | Failure] = windows, reasons: list[str] = reasons
        ) -> Iterator[Placed[int]]:
            for item in windows:
                if isinstance(item, Failure):
                    reasons.append(item.reason)
                else:
                    yield item

        for placed, encoded in maker.encode(readable()):
            rows = maker.rows(placed, encoded, number, clips[number].start_s)
            tags = tuple(Tag(maker.labels[row["label"]], float(row["score"])) for row in rows)
            start_s = clips[number].start_s + placed.window.start_s
            end_s = clips[number].start_s + placed.window.end_s
            yield FoundTags(number, start_s, end_s, tags)
        if reasons:
            yield FoundTags(number, reason=reasons[0])
