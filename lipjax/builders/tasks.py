# SPDX-License-Identifier: Apache-2.0
"""From configs to training stages."""

from collections.abc import Callable, Mapping

import optax
from ml_collections import ConfigDict

from lipjax.builders.networks import (
    Settings,
    correlation_of,
    discriminator_of,
    flow_of,
    generator_of,
    perceptual_encoder_of,
    perceptual_of,
)
from lipjax.builders.stages import Given
from lipjax.errors import ConfigError, nearest
from lipjax.tasks.at_a_glance import GeneratorTask, Weights
from lipjax.tasks.contract import Task
from lipjax.tasks.judging import Judge
from lipjax.tasks.optical_flow import OpticalFlowTask
from lipjax.tasks.perceptual import PerceptualTask


def adam(
    settings: Settings,
    *,
    steps: int,
    learning_rate: float | None = None,
    b1: float | None = None,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Builds Adam: warm-up, then a cosine down to `final_fraction`.

    Args:
        settings: learning_rate, b1, b2, warmup_steps, final_fraction, clip_norm.
        steps: of the run.
        learning_rate, b1: in place of the settings' own.
        weight_decay: L2, added to the gradient as the authors' code does (not AdamW).
    """
    peak = settings["learning_rate"] if learning_rate is None else learning_rate
    warmup = min(int(settings["warmup_steps"]), max(steps - 1, 0))
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else peak,
        peak_value=peak,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=peak * settings["final_fraction"],
    )
    parts = [optax.clip_by_global_norm(settings["clip_norm"])] if settings["clip_norm"] > 0 else []
    if weight_decay:
        parts.append(optax.add_decayed_weights(weight_decay))
    momentum = settings["b1"] if b1 is None else b1
    return optax.chain(*parts, optax.adam(schedule, b1=momentum, b2=settings["b2"]))


def _at_a_glance(config: ConfigDict, given: Mapping[str, Given]) -> GeneratorTask:
    """The generator's stage."""
    weights = config.weights
    judged, correlated = weights.adversarial > 0, weights.correlation > 0
    if judged:
        _check_batch(config)
    settings, steps = config.optimizer, config.train.steps
    optimizers = {"generator": adam(settings, steps=steps)}
    if judged:
        rate = settings.discriminator_learning_rate
        optimizers["discriminator"] = adam(settings, steps=steps, learning_rate=rate)
    for name in ("correlation", "flow") if correlated else ():
        rate, decay = settings[f"{name}_learning_rate"], settings[f"{name}_weight_decay"]
        optimizers[name] = adam(
            settings, steps=steps, learning_rate=rate, b1=0.9, weight_decay=decay
        )
    terms = ("pixel", "adversarial", "perceptual", "correlation")
    data = config.data
    return GeneratorTask(
        generator=generator_of(config.generator, size=data.mouth_size, bands=data.log_mel.bands),
        weights=Weights(**{name: weights[name] for name in terms}),
        optimizers=optimizers,
        judge=Judge(discriminator_of(config.discriminator), weights.fake, weights.mismatched)
        if judged
        else None,
        correlation=correlation_of(config.correlation) if correlated else None,
        perceptual=perceptual_encoder_of(given["perceptual"].settings)
        if weights.perceptual > 0
        else None,
        flow=flow_of(given["flow"].settings) if "flow" in given else None,
        train_flow=correlated and config.correlation.train_flow,
        shuffled_sound=config.shuffled_sound,
        frames=config.frames,
        huber_delta=config.huber_delta,
        motion_share=config.motion_share,
        ema_decay=config.ema_decay,
        micro_batches=config.train.micro_batches,
    )


def _check_batch(config: ConfigDict) -> None:
    """Refuses batch statistics of a single example, which would take out what the sound says."""
    judge = config.discriminator
    norms = {judge.norm, judge.sound.norm, judge.sound.linear_norm}
    norms |= {judge[source].norm for source in judge.streams}
    if config.data.batch_size == 1 and "batch" in norms:
        raise ConfigError(
            "data.batch_size 1 with a discriminator of norm 'batch': its statistics would silence "
            "the sound stream; use form=lipjax, or a batch of 2 or more"
        )


def _optical_flow(config: ConfigDict, given: Mapping[str, Given]) -> OpticalFlowTask:
    return OpticalFlowTask(
        network=flow_of(config.network),
        scale_weights=tuple(config.scale_weights),
        optimizers={"flow": _stage_adam(config)},
        frames=config.frames,
        ema_decay=config.ema_decay,
        micro_batches=config.train.micro_batches,
    )


def _perceptual(config: ConfigDict, given: Mapping[str, Given]) -> PerceptualTask:
    return PerceptualTask(
        network=perceptual_of(config.network),
        optimizers={"perceptual": _stage_adam(config)},
        frames=config.frames,
        ema_decay=config.ema_decay,
        micro_batches=config.train.micro_batches,
    )


def _stage_adam(config: ConfigDict) -> optax.GradientTransformation:
    decay = config.optimizer.weight_decay
    return adam(config.optimizer, steps=config.train.steps, weight_decay=decay)


_TASKS: dict[str, Callable[[ConfigDict, Mapping[str, Given]], Task]] = {
    "at_a_glance": _at_a_glance,
    "optical_flow": _optical_flow,
    "perceptual": _perceptual,
}


def task_of(config: ConfigDict, given: Mapping[str, Given] | None = None) -> Task:
    """Builds the training stage that a config names.

    Args:
        config: of one stage.
        given: networks of earlier stages that its losses use, see `stages.load_given`.
    """
    if config.task not in _TASKS:
        raise ConfigError(f"task {config.task!r}{nearest(config.task, _TASKS)}")
    return _TASKS[config.task](config, given or {})
