"""The method once more, clip by clip and mask by mask, as docs/method.md words it.

It shares no code with the package but the two networks' parameters and layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslam.model.encoder import Encoder
from sslam.objective.bootstrap import Bootstrap
from sslam.views.draw import Views


def teacher_layers(encoder: Encoder, tokens: Tensor) -> list[Tensor]:
    """Each block's MLP output for one clip's patch tokens (n, D), without CLS."""
    x = torch.cat([encoder.pre_norm(encoder.cls)[0], tokens])[None]
    layers = []
    for block in encoder.blocks:
        x = x + block.attn(x)
        r = block.norm1(x)
        t = block.mlp(r)
        x = block.norm2(r + t)
        layers.append(t[0, 1:])
    return layers


def patch_target(layers: list[Tensor], last: int | None) -> Tensor:
    """Instance norm per layer, average of the last layers, layer norm. -> (n, D)."""
    chosen = layers[-last:] if last else layers
    normalised = [(x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in chosen]
    average = sum(normalised) / len(normalised)
    centred = average - average.mean(1, keepdim=True)
    return centred / (average.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def error(prediction: Tensor, target: Tensor) -> float:
    """Squared error over channels, over √D, averaged over rows."""
    rows = [((p - t) ** 2).sum() / len(p) ** 0.5 for p, t in zip(prediction, target, strict=True)]
    return float(sum(rows) / len(rows))


@torch.no_grad()
def slow_terms(method: Bootstrap, hosts: Tensor, views: Views) -> dict[str, float]:
    """Every term of the objective, for all clips, whatever its weight. Mask noise must be 0."""
    wanted, grid = method.objective, method.student.config.grid(hosts.shape[1])
    patch, teacher = method.student.config.patch, method.teacher.encoder
    mixed = views.windows.mixed(grid.time)
    mixtures = hosts.clone()
    for i in range(len(hosts)):
        for t in range(grid.time):
            if mixed[t]:
                span = slice(t * patch, (t + 1) * patch)
                mixtures[i, span] = torch.maximum(hosts[i, span], hosts[i - 1, span])

    of_patch = [bool(mixed[n // grid.mel]) for n in range(grid.patches)]
    rows: dict[str, list[tuple[Tensor, Tensor]]] = {
        "local_unmixed": [],
        "local_mixed": [],
        "retention": [],
        "utterance": [],
    }
    for kind, clips in (("unmixed", hosts), ("mixed", mixtures)):
        for i, clip in enumerate(clips):
            layers = teacher_layers(teacher, teacher.patch_tokens(clip[None])[0])
            target = patch_target(layers, wanted.local_layers)
            pooled = patch_target(layers, wanted.utterance_layers).mean(0)
            for m in range(views.masked.shape[1]):
                seen, hidden = views.visible[i, m], views.masked[i, m]
                tokens = method.student.patch_tokens(clip[None])[0]
                encoded = method.student.run(method.student.with_cls(tokens[seen][None]))[0]
                canvas = torch.zeros(grid.patches, tokens.shape[1])
                canvas[seen] = encoded[1:]
                filled = method.decoder(canvas[None], grid, torch.arange(grid.patches))
                rows[f"local_{kind}"].append((filled[hidden], target[hidden]))
                rows["utterance"].append((encoded[:1], pooled[None]))
                if kind == "mixed":
                    both = retention(teacher, hosts, i, of_patch, wanted.local_layers)
                    rows["retention"].append((filled[hidden], both[hidden]))
    return {
        name: error(torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs]))
        for name, pairs in rows.items()
    }


def retention(
    teacher: Encoder, hosts: Tensor, i: int, of_patch: list[bool], last: int | None
) -> Tensor:
    """Host and partner averaged where mixed, the host alone elsewhere. -> (N, D)."""
    host = patch_target(teacher_layers(teacher, teacher.patch_tokens(hosts[i][None])[0]), last)
    where = [n for n, both in enumerate(of_patch) if both]
    tokens = teacher.patch_tokens(hosts[i - 1][None])[0][where]
    partner = patch_target(teacher_layers(teacher, tokens), last)
    target = host.clone()
    for row, n in enumerate(where):
        target[n] = (host[n] + partner[row]) / 2
    return target
