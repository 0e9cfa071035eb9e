"""Rows of timed events: since one may last over several windows, they come at a clip's end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sslam.inference.events import Decoding, decoding_of, find_runs
from sslam.inference.journal import Rows, Settings
from sslam.inference.rows import JobOptions, RowMaker
from sslam.model.audio_model import AudioModel
from sslam.model.embedding import probabilities, window_of
from sslam.model.recordings import Encoded, Placed


def row_maker(model: AudioModel, options: JobOptions, name: str = "") -> RowMaker:
    """What turns windows into the rows that are asked for.

    Raises:
        InputError: the model cannot give them.
    """
    kind = EventMaker if options.what == "events" else RowMaker
    return kind(model, options, name)


@dataclass
class _Heard:
    """What was heard of a clip so far."""

    file: int
    end_s: float = 0.0
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    starts_s: list[NDArray[np.float64]] = field(default_factory=list)


class EventMaker(RowMaker):
    """Turns the windows of a clip into its events, in the order of time.

    The thresholds are the model's own, or ``options.threshold`` where that is above 0; a row's
    score is the highest within the event.

    Raises:
        InputError: a model that was not fine-tuned for timed events.
    """

    def __init__(self, model: AudioModel, options: JobOptions, name: str = "") -> None:
        super().__init__(model, options, name)
        decoding = decoding_of(model.config)
        if options.threshold > 0:
            given = (options.threshold,) * len(decoding.thresholds)
            decoding = replace(decoding, thresholds=given)
        self._decoding: Decoding = decoding
        self._heard: _Heard | None = None

    def settings(self) -> Settings:
        """All that the rows depend on, as JSON takes it."""
        return super().settings() | {"decoding": self._decoding.as_json(self.labels)}

    def rows(self, placed: Placed[int], encoded: Encoded, file: int, from_s: float) -> Rows:
        """No row yet: those of the clip come at its end, by `closing`."""
        window = window_of(placed, encoded, self.model.config.encoder.patch)
        if self._heard is None:
            self._heard = _Heard(file)
        self._heard.end_s = from_s + window.end_s
        if window.frames is not None and len(window.frames):
            with torch.inference_mode():
                vectors = torch.from_numpy(window.frames).to(self.model.device)
                logits = self.model.classify(vectors).float().cpu().numpy()
            self._heard.scores.append(probabilities(logits, False))
            self._heard.starts_s.append(from_s + window.times_s)
        return self._table(file, [], [], label=[], score=[])

    def closing(self) -> Rows | None:
        """The events of the clip whose windows were given; the next window is another clip's."""
        heard, self._heard = self._heard, None
        if heard is None:
            return None
        if not heard.scores:
            return self._table(heard.file, [], [], label=[], score=[])
        scores, starts_s = np.concatenate(heard.scores), np.concatenate(heard.starts_s)
        runs = find_runs(scores, self._decoding)
        onset_s = starts_s[runs.start]
        offset_s = np.minimum(starts_s[runs.stop - 1] + self._patch_s, heard.end_s)
        order = np.lexsort((runs.column, onset_s))
        order = order[offset_s[order] > onset_s[order]]
        return self._table(
            heard.file,
            onset_s[order],
            offset_s[order],
            label=runs.column[order],
            score=runs.score[order],
        )
