# SPDX-License-Identifier: Apache-2.0
"""Small speakers whose context is known exactly, for the tests of chunks, streams and generate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lipjax.media.audio import LogMel
from lipjax.speakers.contract import Needs

SOUND = LogMel(bands=8)
TRACES: list[tuple[int, ...]] = []
"""Shapes of the sound for which a toy's step was traced, that is: compiled."""


def needs(**fields) -> Needs:
    return Needs(**{"log_mel": SOUND, "mouth_size": 16, "chunk": 8, **fields})


def _blur(x, kernel):
    """Zero-padded convolution in time, [B T F] with [K F]."""
    radius = len(kernel) // 2
    padded = jnp.pad(x, ((0, 0), (radius, radius), (0, 0)))
    return sum(padded[:, i : i + x.shape[1]] * kernel[i] for i in range(len(kernel)))


@dataclasses.dataclass(frozen=True)
class ConvSpeaker:
    """Two zero-padded convolutions in time, radius 3 before and 4 after the context is cut."""

    needs: Needs

    @staticmethod
    def params(seed: int = 0):
        rng = np.random.default_rng(seed)
        shapes = {"sound": (7, SOUND.bands), "time": (9, SOUND.bands), "out": (SOUND.bands, 3)}
        return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}

    def begin(self, params, target):
        return target[:, 0]

    def step(self, params, carry, sound, target_chunk):
        TRACES.append(sound.shape)
        context, ratio = self.needs.sound_context, self.needs.columns_per_frame
        frames = self.needs.frames_in(sound.shape[1])
        rows = jnp.array([int(t * ratio) for t in range(frames)])
        x = jnp.tanh(_blur(sound[:, rows], params["sound"]))
        x = x[:, context : frames - context]
        colour = jnp.tanh(_blur(x, params["time"]) @ params["out"])
        video = carry[:, None] * 0.5 + colour[:, :, None, None, :] * 0.5
        if target_chunk is not None:
            video = 0.5 * video + 0.5 * target_chunk
        return video, carry


@dataclasses.dataclass(frozen=True)
class RecurrentSpeaker:
    """Remembers in its carry: a leaky sum of the sound so far, shown as brightness."""

    needs: Needs

    def begin(self, params, target):
        return {"face": target[:, 0], "memory": jnp.zeros((target.shape[0], SOUND.bands))}

    def step(self, params, carry, sound, target_chunk):
        context = self.needs.sound_context * 4
        x = sound.reshape(*sound.shape[:1], -1, 4, SOUND.bands).mean(2)
        if context:
            x = _blur(x, jnp.ones((2 * self.needs.sound_context + 1, 1)))
            x = x[:, self.needs.sound_context : -self.needs.sound_context]

        def tick(memory, now):
            memory = 0.9 * memory + 0.1 * now
            return memory, memory

        memory, states = jax.lax.scan(tick, carry["memory"], jnp.moveaxis(x, 1, 0))
        level = jnp.tanh(jnp.moveaxis(states, 0, 1) @ params)
        video = carry["face"][:, None] * level[:, :, None, None, None]
        return video, {**carry, "memory": memory}
