"""A model folder fetched from a hub on this machine: two files, once, and no code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.native import fingerprint, save_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/street-sounds"
FETCH = (
    "import sys; from sslam.weights.zoo import load_model; "
    "from sslam.weights.native import fingerprint; print(fingerprint(load_model(sys.argv[1])))"
)


class Hub(ThreadingHTTPServer):
    """As much of the hub's protocol as fetching a folder needs; it notes what it was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.asked = folder, list[str]()


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/{REPO}"):
            self._send(self._listing(path), body)
        elif path.startswith(f"/{REPO}/resolve/"):
            name = path.rsplit("/", 1)[1]
            self.server.asked.append(name)
            self._send((self.server.folder / name).read_bytes(), body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

    def _listing(self, path: str) -> bytes:
        files = sorted(self.server.folder.iterdir())
        if "/tree/" in path:
            entries = [{"type": "file", "path": f.name, "oid": "0", "size": 1} for f in files]
            return json.dumps(entries).encode()
        siblings = [{"rfilename": f.name} for f in files]
        return json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode()

    def _send(self, content: bytes, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def model() -> AudioModel:
    torch.manual_seed(0)
    config = AudioModelConfig(encoder=EncoderConfig(width=32, depth=1, heads=2))
    return AudioModel(config).eval()


@pytest.fixture
def hub(model: AudioModel, tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "published"
    save_folder(model, folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')")
    with Hub(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def fetch(
    hub: Hub, cache: Path, source: str = REPO, **extra: str
) -> subprocess.CompletedProcess[str]:
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, "-c", FETCH, source],
        env=os.environ | settings | extra,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_hub_id_fetches_two_files_once_and_works_offline_after(
    hub: Hub, model: AudioModel, tmp_path: Path
) -> None:
    first = fetch(hub, tmp_path / "cache")
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == fingerprint(model)
    assert set(hub.asked) == {"config.json", "model.safetensors"}
    hub.asked.clear()
    offline = fetch(hub, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert offline.stdout == first.stdout
    assert hub.asked == []


def test_an_unknown_id_is_one_line(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path / "cache", "someone/nothing")
    assert done.returncode != 0
    assert "someone/nothing: the hub has no such model" in done.stderr.splitlines()[-1]
