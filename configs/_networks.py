# SPDX-License-Identifier: Apache-2.0
"""The networks of `at_a_glance.py` in the forms that it offers, and their sizes for CPUs."""

from ml_collections import ConfigDict

FORMS = ("lipjax", "released", "paper", "chung", "vondrick")


def set_form(config: ConfigDict, form: str) -> None:
    """Sets the networks, and the settings that belong to them."""
    _released(config)
    if form != "released":
        {"paper": _paper, "lipjax": _lipjax, "chung": _chung, "vondrick": _vondrick}[form](config)


def _released(config: ConfigDict) -> None:
    """The authors' code of July 2018."""
    config.generator = ConfigDict(
        {
            "kind": "at_a_glance",
            "audio_widths": (32, 64, 128, 256, 256),
            "audio_time_strides": (1, 2, 1, 2, 1),
            "audio_pool": "conv",
            "identity_widths": (64, 128, 256),
            "fusion_width": 256,
            "speech_features": 0,
            "speech_blocks": 2,
            "residual_blocks": 9,
            "residual_kernel": (1, 3, 3),
            "decoder_widths": (128, 64),
            "decoder_kernel": (3, 3, 3),
            "final_kernel": (7, 7, 7),
            "paint_on_picture": False,
            "remat": False,  # keep less of the forward pass: less memory, more time
            "norm": "batch",
            "audio_norm": "batch",
            "audio_context": 0,
            "dtype": "float32",
        }
    )
    config.discriminator = ConfigDict(
        {
            "kind": "streams",
            "streams": ("video", "flow"),
            "sound": {
                "widths": (32, 64, 128, 256),
                "features": 256,
                "pool": (),  # () flattens, as published
                "norm": "batch",
                "linear_norm": "batch",
                "negative_slope": 0.0,
            },
            "video": {"widths": (64, 128, 256, 256), "norm": "batch", "negative_slope": 0.0},
            "flow": {
                "widths": (64, 128, 256, 256),
                "kernel_size": (3, 3, 3),
                "norm": "batch",
                "negative_slope": 0.0,
            },
            "difference": {"widths": (64, 128, 256, 256), "norm": "batch", "negative_slope": 0.0},
            "joint_width": 512,
            "norm": "batch",
            "negative_slope": 0.0,
            "dtype": "float32",
        }
    )
    config.correlation = ConfigDict(
        {
            "form": "cosine",
            "hears": "audio_feature",
            "sees": "flow",
            "derivative": True,
            "sound_widths": (128, 64, 32, 16),
            "motion_widths": (4, 8, 16, 16),
            "norm": "batch",
            "temperature": 0.2,
            "train_flow": True,
        }
    )
    config.weights.pixel = 0.2
    # The recording's own 44.1 kHz, four columns per frame.
    config.data.log_mel.update(
        {"rate": 44_100, "hop": 441, "window": 1024, "n_fft": 2048, "fmax": 16_000.0}
    )


def _paper(config: ConfigDict) -> None:
    """As the paper's figures draw it; what they leave open is as released."""
    config.generator.update(
        {
            "audio_widths": (32, 64, 128, 256),
            "audio_pool": "max",
            "identity_widths": (64, 256, 256),
            "residual_kernel": (3, 3, 3),
            "decoder_widths": (256, 128),
        }
    )
    for name in ("video", "flow", "difference"):
        config.discriminator[name].widths = (64, 256, 256, 256)
    config.discriminator.flow.kernel_size = (4, 4, 4)
    config.correlation.train_flow = False
    config.weights.pixel = 0.5


def _lipjax(config: ConfigDict) -> None:
    """What works better: no batch statistics, real sound beyond the window, a hearing generator."""
    config.generator.update(
        {
            "norm": "frame",
            "audio_norm": "none",
            "paint_on_picture": True,
            "speech_features": 256,
            "audio_context": 6,
        }
    )
    judge = config.discriminator
    for part in (judge, judge.sound, judge.video, judge.flow, judge.difference):
        part.norm = "frame"
        part.negative_slope = 0.2
    # Flow lies around zero, and how much there is of it is what counts: no norm.
    judge.flow.norm = judge.difference.norm = "none"
    judge.sound.update({"pool": (4, 1), "linear_norm": "none"})
    config.correlation.update(
        {
            "form": "contrast",
            "hears": "log_mel",
            "sound_widths": (64, 16),
            "motion_widths": (16, 32, 32, 16),
            "norm": "none",
            "train_flow": False,
        }
    )
    # By gradient: where a trained generator stands, pixels still pull hardest.
    config.weights.update(
        {"pixel": 10.0, "perceptual": 0.2, "adversarial": 0.03, "correlation": 0.05}
    )
    config.huber_delta = 0.3
    config.optimizer.update({"b1": 0.5, "clip_norm": 1.0, "warmup_steps": 500})
    config.optimizer.correlation_learning_rate = 1e-3
    config.optimizer.correlation_weight_decay = 0.0
    config.data.log_mel.update(
        {"rate": 16_000, "hop": 160, "window": 512, "n_fft": 1024, "fmax": 8000.0}
    )
    config.data.augment.update({"flip": 0.5, "brightness": 0.15, "shift": 0.03, "hiss": 0.15})
    config.stages.flow.network.dtype = "float32"
    config.stages.perceptual.network.norm = "frame"


def _chung(config: ConfigDict) -> None:
    """The Chung-style baseline of Table 3: sound and picture as one vector, L1 alone."""
    config.generator = ConfigDict(
        {
            "kind": "chung",
            "audio_widths": (32, 64, 128, 128),
            "audio_features": 256,
            "audio_pool": (),
            "picture_widths": (96, 256, 256, 512, 256, 128),
            "picture_features": (512, 256),
            "joint_features": 128,
            "decoder_widths": (512, 256, 256, 256, 96, 96, 64),
            "norm": "batch",
            "dtype": "float32",
        }
    )
    config.weights.pixel = 1.0


def _vondrick(config: ConfigDict) -> None:
    """The Vondrick-style baseline of Table 3: no picture, noise, adversarial loss alone."""
    config.generator = ConfigDict(
        {
            "kind": "vondrick",
            "audio_widths": (32, 64, 128, 128),
            "audio_features": 256,
            "audio_pool": (),
            "noise": 100,
            "foreground_widths": (512, 256, 128, 64, 64),
            "background_widths": (512, 256, 128, 64, 64),
            "norm": "batch",
            "dtype": "float32",
        }
    )
    config.discriminator.kind = "vondrick"
    config.discriminator.sound.linear_norm = "none"
    config.discriminator.video.widths = (64, 128, 256, 512)


def make_small(
    config: ConfigDict,
    *,
    audio: tuple[int, ...],
    identity: tuple[int, ...],
    blocks: int,
    decoder: tuple[int, ...],
    flow: tuple[int, ...],
) -> None:
    """Reduced widths; beyond the fusion every frame is decoded for itself, which CPUs like."""
    width = identity[-1]
    if config.generator.kind == "at_a_glance":
        _make_generator_small(config.generator, audio, identity, blocks, decoder)
    else:
        _make_baseline_small(config.generator, width)
    judge = config.discriminator
    judge.joint_width = width
    judge.sound.update({"widths": (width // 4, width // 2, width // 2, width), "features": width})
    for name in ("video", "flow", "difference"):
        judge[name].widths = (width // 4, width // 2, width, width)
    if config.correlation.hears == "audio_feature":
        config.correlation.sound_widths = (width // 2, width // 2, 16, 16)
    config.stages.flow.network.update(
        {"widths": flow, "decoder_widths": tuple(w // 2 for w in flow[-2:0:-1][: len(flow) - 2])}
    )
    config.stages.flow.scale_weights = (1.0, 0.5, 0.25)
    config.stages.perceptual.network.update({"widths": identity, "residual_blocks": 2})


def _make_generator_small(
    generator: ConfigDict,
    audio: tuple[int, ...],
    identity: tuple[int, ...],
    blocks: int,
    decoder: tuple[int, ...],
) -> None:
    width = identity[-1]
    generator.update(
        {
            "audio_widths": audio[: len(generator.audio_widths)],
            "identity_widths": identity,
            "fusion_width": width,
            "speech_features": 2 * width if generator.speech_features else 0,
            "residual_blocks": blocks,
            "decoder_widths": decoder,
            "decoder_kernel": (1, 3, 3),
            "final_kernel": (1, 5, 5),
        }
    )


def _make_baseline_small(generator: ConfigDict, width: int) -> None:
    """The baselines' widths divided by 256 / `width`, their vectors by half of that."""
    for name in ("audio_widths", "picture_widths", "decoder_widths", "foreground_widths"):
        if name in generator:
            generator[name] = tuple(max(4, n * width // 256) for n in generator[name])
    if "background_widths" in generator:
        generator.background_widths = generator.foreground_widths
    generator.audio_features = 2 * width
    generator.audio_pool = (4, 4)
    if generator.kind == "chung":
        generator.update({"picture_features": (2 * width, 2 * width), "joint_features": 2 * width})
