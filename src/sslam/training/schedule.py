"""Learning rate and EMA decay as pure functions of the step within a stage."""

from __future__ import annotations

import math


def warmup_cosine(step: int, peak: float, warmup: int, total: int, floor: float = 0.0) -> float:
    """Learning rate of the step with 0-based index ``step``.

    A line from ``floor`` at step 0 to ``peak`` at step ``warmup``, then half a cosine down to
    ``floor`` at step ``total``, where it stays.
    """
    if step < warmup:
        return floor + (peak - floor) * step / warmup
    if step >= total:
        return floor
    progress = (step - warmup) / (total - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


def ema_decay(updates: int, start: float, end: float, anneal_steps: int) -> float:
    """EMA decay of the teacher after ``updates`` optimiser steps of the stage (1 after the first).

    A line from ``start`` to ``end`` over ``anneal_steps`` updates, then ``end``.
    """
    if updates >= anneal_steps:
        return end
    return end - (end - start) * (1.0 - updates / anneal_steps)
