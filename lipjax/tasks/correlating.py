# SPDX-License-Identifier: Apache-2.0
"""The correlation loss: how sound and lips change must belong together, in a learned space.

Two forms. "cosine" is the published one: the networks and the generator all lower one minus the
cosine on real and on generated clips. Its encoders' outputs are not negative, so a constant
satisfies it. "contrast" is ours: the correlation is centred over time, the networks learn on real
clips to correlate with the right sound more than with another clip's, and the generator is then
asked for motion of which they say the same. A constant correlates with nothing.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.losses import correlation

FORMS = ("cosine", "contrast")
HEARS = ("audio_feature", "log_mel")
SEES = ("flow", "video")


@dataclasses.dataclass(frozen=True)
class Correlation:
    """The two encoders of the correlation loss, and its form.

    Attributes:
        sound: encoder of the sound's change.
        motion: encoder of the lips' motion.
        form: "cosine" or "contrast".
        hears: "audio_feature", the generator's own (as published), or "log_mel".
        sees: "flow", or "video" for frames as they are (the paper's row f).
        temperature: of the contrast; differences of correlation far beyond it no longer count.
    """

    sound: nn.Module
    motion: nn.Module
    form: str = "cosine"
    hears: str = "audio_feature"
    sees: str = "flow"
    temperature: float = 0.2

    def __post_init__(self) -> None:
        for name, known in (("form", FORMS), ("hears", HEARS), ("sees", SEES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"correlation.{name} {getattr(self, name)!r}: one of {', '.join(known)}"
                )
        if self.form == "contrast" and self.hears != "log_mel":
            raise ConfigError(
                "correlation.form 'contrast' compares with another clip's sound, which the "
                "generator has not heard: set correlation.hears to 'log_mel'"
            )

    def init(self, key: Array, heard: Array, seen: Array) -> dict[str, Any]:
        """Initialises both encoders; returns variables with a "sound" and a "motion" half."""
        keys = jax.random.split(key)
        halves = {
            "sound": self.sound.init(keys[0], heard[:1], train=False),
            "motion": self.motion.init(keys[1], seen[:1], train=False),
        }
        return {
            kind: {name: half.get(kind, {}) for name, half in halves.items()}
            for kind in ("params", "batch_stats")
        }

    def __call__(
        self,
        variables: dict[str, Any],
        heard: tuple[Array, Array | None],
        seen: tuple[Array, Array],
    ) -> tuple[Float[Array, ""], Float[Array, ""], dict[str, Array], Any]:
        """Scores sounds against real and generated motion.

        Args:
            variables: as `init` returns them.
            heard: what the sound encoder gets for the right sound and for the wrong one (None in
                the form "cosine").
            seen: what the motion encoder gets for the real and for the generated clip.

        Returns:
            The encoders' loss, the generator's loss, the terms by name, the new statistics. The
            terms "r_real" and "r_real_wrong_sound" are the scores of real motion with its own and
            with another clip's sound.
        """
        right, wrong = heard if self.form == "contrast" else (heard[0], None)
        sounds = right if wrong is None else jnp.stack([right, wrong], 1)
        sounds = sounds.reshape(-1, *right.shape[1:])
        motions = jnp.stack(seen, 1).reshape(-1, *seen[0].shape[1:])
        encoded, stats = {}, {}
        for name, module, x in (
            ("sound", self.sound, sounds),
            ("motion", self.motion, motions),
        ):
            half = {kind: variables[kind][name] for kind in ("params", "batch_stats")}
            encoded[name], changed = module.apply(half, x, train=True, mutable=["batch_stats"])
            stats[name] = changed.get("batch_stats", {})
        motion = encoded["motion"].reshape(-1, 2, *encoded["motion"].shape[1:])
        real, generated = motion[:, 0], motion[:, 1]
        if self.form == "cosine":
            sound = encoded["sound"]
            on_real = correlation.cosine(sound, real).mean()
            on_generated = correlation.cosine(sound, generated).mean()
            loss = 0.5 * (on_real + on_generated)
            terms = {"correlation_real": on_real, "correlation_fake": on_generated}
            if len(real) > 1:
                # The next clip's sound, in place of a second forward.
                wrong_sound = correlation.cosine(jnp.roll(sound, 1, axis=0), real).mean()
                terms |= {"r_real": 1.0 - on_real, "r_real_wrong_sound": 1.0 - wrong_sound}
            return loss, loss, terms, stats
        sound = encoded["sound"].reshape(-1, 2, *encoded["sound"].shape[1:])
        scores = {
            name: (correlation.centred(sound[:, 0], clip), correlation.centred(sound[:, 1], clip))
            for name, clip in (("real", real), ("fake", generated))
        }
        losses = {
            name: correlation.contrast(*pair, temperature=self.temperature).mean()
            for name, pair in scores.items()
        }
        terms = {
            "correlation_real": losses["real"],
            "correlation_fake": losses["fake"],
            "r_real": scores["real"][0].mean(),
            "r_real_wrong_sound": scores["real"][1].mean(),
            "r_fake": scores["fake"][0].mean(),
        }
        return losses["real"], losses["fake"], terms, stats
