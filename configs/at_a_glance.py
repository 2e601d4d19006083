# SPDX-License-Identifier: Apache-2.0
"""Lip Movements Generation at a Glance (ECCV 2018).

    lipjax prepare VIDEOS --out corpus/grid
    python train.py --config configs/at_a_glance.py:grid --workdir runs/grid \
        --config.data.dirs=corpus/grid
    python eval.py --workdir runs/grid --split test

The word after the colon picks what to train, `,form=` the form of the networks:

    grid            full widths, for a GPU or TPU
    grid_cpu        reduced widths, for two CPU cores and half an hour
    demo            the same for fewer steps, for minutes (`make demo`)
    tiny            seconds; for tests

    form=lipjax     what works better: normalisation per frame, real sound beyond the window
    form=released   the authors' code of July 2018, parameter for parameter
    form=paper      as the paper's figures draw it

Measured on two CPU cores (benchmarks/results/grid_cpu.json): `grid_cpu` on GRID, 90 clips of
speaker s1, 6000 steps of 4 windows in 28 minutes. On 10 unseen sentences of s1: LMD 0.67
(motionless mean mouth 1.00, linear predictor 0.58), r(opening) 0.83 (wrong sound 0.39), in speech
0.64 (linear predictor 0.57), PSNR 27.2 dB (still picture 25.0), SSIM 0.83; blurred teeth. On four
unseen speakers: LMD 1.66, worse than a motionless mouth (1.51): one speaker teaches no others.
`demo` on the built-in corpus, 1800 steps in 7 minutes; unseen speakers: LMD 1.49 (motionless mean
mouth 1.85), r(opening) 0.84 (wrong sound 0.06), lips closed in 93 % of /p b m/. `grid`,
`released` and `paper` have not been trained by us.
"""

from ml_collections import ConfigDict

FORMS = ("lipjax", "released", "paper")
SIZES = ("grid", "grid_cpu", "demo", "tiny")


def get_config(which: str = "grid") -> ConfigDict:
    """Returns the experiment named by `which`, for example "grid,form=released"."""
    size, *options = which.split(",")
    form = dict(option.split("=", 1) for option in options).get("form", "lipjax")
    if size not in SIZES or form not in FORMS:
        raise ValueError(f"{which!r}: choose one of {SIZES}, with form= one of {FORMS}")
    config = _base()
    {"lipjax": _lipjax, "released": _released, "paper": _paper}[form](config)
    {"grid": _grid, "grid_cpu": _grid_cpu, "demo": _demo, "tiny": _tiny}[size](config)
    return config


def _base() -> ConfigDict:
    return ConfigDict(
        {
            "task": "at_a_glance",
            "seed": 0,
            "frames": 16,
            "generator": {},
            "discriminator": {},
            "weights": {"pixel": 0.5, "adversarial": 1.0, "fake": 0.5, "mismatched": 0.5},
            "huber_delta": 0.0,
            "motion_share": 0.0,
            "optimizer": {
                "learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "b1": 0.5,
                "b2": 0.999,
                "warmup_steps": 0,
                "final_fraction": 1.0,
                "clip_norm": 0.0,
            },
            "ema_decay": 0.999,
            "data": {
                "dirs": ("corpus/grid",),
                "weights": (),
                "batch_size": 24,
                "mouth_size": 64,
                "fps": 25.0,
                "cache_mb": 1024.0,
                "workers": 0,  # processes that make batches; 0: threads
                "log_mel": {
                    "rate": 16_000,
                    "hop": 160,
                    "window": 512,
                    "n_fft": 1024,
                    "bands": 128,
                    "fmin": 0.0,
                    "fmax": 8000.0,
                    "floor_db": -100.0,
                    "level_db": -20.0,
                },
                "augment": {"flip": 0.0, "brightness": 0.0, "shift": 0.0, "hiss": 0.0},
            },
            "train": {
                "steps": 200_000,
                "log_every": 50,
                "eval_every": 2_000,
                "checkpoint_every": 1_000,
                "preview_every": 2_000,
                "eval_windows": 256,
                "shards": 1,
            },
        }
    )


def _released(config: ConfigDict) -> None:
    config.generator = ConfigDict(
        {
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
            "norm": "batch",
            "audio_norm": "batch",
            "audio_context": 0,
            "dtype": "float32",
        }
    )
    config.discriminator = ConfigDict(
        {
            "sound": {
                "widths": (32, 64, 128, 256),
                "features": 256,
                "pool": (),  # () flattens, as published
                "norm": "batch",
                "negative_slope": 0.0,
            },
            "video": {
                "widths": (64, 128, 256, 512),
                "norm": "batch",
                "negative_slope": 0.0,
            },
            "joint_width": 512,
            "norm": "batch",
            "negative_slope": 0.0,
            "dtype": "float32",
        }
    )
    config.weights.pixel = 0.2
    # The recording's own 44.1 kHz, four columns per frame.
    config.data.log_mel.update(
        {"rate": 44_100, "hop": 441, "window": 1024, "n_fft": 2048, "fmax": 16_000.0}
    )


def _paper(config: ConfigDict) -> None:
    _released(config)
    config.generator.audio_widths = (32, 64, 128, 256)
    config.generator.audio_pool = "max"
    config.generator.identity_widths = (64, 256, 256)
    config.generator.residual_kernel = (3, 3, 3)
    config.generator.decoder_widths = (256, 128)
    config.discriminator.video.widths = (64, 256, 256, 256)
    config.weights.pixel = 0.5


def _lipjax(config: ConfigDict) -> None:
    _released(config)
    config.generator.update({"norm": "frame", "audio_norm": "none", "paint_on_picture": True})
    config.generator.update({"speech_features": 256, "audio_context": 6})
    for part in (config.discriminator, config.discriminator.sound, config.discriminator.video):
        part.norm = "frame"
        part.negative_slope = 0.2
    config.discriminator.sound.pool = (4, 1)
    config.weights.update({"pixel": 10.0, "adversarial": 0.1})
    config.huber_delta = 0.3
    config.optimizer.update({"b1": 0.5, "clip_norm": 1.0, "warmup_steps": 500})
    config.data.log_mel = _base().data.log_mel
    config.data.augment.update({"flip": 0.5, "brightness": 0.15, "shift": 0.03, "hiss": 0.15})


def _grid(config: ConfigDict) -> None:
    """Full widths; an accelerator."""


def _small(
    config: ConfigDict,
    *,
    audio: tuple[int, ...],
    identity: tuple[int, ...],
    blocks: int,
    decoder: tuple[int, ...],
) -> None:
    """Reduced widths; beyond the fusion every frame is decoded for itself, which CPUs like."""
    width = identity[-1]
    config.generator.update(
        {
            "audio_widths": audio[: len(config.generator.audio_widths)],
            "identity_widths": identity,
            "fusion_width": width,
            "speech_features": 2 * width if config.generator.speech_features else 0,
            "residual_blocks": blocks,
            "decoder_widths": decoder,
            "decoder_kernel": (1, 3, 3),
            "final_kernel": (1, 5, 5),
        }
    )
    config.discriminator.joint_width = width
    config.discriminator.sound.update(
        {"widths": (width // 4, width // 2, width // 2, width), "features": width}
    )
    config.discriminator.video.widths = (width // 4, width // 2, width, width)


def _grid_cpu(config: ConfigDict) -> None:
    _small(config, audio=(16, 32, 32, 32, 32), identity=(8, 16, 32), blocks=2, decoder=(24, 12))
    config.weights.adversarial = 0.0
    config.optimizer.update({"learning_rate": 2e-3, "b1": 0.9, "final_fraction": 0.05})
    config.optimizer.warmup_steps = 50
    config.ema_decay = 0.99
    # Many small steps: what matters early is how often the sound can be found to matter.
    config.data.batch_size = 4
    config.train.update(
        {"steps": 6000, "eval_every": 500, "checkpoint_every": 250, "preview_every": 1000}
    )
    config.train.eval_windows = 64


def _demo(config: ConfigDict) -> None:
    _grid_cpu(config)
    config.motion_share = 0.5  # in so few steps lips come before skin
    config.train.update({"steps": 1800, "eval_every": 450, "checkpoint_every": 450})
    config.train.preview_every = 900


def _tiny(config: ConfigDict) -> None:
    _small(config, audio=(4, 4, 8, 8, 8), identity=(4, 4, 8), blocks=1, decoder=(8, 4))
    config.optimizer.update({"learning_rate": 2e-3, "warmup_steps": 0})
    config.data.batch_size = 4
    config.train.update({"steps": 20, "log_every": 5, "eval_every": 10, "checkpoint_every": 10})
    config.train.update({"preview_every": 10, "eval_windows": 8})
