# SPDX-License-Identifier: Apache-2.0
"""The generator's training stage of "Lip Movements Generation at a Glance".

Pixel loss and adversarial loss with mismatched pairs. One generator forward serves both players,
which move at once (the released code alternates and runs the generator twice).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Scalar, Shaped, UInt8

from lipjax.data.views import View
from lipjax.losses import adversarial, pixel
from lipjax.models.at_a_glance import Generator
from lipjax.models.discriminators import Discriminator
from lipjax.state import State, ema_update, guarded

Batch = Mapping[str, Shaped[Array, "B ..."]]


def inputs(*, frames: int, audio_context: int) -> dict[str, View]:
    """Returns the task's input table.

    Args:
        frames: of a window.
        audio_context: frames of real sound on each side of the window.

    Returns:
        `video` and `log_mel` of the window, an `identity` picture from elsewhere in the clip and
        another clip's sound, `wrong_log_mel`, as mismatch.
    """
    sound = dict(stream="log_mel", length=frames + 2 * audio_context, offset=-audio_context)
    return {
        "video": View("mouth", frames),
        "log_mel": View(**sound),
        "identity": View("mouth", 1, where="same_clip"),
        "wrong_log_mel": View(**sound, where="other_clip"),
    }


def to_unit(images: UInt8[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """Maps uint8 pictures to floats in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1.0


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the loss terms.

    Attributes:
        pixel: of the pixel loss (0.5 in the paper, 0.2 in the released code).
        adversarial: of the generator's adversarial loss; 0 trains without discriminator.
        fake: of generated clips in the discriminator's loss (lambda_p in the paper's L_dis).
        mismatched: of real clips with another clip's sound there (lambda_u).
    """

    pixel: float = 0.5
    adversarial: float = 1.0
    fake: float = 0.5
    mismatched: float = 0.5


@dataclasses.dataclass(frozen=True)
class GeneratorTask:
    """One stage: train the generator, with a discriminator if its weight is not zero.

    Attributes:
        generator: the network.
        discriminator: the judge of (sound, video) pairs, or None.
        weights: of the loss terms.
        optimizers: "generator" and, with a discriminator, "discriminator".
        frames: of a window.
        huber_delta: error beyond which the pixel loss is linear; 0 is L1 throughout.
        motion_share: part of the pixel loss's weight that goes by how much a place moves.
        ema_decay: of the averaged generator that evaluation and speaking use.
    """

    generator: Generator
    discriminator: Discriminator | None
    weights: Weights
    optimizers: Mapping[str, optax.GradientTransformation]
    frames: int = 16
    huber_delta: float = 0.0
    motion_share: float = 0.0
    ema_decay: float = 0.999
    best_metric: str = "l1"

    @property
    def inputs(self) -> dict[str, View]:
        """The input table; see `inputs` of this module."""
        return inputs(frames=self.frames, audio_context=self.generator.audio_context)

    def init(self, key: Array, batch: Batch, given: Mapping[str, Any]) -> State:
        """Initialises networks and optimisers on the shapes of a batch."""
        generator_key, discriminator_key, base_key = jax.random.split(key, 3)
        identity, video = to_unit(batch["identity"])[:, 0], to_unit(batch["video"])
        variables = {
            "generator": self.generator.init(
                generator_key, identity[:1], batch["log_mel"][:1], train=False
            )
        }
        if self.discriminator is not None:
            variables["discriminator"] = self.discriminator.init(
                discriminator_key,
                self._heard(batch["log_mel"])[:1],
                {"video": video[:1]},
                train=False,
            )
        params = {name: tree["params"] for name, tree in variables.items()}
        stats = {name: tree.get("batch_stats", {}) for name, tree in variables.items()}
        return State.create(
            key=base_key,
            params=params,
            stats=stats,
            opt={name: self.optimizers[name].init(tree) for name, tree in params.items()},
            ema=("generator",),
            given=given,
        )

    def train_step(self, state: State, batch: Batch) -> tuple[State, dict[str, Scalar]]:
        """Moves both players by one step; a step with non-finite numbers is skipped, counted."""
        if self.discriminator is None:
            return self._pixel_step(state, batch)
        params = (state.params["generator"], state.params["discriminator"])

        def losses(generator: Any, discriminator: Any) -> tuple[tuple[Scalar, Scalar], Any]:
            video, fake, stats = self._generate(generator, state, batch)
            logits, judge_stats = self._judge(discriminator, state, batch, video, fake)
            real, fooled, mismatched = logits[:, 0], logits[:, 1], logits[:, 2]
            terms = {
                "pixel": self._pixel(fake, video).mean(),
                "adversarial": adversarial.real(fooled).mean(),
                "d_real": adversarial.real(real).mean(),
                "d_fake": adversarial.fake(fooled).mean(),
                "d_mismatched": adversarial.fake(mismatched).mean(),
            }
            w = self.weights
            generator_loss = w.pixel * terms["pixel"] + w.adversarial * terms["adversarial"]
            discriminator_loss = (
                terms["d_real"] + w.fake * terms["d_fake"] + w.mismatched * terms["d_mismatched"]
            )
            new_stats = {"generator": stats, "discriminator": judge_stats}
            return (generator_loss, discriminator_loss), (terms, new_stats)

        # Each player's loss is pulled back to that player's parameters alone: the unused halves
        # are dropped by the compiler, and no stop_gradient is needed for the fake clips.
        values, pull, (terms, stats) = jax.vjp(losses, *params, has_aux=True)
        one, zero = jnp.ones(()), jnp.zeros(())
        grads = {"generator": pull((one, zero))[0], "discriminator": pull((zero, one))[1]}
        metrics = {**terms, "generator_loss": values[0], "discriminator_loss": values[1]}
        return self._update(state, grads, stats, metrics)

    def _pixel_step(self, state: State, batch: Batch) -> tuple[State, dict[str, Scalar]]:
        def loss(generator: Any) -> tuple[Scalar, Any]:
            video, fake, stats = self._generate(generator, state, batch)
            value = self._pixel(fake, video).mean()
            return self.weights.pixel * value, ({"pixel": value}, {"generator": stats})

        (value, (terms, stats)), grads = jax.value_and_grad(loss, has_aux=True)(
            state.params["generator"]
        )
        metrics = {**terms, "generator_loss": value}
        return self._update(state, {"generator": grads}, stats, metrics)

    def _generate(self, params: Any, state: State, batch: Batch):
        """Returns the real video, the generated one and the generator's new statistics."""
        variables = {"params": params, "batch_stats": state.stats["generator"]}
        identity = to_unit(batch["identity"])[:, 0]
        (fake, _), changed = self.generator.apply(
            variables, identity, batch["log_mel"], train=True, mutable=["batch_stats"]
        )
        return to_unit(batch["video"]), fake.astype(jnp.float32), changed.get("batch_stats", {})

    def _judge(self, params: Any, state: State, batch: Batch, video: Array, fake: Array):
        """Scores (real, generated, mismatched) in one forward; returns logits [B, 3]."""
        right, wrong = self._heard(batch["log_mel"]), self._heard(batch["wrong_log_mel"])
        # Stacked behind the batch axis, so that sharded clips stay on their devices.
        sounds = jnp.stack([right, right, wrong], axis=1)
        videos = jnp.stack([video, fake, video], axis=1)
        flat = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
        logits, changed = self.discriminator.apply(
            {"params": params, "batch_stats": state.stats["discriminator"]},
            flat(sounds),
            {"video": flat(videos)},
            train=True,
            mutable=["batch_stats"],
        )
        return logits.reshape(-1, 3).astype(jnp.float32), changed.get("batch_stats", {})

    def _pixel(self, fake: Array, video: Array) -> Float[Array, "B"]:
        weights = pixel.motion_weights(video, self.motion_share) if self.motion_share else 1.0
        if self.huber_delta > 0:
            return pixel.huber(fake, video, weights, delta=self.huber_delta)
        return pixel.l1(fake, video, weights)

    def _heard(self, log_mel: Float[Array, "B C F"]) -> Float[Array, "B c F"]:
        """The sound of the window itself, without the context around it."""
        context = self.generator.audio_context
        per_frame = log_mel.shape[1] // (self.frames + 2 * context)
        return log_mel[:, context * per_frame : log_mel.shape[1] - context * per_frame]

    def _update(self, state: State, grads: dict, stats: dict, metrics: dict):
        params, opt = {}, {}
        for name, gradient in grads.items():
            updates, opt[name] = self.optimizers[name].update(
                gradient, state.opt[name], state.params[name]
            )
            params[name] = optax.apply_updates(state.params[name], updates)
            metrics[f"{name}_gradient"] = optax.tree.norm(gradient)
        new = state.replace(
            step=state.step + 1,
            params=params,
            stats=stats,
            opt=opt,
            ema=ema_update(state.ema, params, stats, state.step, self.ema_decay),
        )
        finite = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))))
        return guarded(new, state, finite), metrics

    def eval_step(self, state: State, batch: Batch) -> dict[str, Float[Array, "B"]]:
        """Scores the averaged generator: L1 with the right sound and with another clip's."""
        variables = self.speaker_params(state)
        video, identity = to_unit(batch["video"]), to_unit(batch["identity"])[:, 0]

        def l1(log_mel: Array) -> Array:
            fake, _ = self.generator.apply(variables, identity, log_mel, train=False)
            return pixel.l1(fake.astype(jnp.float32), video)

        right, wrong = l1(batch["log_mel"]), l1(batch["wrong_log_mel"])
        still = pixel.l1(jnp.broadcast_to(identity[:, None], video.shape), video)
        return {"l1": right, "l1_wrong_sound": wrong, "l1_still_picture": still}

    def speaker_params(self, state: State) -> dict[str, Any]:
        """The averaged generator's variables, as `generator.apply` takes them."""
        return {
            "params": state.ema["params"]["generator"],
            "batch_stats": state.ema["stats"]["generator"],
        }
