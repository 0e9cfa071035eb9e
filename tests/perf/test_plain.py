"""What the package is measured against gives the same losses and gradients."""

from __future__ import annotations

import pytest
import torch
from perf.plain import Plain, PlainEncoder

from sslam.objective.config import VARIANTS
from tests.objective.test_bootstrap import MODEL, group, method, noise


@pytest.mark.parametrize("variant", ["stage1", "sslam"])
def test_plain_gives_the_same_losses_and_gradients(variant: str) -> None:
    net = method(VARIANTS[variant])
    plain = Plain(net, MODEL.decoder)
    batch = group(3, 96)
    ours, theirs = net(*batch, noise()), plain(*batch, noise())
    assert ours.terms.keys() == theirs.terms.keys()
    for name, term in ours.terms.items():
        assert term.item() == pytest.approx(theirs.terms[name].item(), rel=1e-5), name
    assert ours.total.item() == pytest.approx(theirs.total.item(), rel=1e-5)
    assert ours.target_spread.item() == pytest.approx(theirs.target_spread.item(), rel=1e-5)
    assert ours.prediction_spread.item() == pytest.approx(theirs.prediction_spread.item(), rel=1e-5)

    ours.total.backward()
    theirs.total.backward()
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    scale = max(float(g.abs().max()) for g in gradients.values())
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                parameter.grad, gradients[name], rtol=1e-4, atol=1e-5 * scale
            )


def test_plain_encoder_gives_the_same_tokens() -> None:
    net = method(VARIANTS["stage1"])
    plain = PlainEncoder(MODEL.encoder)
    plain.load_state_dict(net.student.state_dict())
    hosts, _ = group(3, 96)
    torch.testing.assert_close(plain(hosts), net.student(hosts).tokens, rtol=1e-5, atol=1e-5)
