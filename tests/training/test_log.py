from __future__ import annotations

import io
import json
import math
import random
from pathlib import Path

from sslam.training.log import RunLog, drop_after


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_after_the_checkpoint_and_a_broken_line_go(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps({"step": step}) + "\n" for step in range(1, 6))
    path.write_text(whole + '{"step": 6, "to')
    drop_after(path, 9)
    assert path.read_text() == whole
    drop_after(path, 3)
    assert [line["step"] for line in lines(path)] == [1, 2, 3]
    drop_after(path, 0)
    assert path.read_text() == ""
    drop_after(tmp_path / "missing.jsonl", 3)


def test_floats_read_back_bit_for_bit(tmp_path: Path) -> None:
    rng = random.Random(0)
    values = [rng.uniform(-1, 1) * 10 ** rng.randint(-300, 300) for _ in range(200)]
    with RunLog(tmp_path, 200, io.StringIO()) as log:
        log.start(0)
        for step, value in enumerate(values, start=1):
            log.record({"step": step, "total": value})
    read = [line["total"] for line in lines(tmp_path / "metrics.jsonl")]
    assert read == values
    assert not any(math.isnan(value) for value in values)


def test_without_a_terminal_progress_is_plain_lines(tmp_path: Path) -> None:
    screen = io.StringIO()
    with RunLog(tmp_path, 10, screen, every_s=3600) as log:
        log.start(4)
        log.say("going on [after] step 4")
        for step in range(5, 11):
            log.progress(step, "stage1", 0.5, 12.0)
        log.note("only for the file")
    shown = screen.getvalue().splitlines()
    assert shown[0] == "going on [after] step 4"
    assert [line.split("  ")[0] for line in shown[1:]] == ["stage1 step 5/10", "stage1 step 10/10"]
    assert "12.0 clips/s" in shown[1]
    assert shown[-1].endswith("0:00:00 left")
    assert "\x1b" not in screen.getvalue()
    logged = (tmp_path / "train.log").read_text().splitlines()
    assert len(logged) == len(shown) + 1
    assert logged[-1].endswith("only for the file")


def test_a_second_run_appends(tmp_path: Path) -> None:
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        with RunLog(tmp_path, 4, io.StringIO()) as log:
            log.start(start)
            for step in steps:
                log.record({"step": step, "run": start})
    read = lines(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["run"]) for line in read] == [(1, 0), (2, 0), (3, 2), (4, 2)]
