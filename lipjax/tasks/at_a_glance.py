# SPDX-License-Identifier: Apache-2.0
"""The generator's training stage of "Lip Movements Generation at a Glance".

Pixel, perceptual, adversarial and correlation loss, each where it has a weight. One generator
forward serves all players, which move at once (the released code alternates and runs the
generator twice). The perceptual and the flow network come from earlier stages.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Scalar, Shaped

from lipjax.data.views import View
from lipjax.errors import ConfigError
from lipjax.losses import pixel
from lipjax.models.optical_flow import FlowNet, video_flow
from lipjax.models.perceptual import PerceptualEncoder
from lipjax.state import State
from lipjax.tasks.accumulating import batch_gradients
from lipjax.tasks.correlating import Correlation
from lipjax.tasks.judging import Judge
from lipjax.tasks.players import created, to_unit, updated
from lipjax.tasks.symptoms import (
    SOUND_IGNORED,
    SOUND_USELESS,
    UNCORRELATED,
    WORSE_THAN_STILL,
    Symptom,
)

Batch = Mapping[str, Shaped[Array, "B ..."]]


def inputs(*, frames: int, audio_context: int, shuffled_sound: bool = False) -> dict[str, View]:
    """Returns the task's input table.

    Args:
        frames: of a window.
        audio_context: frames of real sound on each side of the window.
        shuffled_sound: `log_mel` is another clip's, as a control.

    Returns:
        `video` and `log_mel` of the window, an `identity` picture from elsewhere in the clip and
        another clip's sound, `wrong_log_mel`, as mismatch.
    """
    sound = View("log_mel", frames + 2 * audio_context, offset=-audio_context)
    another = dataclasses.replace(sound, where="other_clip")
    return {
        "video": View("mouth", frames),
        "log_mel": dataclasses.replace(another, draw=1) if shuffled_sound else sound,
        "identity": View("mouth", 1, where="same_clip"),
        "wrong_log_mel": another,
    }


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the generator's loss terms.

    Attributes:
        pixel: of the pixel loss (0.5 in the paper, 0.2 in the released code).
        adversarial: of the adversarial loss; 0 trains without discriminator.
        perceptual: of the perceptual loss.
        correlation: of the correlation loss.
    """

    pixel: float = 0.5
    adversarial: float = 1.0
    perceptual: float = 0.0
    correlation: float = 0.0


@dataclasses.dataclass(frozen=True)
class GeneratorTask:
    """One stage: train the generator, with the networks of those losses that have a weight.

    Attributes:
        generator: the network, called like `lipjax.models.at_a_glance.Generator`.
        weights: of the loss terms.
        optimizers: "generator" and, where there are such players, "discriminator", "correlation"
            and "flow".
        judge: the discriminator, or None.
        correlation: the correlation networks, or None.
        perceptual: the perceptual encoder, its variables in `given["perceptual"]`; or None.
        flow: the flow network, its variables in `given["flow"]`; or None.
        train_flow: whether the correlation loss moves the flow network too, from where it was
            given (as the released code does); it may then stop being optical flow.
        shuffled_sound: a control: train every video with another clip's sound.
        frames: of a window.
        huber_delta: error beyond which the pixel loss is linear; 0 is L1 throughout.
        motion_share: part of the pixel loss's weight that goes by how much a place moves.
        ema_decay: of the averaged generator that evaluation and speaking use.
        micro_batches: parts that a batch is worked through in.

    Example:
        >>> import optax
        >>> from lipjax.tasks.at_a_glance import Weights
        >>> players = {"generator": optax.adam(1e-3)}
        >>> weights = Weights(pixel=1.0, adversarial=0.0)
        >>> task = lipjax.GeneratorTask(lipjax.Generator(), weights, players)
        >>> task.inputs["video"]
        View(stream='mouth', length=16, offset=0, where='window', draw=0)
    """

    generator: nn.Module
    weights: Weights
    optimizers: Mapping[str, optax.GradientTransformation]
    _: dataclasses.KW_ONLY
    judge: Judge | None = None
    correlation: Correlation | None = None
    perceptual: PerceptualEncoder | None = None
    flow: FlowNet | None = None
    train_flow: bool = False
    shuffled_sound: bool = False
    frames: int = 16
    huber_delta: float = 0.0
    motion_share: float = 0.0
    ema_decay: float = 0.999
    micro_batches: int = 1
    best_metric: str = "l1"

    def __post_init__(self) -> None:
        if self._uses_flow and self.flow is None:
            raise ConfigError("a loss looks at optical flow, but no flow network is given")
        if self.train_flow and not (self.correlation and self.correlation.sees == "flow"):
            raise ConfigError("train_flow without a correlation loss on flow trains it on nothing")

    @property
    def inputs(self) -> dict[str, View]:
        """The input table; see `inputs` of this module."""
        context = self.generator.audio_context
        return inputs(frames=self.frames, audio_context=context, shuffled_sound=self.shuffled_sound)

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """What can go wrong with these players; see docs/health.md."""
        found = [SOUND_IGNORED, SOUND_USELESS, WORSE_THAN_STILL]
        if self.judge is not None:
            found += self.judge.symptoms
        return tuple(found if self.correlation is None else [*found, UNCORRELATED])

    @property
    def _uses_flow(self) -> bool:
        judged = self.judge is not None and "flow" in self.judge.sources
        return judged or (self.correlation is not None and self.correlation.sees == "flow")

    def init(self, key: Array, batch: Batch, given: Mapping[str, Any]) -> State:
        """Initialises networks and optimisers on the shapes of a batch."""
        keys = jax.random.split(key, 4)
        identity, video = to_unit(batch["identity"])[:1, 0], to_unit(batch["video"])[:1]
        log_mel = batch["log_mel"][:1]
        generator = self.generator.init(keys[0], identity, log_mel, train=False)
        variables: dict[str, Mapping[str, Any]] = {"generator": generator}
        given = dict(given)
        seen = {"video": video}
        if self._uses_flow:
            seen["flow"] = self._flow(given["flow"], video)
        if self.judge is not None:
            variables["discriminator"] = self.judge.init(
                keys[1], self._heard(log_mel), video, seen.get("flow")
            )
        if self.correlation is not None:
            _, between = self.generator.apply(generator, identity, log_mel, train=False)
            heard = {"log_mel": self._heard(log_mel), **between}[self.correlation.hears]
            variables["correlation"] = self.correlation.init(
                keys[2], heard, seen[self.correlation.sees]
            )
        if self.train_flow:
            variables["flow"] = given.pop("flow")
        return created(
            keys[3], variables, optimizers=self.optimizers, ema=("generator",), given=given
        )

    def train_step(self, state: State, batch: Batch) -> tuple[State, dict[str, Scalar]]:
        """Moves all players by one step; a step with non-finite numbers is skipped, counted."""

        def losses(params: Any, stats: Any, batch: Batch, key: Any) -> Any:
            return self._losses(params, stats, state.given, batch, key)

        values, grads, terms, stats = batch_gradients(
            losses, state, batch, micro_batches=self.micro_batches
        )
        metrics = {**terms, **{f"{name}_loss": value for name, value in values.items()}}
        return updated(
            state, grads, stats, metrics, optimizers=self.optimizers, ema_decay=self.ema_decay
        )

    def _losses(self, params: Any, old_stats: Any, given: Any, batch: Batch, key: Array) -> Any:
        """Returns each player's loss, and (terms by name, player -> new statistics)."""
        variables = {
            name: {"params": tree, "batch_stats": old_stats[name]} for name, tree in params.items()
        }
        video, identity = to_unit(batch["video"]), to_unit(batch["identity"])[:, 0]
        (fake, between), changed = self.generator.apply(
            variables["generator"],
            identity,
            batch["log_mel"],
            train=True,
            mutable=["batch_stats"],
            rngs={"noise": key},
        )
        fake = fake.astype(jnp.float32)
        stats = {"generator": changed.get("batch_stats", {})}
        seen = {"video": (video, fake)}
        if self._uses_flow:
            network = variables["flow"] if self.train_flow else given["flow"]
            seen["flow"] = self._flow(network, video), self._flow(network, fake)
        terms, losses = {}, {}
        if self.weights.pixel:
            terms["pixel"] = self._pixel(fake, video).mean()
        if self.perceptual is not None:
            terms["perceptual"] = _perceptual(self.perceptual, given["perceptual"], fake, video)
        sounds = self._heard(batch["log_mel"]), self._heard(batch["wrong_log_mel"])
        if self.judge is not None:
            flow, fake_flow = seen.get("flow", (None, None))
            losses["discriminator"], judged, stats["discriminator"] = self.judge(
                variables["discriminator"], sounds, (video, flow), (fake, fake_flow)
            )
            terms |= judged
        total = dict(terms)
        if self.correlation is not None:
            heard: tuple[Array, Array | None] = sounds
            if self.correlation.hears == "audio_feature":
                heard = between["audio_feature"], None
            losses["correlation"], total["correlation"], scores, stats["correlation"] = (
                self.correlation(variables["correlation"], heard, seen[self.correlation.sees])
            )
            terms |= scores
            if self.train_flow:
                losses["flow"] = losses["correlation"]
        weights = dataclasses.asdict(self.weights)
        losses["generator"] = sum(weights[name] * total[name] for name in weights if name in total)
        return losses, (terms, stats)

    def _flow(self, variables: Any, video: Array) -> Array:
        """The finest flow between all consecutive frames, in one batch."""
        network = self.flow
        assert network is not None  # what looks at flow is refused without it

        def flows(first: Array, second: Array) -> Any:
            return network.apply(variables, first, second)

        return video_flow(flows, video)

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

    def eval_step(self, state: State, batch: Batch) -> dict[str, Float[Array, "B"]]:
        """Scores the averaged generator: L1 with the right sound and with another clip's.

        `sound_effect` is how much that swap changes its video, `motion` how much the real one
        moves (L1 from its mean over time).
        """
        variables = self.speaker_params(state)
        video, identity = to_unit(batch["video"]), to_unit(batch["identity"])[:, 0]

        def speak(log_mel: Array) -> Array:
            fake, _ = self.generator.apply(variables, identity, log_mel, train=False)
            return fake.astype(jnp.float32)

        right, wrong = speak(batch["log_mel"]), speak(batch["wrong_log_mel"])
        mean = video.mean(axis=1, keepdims=True)
        return {
            "l1": pixel.l1(right, video),
            "l1_wrong_sound": pixel.l1(wrong, video),
            "l1_still_picture": pixel.l1(jnp.broadcast_to(identity[:, None], video.shape), video),
            "sound_effect": pixel.l1(wrong, right),
            "motion": pixel.l1(jnp.broadcast_to(mean, video.shape), video),
        }

    def speaker_params(self, state: State) -> dict[str, Any]:
        """The averaged generator's variables, as `generator.apply` takes them."""
        return {
            "params": state.ema["params"]["generator"],
            "batch_stats": state.ema["stats"]["generator"],
        }


def _perceptual(network: PerceptualEncoder, variables: Any, fake: Array, video: Array) -> Scalar:
    """Mean squared difference of features; the network uses its running statistics."""
    features: list[Any] = [
        network.apply(variables, x.reshape(-1, *x.shape[2:]), train=False) for x in (fake, video)
    ]
    return jnp.mean(jnp.square((features[0] - features[1]).astype(jnp.float32)))
