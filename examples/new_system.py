# SPDX-License-Identifier: Apache-2.0
"""A system of your own: a generator that bends a picture; trained, and made to talk.

    python examples/new_system.py CORPUS WORKDIR FACE AUDIO

Sound becomes a coarse field of displacements and of colour for every frame; the picture is bent by
the one and tinted by the other. Data, losses, resuming, evaluation and dubbing are lipjax's own.
docs/adding_a_system.md goes through it.
"""

import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import lipjax
from lipjax.nn.warping import resize_flow, warp
from lipjax.tasks.at_a_glance import Weights
from lipjax.training import loop


class Bend(nn.Module):
    """Speech and one picture to a video, by bending and tinting the picture.

    Attributes:
        size, bands: pixels of the picture, mel bands of the sound.
        width: channels.
        grid: places across the coarse fields.
        audio_context: frames of real sound that are heard beyond the window on both sides.
    """

    size: int = 64
    bands: int = 128
    width: int = 64
    grid: int = 8
    audio_context: int = 2
    columns_per_frame = 4  # log-mel columns of one video frame
    margin = 0  # given that context, a frame needs nothing of its neighbours

    @nn.compact
    def __call__(
        self, identity: Float[Array, "B H W 3"], log_mel: Float[Array, "B C F"], *, train=False
    ) -> tuple[Float[Array, "B T H W 3"], dict[str, Array]]:
        """Returns the video in [-1, 1], and the displacements in pixels, "flow" [N H W 2]."""
        batch, columns, _ = log_mel.shape
        sound = log_mel.reshape(batch, columns // self.columns_per_frame, -1)  # a row per frame
        taps = 2 * self.audio_context + 1
        x = nn.Conv(self.width, (taps,), padding="VALID", name="hear")(sound)
        seen = nn.Conv(self.width, (8, 8), strides=(8, 8), name="look")(identity)
        x = x + nn.Dense(self.width, name="whose")(seen.reshape(batch, 1, -1))
        # Thousands of sound values move each sum at once: without a norm the units soon die.
        x = nn.silu(nn.Dense(self.width, name="mix")(nn.silu(nn.LayerNorm(name="norm")(x))))
        # Near zero, so that training starts from the still picture.
        small = nn.initializers.variance_scaling(1e-4, "fan_in", "normal")
        fields = nn.Dense(self.grid**2 * 5, kernel_init=small, name="fields")(x)
        fields = fields.reshape(-1, self.grid, self.grid, 5)
        flow = resize_flow(fields[..., :2], self.size, self.size)
        tint = jax.image.resize(fields[..., 2:], (*flow.shape[:3], 3), "linear")
        still = jnp.repeat(identity, x.shape[1], axis=0)
        video = jnp.clip(warp(still, flow) + tint, -1, 1)
        return video.reshape(batch, -1, *video.shape[1:]), {"flow": flow}


def train(corpus: str, workdir: str, *, size: int = 64, steps: int = 600) -> lipjax.Talker:
    """Trains the generator on a prepared corpus, or goes on with a run that stopped."""
    streams = lipjax.Streams(mouth_size=size, log_mel=lipjax.LogMel())
    task = lipjax.GeneratorTask(
        generator=Bend(size=size, bands=streams.log_mel.bands),
        weights=Weights(pixel=10.0, adversarial=0.0),
        optimizers={"generator": optax.adam(1e-3)},
        huber_delta=0.3,
        motion_share=0.5,
        ema_decay=0.99,
    )
    training, held_out = (
        lipjax.Windows(
            [lipjax.open_corpus(corpus)], task.inputs, split=split, streams=streams, batch_size=8
        )
        for split in ("train", "val")
    )
    times = dict(steps=steps, eval_every=steps // 4, checkpoint_every=steps // 4)
    held_out = held_out.examples(32)
    done = loop.train(task, training, workdir=Path(workdir), eval_batches=held_out, **times)
    speaker = lipjax.AtAGlanceSpeaker.from_generator(task.generator, log_mel=streams.log_mel)
    return lipjax.Talker(speaker, jax.device_get(task.speaker_params(done.state)))


if __name__ == "__main__":
    model = train(*sys.argv[1:3])
    model.generate(face=sys.argv[3], audio=sys.argv[4], out="talk.mp4")
