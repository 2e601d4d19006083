# SPDX-License-Identifier: Apache-2.0
"""How training goes wrong, as the log shows it: said by tasks, watched for by the loop.

A task lists its symptoms, as data: which columns of the log to read, from which means on they are
sick, and what to tell whoever trains. The loop knows no more of them. docs/health.md shows what
they look like.
"""

import dataclasses
import math
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Symptom:
    """One way in which training goes wrong.

    Attributes:
        name: in the log, as `health/NAME`.
        reads: columns of the log, for example "train/d_real" or "eval/l1".
        sick: whether means of these columns over a while, given in their order, are sick.
        seen: what is going on, in plain words; the means are told behind it.
        advice: what to try.
        rows: how many rows "a while" is at least; rows that lack a column do not count.
        steps: how many steps of training they must span besides.
    """

    name: str
    reads: tuple[str, ...]
    sick: Callable[..., bool]
    seen: str
    advice: str
    rows: int = 3
    steps: int = 1_000


def told_apart(loss_on_right: float, loss_on_wrong: float) -> float:
    """Returns how well right and wrong are told apart: up to 2; at most 1 by whoever cannot.

    It is the geometric mean probability of the true answer on one kind plus that on the other.
    Where scores D are drawn alike for both, it is exp(mean log D) + exp(mean log(1 - D)), which is
    at most mean D + mean (1 - D) = 1, whatever the scores; also over many steps.

    Args:
        loss_on_right: mean of -log D on the right kind.
        loss_on_wrong: mean of -log(1 - D) on the wrong kind.
    """
    return math.exp(-loss_on_right) + math.exp(-loss_on_wrong)


SATURATED = Symptom(
    name="discriminator_saturated",
    reads=("train/d_real", "train/d_fake", "train/adversarial"),
    # d_real need not be small: one that knows every fake but hears nothing stays at log 1.5.
    sick=lambda real, fake, adversarial: fake < 0.05 and told_apart(real, fake) > 1.5,
    seen="the discriminator knows every generated clip from a real one; nothing that the generator "
    "does makes a difference to it, and the adversarial loss pulls at full strength for ever",
    advice="lower optimizer.discriminator_learning_rate, raise the weight of the pixel loss, or "
    "let the generator learn from pixels first (--from a run of row b)",
)

BLIND = Symptom(
    name="discriminator_blind",
    reads=("train/d_real", "train/d_fake", "train/d_mismatched"),
    sick=lambda real, fake, mismatched: (
        told_apart(real, fake) <= 1.0 and told_apart(real, mismatched) <= 1.0
    ),
    seen="the discriminator tells real clips neither from generated ones nor from those with "
    "another clip's sound; the adversarial loss is noise",
    advice="raise optimizer.discriminator_learning_rate or the discriminator's widths; look "
    "whether discriminator_gradient is 0",
    steps=2_000,
)

DEAF = Symptom(
    name="discriminator_deaf",
    reads=("train/d_real", "train/d_mismatched"),
    sick=lambda real, mismatched: told_apart(real, mismatched) <= 1.0,
    seen="the discriminator does not tell a clip's own sound from another clip's; the adversarial "
    "loss asks for sharp pictures, not for lips in step",
    advice="look whether sound and picture of the corpus belong together (lipjax analyse "
    "correlation CORPUS); raise weights.mismatched or the batch size, or train for longer",
    steps=2_000,
)

UNCORRELATED = Symptom(
    name="correlation_stuck",
    reads=("train/r_real", "train/r_real_wrong_sound"),
    sick=lambda own, wrong: own - wrong < 0.05,
    seen="the correlation networks score a real clip with its own sound no higher than with "
    "another clip's: the correlation loss is a constant that teaches nothing",
    advice="correlation.form=contrast (the published cosine is satisfied by constants); look "
    "whether sound and picture of the corpus belong together (lipjax analyse correlation CORPUS), "
    "and whether the flow network is trained; raise optimizer.correlation_learning_rate",
)

_HEARD = 0.1
"""A swap of the sound must move the picture by this part of what real lips move it."""

SOUND_IGNORED = Symptom(
    name="sound_ignored",
    reads=("eval/sound_effect", "eval/motion"),
    sick=lambda effect, motion: effect < _HEARD * motion,
    seen="the generator ignores the sound: with another clip's sound it makes the same video",
    advice="look whether sound and picture of the corpus belong together (lipjax analyse "
    "correlation CORPUS); lower the adversarial weight or raise the pixel loss's, raise "
    "motion_share, take smaller batches and more steps, or a lower learning rate",
)

SOUND_USELESS = Symptom(
    name="sound_useless",
    reads=("eval/l1", "eval/l1_wrong_sound", "eval/sound_effect", "eval/motion"),
    sick=lambda right, wrong, effect, motion: (
        effect >= _HEARD * motion and wrong - right < 0.05 * effect
    ),
    seen="the generator moves with the sound, but a clip's own sound brings it no closer to the "
    "real video than another clip's",
    advice="look whether sound and picture of the corpus belong together (lipjax analyse "
    "correlation CORPUS); more speakers or clips if only held-out clips show it; train for longer",
)


def no_better(
    name: str, score: str, reference: str, *, margin: float = 1.0, seen: str, advice: str
) -> Symptom:
    """Returns the symptom of a score that, evaluated, is no lower than that of doing nothing.

    Args:
        name: of the symptom.
        score: of `eval_step`.
        reference: the score, from `eval_step` too, of what takes no training.
        margin: how many times the reference the score must be.
        seen: as in `Symptom`.
        advice: as in `Symptom`.
    """
    return Symptom(
        name=name,
        reads=(f"eval/{score}", f"eval/{reference}"),
        sick=lambda trained, nothing: trained >= margin * nothing,
        seen=seen,
        advice=advice,
    )


WORSE_THAN_STILL = no_better(
    "worse_than_still",
    "l1",
    "l1_still_picture",
    margin=1.05,  # a loss that goes by motion may pay for lips with skin
    seen="on held-out clips the video is farther from the truth than the picture it was made from, "
    "unmoved",
    advice="if it was better before: a lower learning rate, optimizer.clip_norm=1, a lower "
    "adversarial weight; if it never was: more speakers and clips, or train for longer",
)

NO_FLOW = no_better(
    "no_flow",
    "endpoint_error",
    "endpoint_error_no_motion",
    seen="the flow network's flow is no closer to the target than no motion at all",
    advice="a lower learning rate, or more steps; look at the previews of the flow",
)

NO_PICTURE = no_better(
    "no_picture",
    "squared_error",
    "squared_error_mean_colour",
    seen="the autoencoder's picture is no closer to the frame than one flat colour",
    advice="a lower learning rate, or more steps; look at the previews of the reconstructions",
)
