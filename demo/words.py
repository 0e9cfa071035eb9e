"""Sentences that follow from the numbers: no claim beyond an interval."""

from __future__ import annotations

from scores import Comparison, Scores

from sslam.evaluation.intervals import Difference


def verdict(difference: Difference) -> int:
    """1 better, -1 worse, 0 not to be told apart: whether the interval excludes 0."""
    return int(difference.low > 0) - int(difference.high < 0)


def sentence(comparison: Comparison) -> str:
    """What a comparison says, with its interval."""
    d = comparison.difference
    start = f"{comparison.ours[0].upper()}{comparison.ours[1:]}"
    bounds = f"95 % interval {d.low:+.3f} to {d.high:+.3f}, {d.n} clips"
    if verdict(d) > 0:
        return f"{start}: {d.name} is {d.value:.3f} above {comparison.theirs} ({bounds})."
    if verdict(d) < 0:
        return f"{start}: {d.name} is {-d.value:.3f} below {comparison.theirs} ({bounds})."
    return (
        f"{start}: {d.name} differs by {d.value:+.3f} from {comparison.theirs}, which this test "
        f"cannot tell from no difference ({bounds})."
    )


def sentences(scores: Scores) -> list[str]:
    """All comparisons of one task."""
    return [sentence(comparison) for comparison in scores.comparisons]


def in_brief(comparison: Comparison) -> str:
    """The same in a few words, for a table."""
    d = comparison.difference
    word = {1: "better", 0: "not to be told apart", -1: "worse"}[verdict(d)]
    return f"{word}: {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]".replace("-", "\u2212")


def conclusion(single: Scores, scenes: Scores) -> str:
    """Whether training helped, in plain words, for both tasks."""
    return " ".join(
        _helped(scores, where)
        for scores, where in ((single, "single sounds"), (scenes, "soundscapes"))
    )


def _helped(scores: Scores, where: str) -> str:
    found = {(c.ours, c.theirs): verdict(c.difference) for c in scores.comparisons}
    against_random = found["after stage 2", "random weights"]
    against_logmel = found["after stage 2", "log-mel statistics"]
    training = {
        1: f"On {where}, training helped: the trained model beats the same network untrained",
        0: f"On {where}, training did not help yet: the trained model cannot be told from the "
        "same network untrained",
        -1: f"On {where}, training hurt: the trained model is worse than the same network "
        "untrained",
    }[against_random]
    baseline = {
        1: "and it beats plain log-mel statistics.",
        0: "and it cannot be told from plain log-mel statistics.",
        -1: "and plain log-mel statistics are still better.",
    }[against_logmel]
    return f"{training}, {baseline}"
