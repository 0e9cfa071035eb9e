"""A model as people use it: recordings of any length in, vectors and class scores out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args, overload

import numpy as np
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError
from sslam.model.embedding import Embedding, Tagging, WindowEmbedding, joined, tagged, window_of
from sslam.model.network import AudioModelConfig, Features, Network, Pooling
from sslam.model.recordings import (
    Audio,
    Placed,
    Wanted,
    cut_of,
    encode_windows,
    place_windows,
)

__all__ = ["AudioModel", "AudioModelConfig", "Features", "Pooling"]


class AudioModel(Network):
    """A network with the methods that take recordings.

    A recording is a file or (S,) samples in [-1, 1]; one longer than a window is cut into windows,
    and nothing of it is dropped or padded. Every method works in constant memory beside its result.
    """

    @overload  # a str is a sequence of str, but not of recordings
    def embed(  # type: ignore[overload-overlap]
        self,
        audio: Audio,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        pooling: Pooling | None = None,
        patches: bool = False,
        rate_hz: int = RATE_HZ,
    ) -> Embedding: ...

    @overload
    def embed(
        self,
        audio: Sequence[Audio],
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        pooling: Pooling | None = None,
        patches: bool = False,
        rate_hz: int = RATE_HZ,
    ) -> list[Embedding]: ...

    def embed(
        self,
        audio: Audio | Sequence[Audio],
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        pooling: Pooling | None = None,
        patches: bool = False,
        rate_hz: int = RATE_HZ,
    ) -> Embedding | list[Embedding]:
        """Vectors of one recording, or of each of several, which share batches.

        Args:
            window_s: length of the windows; the model's own by default.
            hop_s: from the start of a window to the next; by default they lie side by side.
            pooling: ``cls``, ``mean`` or ``statistics`` (the mean and the standard deviation of
                the patches, so that vectors are twice as long); the model's own by default.
            patches: keep the patch vectors too, mel bins × as many numbers as ``frames``.
            rate_hz: of samples; files say theirs.

        Raises:
            AudioError: a file that cannot be read or is shorter than a frame (25 ms).
            InputError: samples that are no recording, or windows the model cannot take.
        """
        chosen = self.config.pooling if pooling is None else pooling
        wanted = Wanted(_checked(chosen), frames=True, patches=patches, logits=self._classifies())
        several = _several(audio)
        windows = self._windows(several, wanted, window_s, hop_s, rate_hz)
        found = [joined(group, chosen) for group in _grouped(windows)]
        return found if _is_list(audio) else found[0]

    def embed_windows(
        self,
        audio: Audio,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        pooling: Pooling | None = None,
        patches: bool = False,
        rate_hz: int = RATE_HZ,
    ) -> Iterator[WindowEmbedding]:
        """As :meth:`embed`, one window after the other: for recordings longer than memory.

        The frames of the windows, put together, are those of :meth:`embed`.

        Raises:
            AudioError, InputError: as :meth:`embed`; a defect late in a file when it is reached.
        """
        chosen = self.config.pooling if pooling is None else pooling
        wanted = Wanted(_checked(chosen), frames=True, patches=patches, logits=self._classifies())
        windows = self._windows([audio], wanted, window_s, hop_s, rate_hz)
        return (window for _, window in windows)

    @overload
    def tag(  # type: ignore[overload-overlap]
        self,
        audio: Audio,
        *,
        top_k: int | None = None,
        threshold: float = 0.0,
        window_s: float | None = None,
        hop_s: float | None = None,
        rate_hz: int = RATE_HZ,
    ) -> Tagging: ...

    @overload
    def tag(
        self,
        audio: Sequence[Audio],
        *,
        top_k: int | None = None,
        threshold: float = 0.0,
        window_s: float | None = None,
        hop_s: float | None = None,
        rate_hz: int = RATE_HZ,
    ) -> list[Tagging]: ...

    def tag(
        self,
        audio: Audio | Sequence[Audio],
        *,
        top_k: int | None = None,
        threshold: float = 0.0,
        window_s: float | None = None,
        hop_s: float | None = None,
        rate_hz: int = RATE_HZ,
    ) -> Tagging | list[Tagging]:
        """What is heard in one recording, or in each of several: labels with scores, over time.

        Args:
            top_k: at most so many labels, the likeliest first; all by default.
            threshold: no label below this probability.
            window_s, hop_s, rate_hz: as in :meth:`embed`; one answer a window.

        Raises:
            AudioError, InputError: as :meth:`embed`; a model without classes.
        """
        if not self._classifies():
            raise InputError("this model has no classes: fine-tune it, or load one that has")
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; give 1 or more")
        wanted = Wanted(self.config.pooling, clip=False, logits=True)
        windows = self._windows(_several(audio), wanted, window_s, hop_s, rate_hz)
        labels, single = self.config.labels, self.config.single_label
        found = [tagged(group, labels, single, top_k, threshold) for group in _grouped(windows)]
        return found if _is_list(audio) else found[0]

    def _windows(
        self,
        recordings: Sequence[Audio],
        wanted: Wanted,
        window_s: float | None,
        hop_s: float | None,
        rate_hz: int,
    ) -> Iterator[tuple[int, WindowEmbedding]]:
        """(number of the recording, window) in order."""
        cut = cut_of(self, window_s, hop_s)

        def placed() -> Iterator[Placed[int]]:
            for number, audio in enumerate(recordings):
                yield from place_windows(audio, cut, number, rate_hz)

        patch = self.config.encoder.patch
        for each, encoded in encode_windows(self, placed(), wanted):
            if not encoded.is_finite:
                raise InputError("the model gives values that are not finite; check its weights")
            yield each.key, window_of(each, encoded, patch)

    def _classifies(self) -> bool:
        return self.classifier is not None


def _is_list(audio: Audio | Sequence[Audio]) -> bool:
    return not isinstance(audio, str | Path | np.ndarray | Tensor)


def _several(audio: Audio | Sequence[Audio]) -> list[Audio]:
    if isinstance(audio, str | Path | np.ndarray | Tensor):
        if isinstance(audio, str | Path) and Path(audio).is_dir():
            raise InputError(f"{audio} is a folder: give sslam.audio.io.find_audio's list of files")
        return [audio]
    return list(audio)


def _grouped(windows: Iterable[tuple[int, WindowEmbedding]]) -> Iterator[list[WindowEmbedding]]:
    """The windows of each recording."""
    group: list[WindowEmbedding] = []
    now = 0
    for number, window in windows:
        if number != now:
            yield group
            group, now = [], number
        group.append(window)
    if group:
        yield group


def _checked(pooling: Pooling) -> Pooling:
    if pooling not in get_args(Pooling):
        raise InputError(f"pooling {pooling!r} is unknown; give {' or '.join(get_args(Pooling))}")
    return pooling
