"""One small run in one process, which the others are held against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sslam.cli.main import main

from ..conftest import MINI, write_recordings

STEPS = 12
RECIPE = MINI | {
    "groups": 4,
    "checkpoint_every": 2,
    "keep_checkpoints": 3,
    "stages": [
        stage | {"steps": STEPS // 2}
        for stage in MINI["stages"]  # type: ignore[attr-defined]
    ],
}


@dataclass(frozen=True)
class Setup:
    """Recordings, a recipe file, and the folder of the run that nothing interrupted."""

    clips: Path
    recipe: Path
    unbroken: Path

    def words(self, out: Path, *more: str) -> list[str]:
        """The command line of a run into ``out``."""
        recipe = ["--recipe", str(self.recipe), "--device", "cpu", "--workers", "0"]
        return ["pretrain", str(self.clips), "--out", str(out), *recipe, *more]


@pytest.fixture(scope="session")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("distributed")
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    made = Setup(write_recordings(folder / "clips", 10), recipe, folder / "unbroken")
    assert main(made.words(made.unbroken)) == 0
    return made
