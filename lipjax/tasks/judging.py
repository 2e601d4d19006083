# SPDX-License-Identifier: Apache-2.0
"""The discriminator's part of a training step: real, generated and mismatched, in one forward."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.losses import adversarial
from lipjax.models.discriminators import Discriminator
from lipjax.tasks.symptoms import BLIND, DEAF, SATURATED, Symptom


@dataclasses.dataclass(frozen=True)
class Judge:
    """A discriminator, and what its losses weigh.

    Attributes:
        discriminator: the network; the sources of its video streams may be "video", "difference"
            (of consecutive frames) and "flow".
        fake: weight of generated clips in its loss (lambda_p in the paper's L_dis).
        mismatched: weight of real clips with another clip's sound there (lambda_u).
    """

    discriminator: Discriminator
    fake: float = 0.5
    mismatched: float = 0.5

    @property
    def sources(self) -> frozenset[str]:
        """What its video streams look at."""
        streams = self.discriminator.streams
        return frozenset(s.source for s in streams if hasattr(s, "source"))

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """What can go wrong with a discriminator that is asked for as much as this one."""
        return (SATURATED, BLIND, DEAF) if self.mismatched else (SATURATED,)

    def videos(
        self, video: Float[Array, "B T H W 3"], flow: Float[Array, "B t h w 2"] | None
    ) -> dict[str, Array]:
        """Returns the inputs of the video streams."""
        made = {"video": video, "difference": video[:, 1:] - video[:, :-1]}
        if flow is not None:
            made["flow"] = flow
        return {name: made[name] for name in self.sources}

    def init(
        self, key: Array, log_mel: Array, video: Array, flow: Array | None
    ) -> Mapping[str, Any]:
        """Initialises the network on the shapes of a batch."""
        clip = {name: value[:1] for name, value in self.videos(video, flow).items()}
        return self.discriminator.init(key, log_mel[:1], clip, train=False)

    def __call__(
        self,
        variables: dict[str, Any],
        sounds: tuple[Array, Array],
        real: tuple[Array, Array | None],
        generated: tuple[Array, Array | None],
    ) -> tuple[Float[Array, ""], dict[str, Array], Any]:
        """Judges (real, right), (generated, right) and (real, wrong).

        Args:
            variables: of the discriminator.
            sounds: log-mel features, the right and the wrong one.
            real: the real video and its flow (None if no stream looks at it).
            generated: likewise.

        Returns:
            The discriminator's loss; the terms "adversarial" (the generator's loss), "d_real",
            "d_fake" and "d_mismatched"; and the new statistics.
        """
        right, wrong = sounds
        real_clip, generated_clip = self.videos(*real), self.videos(*generated)
        # Stacked behind the batch axis, so that sharded clips stay on their devices.
        together = lambda *parts: jnp.stack(parts, 1).reshape(-1, *parts[0].shape[1:])  # noqa: E731
        logits, changed = self.discriminator.apply(
            variables,
            together(right, right, wrong),
            {name: together(clip, generated_clip[name], clip) for name, clip in real_clip.items()},
            train=True,
            mutable=["batch_stats"],
        )
        logits = logits.reshape(-1, 3).astype(jnp.float32)
        terms = {
            "adversarial": adversarial.generator(logits[:, 1]).mean(),
            "d_real": adversarial.real(logits[:, 0]).mean(),
            "d_fake": adversarial.fake(logits[:, 1]).mean(),
            "d_mismatched": adversarial.fake(logits[:, 2]).mean(),
        }
        loss = (
            terms["d_real"] + self.fake * terms["d_fake"] + self.mismatched * terms["d_mismatched"]
        )
        return loss, terms, changed.get("batch_stats", {})
