# SPDX-License-Identifier: Apache-2.0
"""A small generator task and a batch whose mouths follow their sound."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lipjax.models.at_a_glance import Generator
from lipjax.models.discriminators import Discriminator, SoundStream, VideoStream
from lipjax.tasks.at_a_glance import GeneratorTask, Weights
from lipjax.tasks.judging import Judge

FRAMES, CONTEXT, BANDS = 8, 2, 128


def tolerance(update):
    """A hundredth of an update: L1 turns rounding into signs, so leaves differ a little."""
    return 1e-2 * jnp.linalg.norm(update) + 1e-5


def make_task(*, judged: bool = True, rate: float = 1.0, norm: str = "frame") -> GeneratorTask:
    """A small task; plain gradient descent makes its updates readable."""
    generator = Generator(
        audio_widths=(4, 4, 8, 8, 8),
        identity_widths=(4, 4, 8),
        fusion_width=8,
        residual_blocks=1,
        decoder_widths=(8, 4),
        final_kernel=(3, 3, 3),
        norm=norm,
        audio_context=CONTEXT,
        speech_features=8 if norm == "frame" else 0,
        paint_on_picture=norm == "frame",
        audio_norm="none" if norm == "frame" else None,
    )
    shared = {"norm": norm, "negative_slope": 0.2}
    discriminator = Discriminator(
        streams=(
            SoundStream(features=4, widths=(4, 4, 4, 4), pool=(4, 4), **shared),
            VideoStream(
                widths=(4, 4, 4),
                strides=((2, 2, 2), (2, 2, 2), (1, 2, 2)),
                **shared,
            ),
        ),
        joint_width=4,
        **shared,
    )
    descent = optax.sgd(rate)
    return GeneratorTask(
        generator=generator,
        judge=Judge(discriminator, fake=0.5, mismatched=0.25) if judged else None,
        weights=Weights(pixel=2.0, adversarial=1.0 if judged else 0.0),
        optimizers={"generator": descent, "discriminator": descent},
        frames=FRAMES,
        ema_decay=0.9,
    )


def make_batch(size: int = 2, seed: int = 0) -> dict[str, jax.Array]:
    """Mouths whose brightness follows the loudness of their sound."""
    rng = np.random.default_rng(seed)
    columns = (FRAMES + 2 * CONTEXT) * 4
    loud = rng.uniform(-0.8, 0.8, (size, 2, FRAMES + 2 * CONTEXT)).repeat(4, axis=2)
    sound = (loud[..., None] + 0.02 * rng.normal(size=(size, 2, columns, BANDS))).astype("f4")
    level = loud[:, 0, 4 * CONTEXT : -4 * CONTEXT : 4]
    video = np.full((size, FRAMES, 64, 64, 3), 96, np.uint8)
    video[:, :, 24:48, 16:48] = (128 + 100 * level).astype(np.uint8)[:, :, None, None, None]
    identity = video[:, :1].copy()
    identity[:, :, 24:48, 16:48] = 128
    batch = {"video": video, "identity": identity, "log_mel": sound[:, 0]}
    return {k: jnp.asarray(v) for k, v in {**batch, "wrong_log_mel": sound[:, 1]}.items()}
