"""Which losses are trained, and how much each counts: a variant is a choice of terms."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ObjectiveConfig(BaseModel):
    """Weights of the named terms; a term of weight 0 is not computed.

    Each term is a mean, so that its weight does not depend on the size of a batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    local_unmixed: float = Field(0.0, ge=0, description="patches of unmixed clips")
    local_mixed: float = Field(0.0, ge=0, description="patches of mixtures")
    retention: float = Field(0.0, ge=0, description="source retention: both sources of a mixture")
    utterance: float = Field(0.0, ge=0, description="CLS token, of all views the terms above use")
    local_layers: int | None = Field(
        None, gt=0, description="last teacher layers averaged for patches; all when unset"
    )
    utterance_layers: int | None = Field(
        None, gt=0, description="last teacher layers averaged for CLS; all when unset"
    )
    mask_noise: float = Field(0.01, ge=0, description="deviation of the noise at masked patches")

    @model_validator(mode="after")
    def _something_is_trained(self) -> ObjectiveConfig:
        if not (self.sees_unmixed or self.sees_mixed):
            raise ValueError("give local_unmixed, local_mixed or retention a weight above 0")
        return self

    @property
    def sees_unmixed(self) -> bool:
        """Whether the student sees clips as they are."""
        return self.local_unmixed > 0

    @property
    def sees_mixed(self) -> bool:
        """Whether the student sees mixtures, for which a group must hold two clips."""
        return self.local_mixed > 0 or self.retention > 0

    @property
    def layers(self) -> int | None:
        """How many of the teacher's last layers any target needs; None = all."""
        wanted = (self.local_layers, self.utterance_layers)
        return None if None in wanted else max(w for w in wanted if w is not None)


PAPER_UTTERANCE = 192.0
"""The published CLS loss is a sum over the 192 student sequences of a device (docs/method.md)."""


def _stage_2(**local: float) -> ObjectiveConfig:
    """Stage 2 takes the CLS target from the teacher's last layer only."""
    return ObjectiveConfig(utterance=PAPER_UTTERANCE, utterance_layers=1, **local)


VARIANTS: dict[str, ObjectiveConfig] = {
    "stage1": ObjectiveConfig(local_unmixed=1, utterance=PAPER_UTTERANCE),
    "mb-ua": _stage_2(local_unmixed=1),
    "mb-pma": _stage_2(local_mixed=1),
    "mb-ua-pma": _stage_2(local_unmixed=0.5, local_mixed=0.5),
    "sslam": _stage_2(local_unmixed=0.5, local_mixed=0.5, retention=1),
}
"""Stage 1, and the paper's four variants of stage 2, by name."""
