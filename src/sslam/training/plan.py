"""What a recipe costs, on paper: arithmetic, memory, bytes to read and send, and hours.

Counts are of multiplications and additions in matrix products and convolutions, two for each pair;
all else is small beside them. How they were checked, and where they end: docs/scale.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch

from sslam.model.config import EncoderConfig
from sslam.objective.bootstrap import Bootstrap
from sslam.training.optim import trainable
from sslam.training.parallel import Way
from sslam.training.recipe import Recipe, Stage

FLOAT = 4  # bytes; weights, gradients, both moments and the teacher are float32
HALF = 2
BACKWARD = 2  # a backward pass is two products for each of the forward pass
FLAC_BYTES_A_SECOND = 18_000  # of 16-bit mono at 16 kHz, as `sslam data pack` leaves it


@dataclass(frozen=True)
class StageCost:
    """What a stage takes on one number of devices."""

    name: str
    flops_a_clip: float
    steps: int
    clips_a_step: int
    hours: float
    read_bytes_s: float  # by all devices together
    sent_bytes_s: float  # by each device
    memory_bytes: float  # of each device


@dataclass(frozen=True)
class Machine:
    """Devices that share a run.

    Attributes:
        tflops: of one device, in the precision of the matrix products.
        utilisation: share of it that training reaches.
        way: how the networks lie on the devices.
        half: matrix products in bf16, as on CUDA; float32 otherwise.
    """

    devices: int
    tflops: float
    utilisation: float
    way: Way = "ddp"
    half: bool = True


@dataclass(frozen=True)
class Parameters:
    """Numbers of weights."""

    learnt: int  # student and decoder
    teacher: int
    largest_block: int


def count_parameters(recipe: Recipe) -> Parameters:
    """Of the recipe's networks, which are not allocated for it."""
    with torch.device("meta"):
        bootstrap = Bootstrap(recipe.model, recipe.stages[0].objective)
    blocks = [sum(p.numel() for p in block.parameters()) for block in bootstrap.student.blocks]
    return Parameters(
        learnt=sum(p.numel() for _, p in trainable(bootstrap)),
        teacher=sum(p.numel() for p in bootstrap.teacher.parameters()),
        largest_block=max(blocks),
    )


def clip_flops(recipe: Recipe, stage: Stage) -> float:
    """Forward, backward and the teacher's passes, for one clip of a stage."""
    encoder, decoder = recipe.model.encoder, recipe.model.decoder
    patches = recipe.grid.patches
    visible = stage.views.mask.visible(recipe.grid)
    views = stage.objective.sees_unmixed + stage.objective.sees_mixed
    sequences = views * stage.views.masks_per_clip
    width, inner = encoder.width, decoder.width or encoder.width
    widths = [width] + [inner] * decoder.layers
    convolutions = sum(
        2 * patches * decoder.kernel**2 * a * b / decoder.groups for a, b in pairwise(widths)
    )
    projection = 2 * (patches - visible) * inner * width
    embedding = 2 * patches * encoder.patch**2 * width
    student = encoder_flops(encoder, 1 + visible) + convolutions + projection
    learnt = (1 + BACKWARD) * sequences * student + BACKWARD * views * embedding
    teacher = views * (encoder_flops(encoder, 1 + patches) + embedding)
    if stage.objective.retention:
        mixed = patches - 2 * round(stage.views.mix.unmixed_share * recipe.grid.time) * (
            recipe.grid.mel
        )
        teacher += encoder_flops(encoder, 1 + mixed) + embedding
        if not stage.objective.sees_unmixed:
            teacher += encoder_flops(encoder, 1 + patches)
    return learnt + teacher


def encoder_flops(config: EncoderConfig, tokens: int) -> float:
    """One pass of all blocks over one sequence."""
    linear = 2 * tokens * config.width**2 * (4 + 2 * config.mlp_ratio)
    attention = 2 * 2 * tokens**2 * config.width
    return config.depth * (linear + attention)


def group_bytes(recipe: Recipe, stage: Stage, half: bool) -> float:
    """What the backward pass of one group has to remember."""
    encoder, decoder = recipe.model.encoder, recipe.model.decoder
    grid = recipe.grid
    visible = stage.views.mask.visible(grid)
    views = stage.objective.sees_unmixed + stage.objective.sees_mixed
    sequences = views * stage.views.masks_per_clip * recipe.group_clips
    product = HALF if half else FLOAT  # inputs of matrix products
    # Inputs of qkv, attention (3), proj, fc1, GELU and fc2; and those of both norms, in float32.
    block = product * (1 + 3 + 1 + 1 + 1 + 2 * encoder.mlp_ratio) + 2 * FLOAT
    encoded = sequences * (1 + visible) * encoder.width * encoder.depth * block
    # Of each decoder layer: inputs of the convolution, the norm and the GELU.
    inner = decoder.width or encoder.width
    cells = sequences * grid.patches * inner
    decoded = cells * decoder.layers * (2 * product + FLOAT)
    # Prediction and target of the masked patches, and what the loss keeps of them.
    predicted = sequences * (grid.patches - visible) * encoder.width * (2 * FLOAT + product)
    return encoded + decoded + predicted


def weight_bytes(parameters: Parameters, devices: int, way: Way) -> float:
    """Weights, gradients, two moments and the teacher on each device."""
    held = FLOAT * (4 * parameters.learnt + parameters.teacher)
    if way == "ddp" or devices == 1:
        return float(held)
    gathered = FLOAT * 2 * parameters.largest_block  # the block at work and the next
    return held / devices + gathered


def sent_bytes(parameters: Parameters, devices: int, way: Way) -> float:
    """What each device sends for one step, by rings."""
    share = (devices - 1) / devices
    if way == "ddp":
        return 2 * share * FLOAT * parameters.learnt
    # Weights are gathered for the forward and again for the backward pass.
    return share * FLOAT * (3 * parameters.learnt + parameters.teacher)


def plan_stage(recipe: Recipe, stage: Stage, machine: Machine) -> StageCost:
    """What ``stage`` takes on ``machine``.

    A device needs a group of its own. With more devices than the recipe has groups, there is one
    group a device, and as many fewer steps as a step has more clips: the same clips are heard.
    """
    parameters = count_parameters(recipe)
    groups = max(recipe.groups, machine.devices)
    clips = groups * recipe.group_clips
    steps = -(-stage.steps * recipe.step_clips // clips)
    flops = clip_flops(recipe, stage)
    # Groups that do not divide leave devices idle in the last round.
    rounds = -(-groups // machine.devices)
    speed = machine.tflops * 1e12 * machine.utilisation
    step_s = rounds * recipe.group_clips * flops / speed
    memory = weight_bytes(parameters, machine.devices, machine.way)
    return StageCost(
        name=stage.name,
        flops_a_clip=flops,
        steps=steps,
        clips_a_step=clips,
        hours=steps * step_s / 3600,
        read_bytes_s=clips / step_s * recipe.data.seconds * FLAC_BYTES_A_SECOND,
        sent_bytes_s=sent_bytes(parameters, machine.devices, machine.way) / step_s,
        memory_bytes=memory + group_bytes(recipe, stage, machine.half),
    )
