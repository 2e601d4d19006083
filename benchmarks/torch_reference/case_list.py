# SPDX-License-Identifier: Apache-2.0
"""The networks that are compared with PyTorch, at full and at small widths; needs no PyTorch."""

import dataclasses
from collections.abc import Mapping

from benchmarks.torch_reference.cases import Case
from lipjax.models.at_a_glance import Generator
from lipjax.models.correlation import AudioDerivativeEncoder, FlowEncoder
from lipjax.models.discriminators import FLOW_STRIDES, Discriminator, SoundStream, VideoStream
from lipjax.models.optical_flow import FlowNet
from lipjax.models.perceptual import PerceptualEncoder


def cases(small: bool, only: tuple[str, ...] = ()) -> list[Case]:
    """Returns all cases, at full or at small widths, or those named."""
    made = _small() if small else _full()
    if not small:
        made = [dataclasses.replace(case, decided=case.name not in FEW_UNITS) for case in made]
        silent = {"discriminator, three streams": HEARD_ALIKE}
        made = [
            dataclasses.replace(case, silent={**case.silent, **silent.get(case.name, {})})
            for case in made
        ]
    return [case for case in made if not only or case.name in only]


def _silent(layers: int) -> dict[str, str]:
    """Biases that a batch norm takes away again."""
    return {f"layer_{i + 1}/bias": f"layer_{i + 1}/kernel" for i in range(layers)}


FEW_UNITS = ("phi_s", "phi_v")
"""Too few for one to be as near to zero as rounding reaches, at full widths too."""
HEARD_ALIKE = {"sound/layer_4/norm/bias": "sound/layer_4/norm/scale"}
"""Of units that all stand to one side of zero: moves all vectors alike, which their norm undoes."""


def _discriminators(sound: tuple[int, ...], features: int, widths: tuple[int, ...], joint: int):
    """The two- and the three-stream form; the last width is doubled where video is alone."""
    last = (*widths[:-1], 2 * widths[-1])
    two = (SoundStream(features=features, widths=sound), VideoStream(widths=last))
    flow = VideoStream(
        source="flow", widths=widths, strides=FLOW_STRIDES, kernel_size=(3, 3, 3), padding=None
    )
    hearing = SoundStream(features=features, widths=sound, linear_norm="batch")
    three = (hearing, VideoStream(widths=widths), flow)
    return (Discriminator(streams=streams, joint_width=joint) for streams in (two, three))


def _all(batches: Mapping[str, int], generator: Generator, two, three, flow, perceptual, phis):
    size, frames = generator.size, 16 if generator.size == 64 else 4
    clip = {
        "identity": (batches["generator"], size, size, 3),
        "log_mel": (batches["generator"], 4 * frames, generator.bands),
    }
    judged = batches["discriminator"]
    streams = {"log_mel": (judged, 64, 128), "video": (judged, 16, 64, 64, 3)}
    pair = (batches["flow"], 64, 64, 3)
    phi_s, phi_v = phis
    channels = generator.audio_widths[-1]
    return [
        Case("generator", generator, clip),
        Case("generator, running statistics", generator, clip, train=False),
        Case("discriminator, two streams", two, streams),
        Case("discriminator, three streams", three, {**streams, "flow": (judged, 15, 16, 16, 2)}),
        Case("flow network", flow, {"first": pair, "second": pair}),
        Case("perceptual encoder", perceptual, {"frames": (batches["frames"], 64, 64, 3)}, False),
        Case("phi_s", phi_s, {"feature": (2, 16, 16, channels)}, silent=_silent(4)),
        Case("phi_v", phi_v, {"flow": (2, 15, 16, 16, 2)}, silent=_silent(4)),
    ]


def _full() -> list[Case]:
    two, three = _discriminators((32, 64, 128, 256), 256, (64, 128, 256, 256), 512)
    batches = {"generator": 1, "discriminator": 6, "flow": 4, "frames": 2}
    phis = AudioDerivativeEncoder(), FlowEncoder()
    return _all(batches, Generator(), two, three, FlowNet(), PerceptualEncoder(), phis)


def _small() -> list[Case]:
    generator = Generator(
        size=16,
        bands=32,
        audio_widths=(4, 4, 6, 6, 8),
        identity_widths=(4, 6, 8),
        fusion_width=8,
        residual_blocks=2,
        decoder_widths=(6, 4),
    )
    two, three = _discriminators((4, 4, 6, 6), 8, (4, 6, 8, 8), 8)
    flow = FlowNet(widths=(8, 8, 8, 8, 8, 8), decoder_widths=(8, 8, 6, 6))
    perceptual = PerceptualEncoder(widths=(4, 6, 8), residual_blocks=2)
    phis = AudioDerivativeEncoder((8, 6, 6, 4)), FlowEncoder(widths=(4, 6, 6, 4))
    batches = {"generator": 2, "discriminator": 4, "flow": 2, "frames": 2}
    return _all(batches, generator, two, three, flow, perceptual, phis)
