# SPDX-License-Identifier: Apache-2.0
"""Small trainings that are made ill on purpose, and their healthy twin."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from task_tools import make_batch, make_task

from lipjax.models.correlation import FlowEncoder, SpeechDerivativeEncoder
from lipjax.tasks.at_a_glance import GeneratorTask, Weights
from lipjax.tasks.correlating import Correlation
from lipjax.tasks.symptoms import Symptom
from lipjax.training import loop
from lipjax.training.logging import read_metrics


@dataclasses.dataclass(frozen=True)
class QuickTask(GeneratorTask):
    """The generator's stage, whose symptoms need a twentieth of their time to show."""

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        return tuple(dataclasses.replace(s, steps=s.steps // 20) for s in super().symptoms)


@dataclasses.dataclass(frozen=True)
class Mouths:
    """Other clips in every step; with `shuffled` sound, that of another clip than the mouth's."""

    shuffled: bool = False
    size: int = 4

    def batch(self, step: int) -> dict[str, np.ndarray]:
        batch = {name: np.asarray(x) for name, x in make_batch(self.size, seed=step).items()}
        if self.shuffled:
            batch["log_mel"] = np.asarray(make_batch(self.size, seed=step + 10**6)["log_mel"])
        return batch


def quick_task(*, generator: float = 1e-2, discriminator: float = 3e-3) -> QuickTask:
    """Returns a task with pixels, a discriminator and a correlation loss on frames.

    Args:
        generator: its learning rate.
        discriminator: likewise.
    """
    task = make_task()
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
    fields |= {
        "weights": Weights(pixel=10.0, adversarial=0.03, correlation=0.1),
        "correlation": Correlation(
            sound=SpeechDerivativeEncoder(features=8, blocks=1, outputs=4, derivative=False),
            motion=FlowEncoder(widths=(4, 4, 4, 4), norm="none", last_activation=False),
            form="contrast",
            hears="log_mel",
            sees="video",
        ),
        "optimizers": {
            "generator": optax.adam(generator),
            "discriminator": optax.adam(discriminator),
            "correlation": optax.adam(1e-2),
        },
    }
    return QuickTask(**fields)


def trained(task: QuickTask, windows: Mouths, workdir: Path, *, steps: int) -> tuple[Any, list]:
    """Trains on one device; returns the rows of the log and the lines about health."""
    lines: list[str] = []
    loop.train(
        task,
        windows,
        workdir=workdir,
        steps=steps,
        log_every=10,
        eval_batches=[windows.batch(10**7)],
        eval_every=20,
        checkpoint_every=steps,
        devices=jax.devices()[:1],
        show=lines.append,
    )
    return read_metrics(workdir), [line for line in lines if "well" in line]
