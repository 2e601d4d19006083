# SPDX-License-Identifier: Apache-2.0
"""Lip Movements Generation at a Glance (ECCV 2018).

    lipjax prepare VIDEOS --out corpus/grid
    python train.py --config configs/at_a_glance.py:grid --recipe --workdir runs/grid \
        --config.data.dirs=corpus/grid
    python eval.py --workdir runs/grid --split test

The word after the colon picks what to train, `,form=` the networks, `,row=` the losses:

    grid            full widths, for a GPU or TPU; lrw and ldc: the same on those corpora
    grid_cpu        reduced widths, for two CPU cores and half an hour
    demo            the same for fewer steps, for minutes (`make demo`)
    tiny            seconds; for tests

    form=lipjax     what works better: normalisation per frame, real sound beyond the window
    form=released   the authors' code of July 2018, parameter for parameter
    form=paper      as the paper's figures draw it
    form=chung      the Chung-style baseline of Table 3, with its own losses (so is vondrick)
    form=vondrick   the Vondrick-style baseline

    row=a ... row=i the losses of the paper's Table 2 (`_losses.py`): b is pixels alone (default
                    of the small ones), e the full model (default of grid, form=paper), g what the
                    released trainer trains (default of form=released)

Rows that look at optical flow or features need the networks of two earlier stages: --recipe.

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

from lipjax.configs._losses import ROWS, set_row
from lipjax.configs._networks import FORMS, make_small, set_form
from lipjax.configs._stages import make_short, stages
from lipjax.errors import nearest

SIZES = ("grid", "lrw", "ldc", "grid_cpu", "demo", "tiny")
_SMALL = ("grid_cpu", "demo", "tiny")
_BASELINES = {"chung": "b", "vondrick": "a"}
_ROW = {"lipjax": "e", "paper": "e", "released": "g", **_BASELINES}


def get_config(which: str = "grid") -> ConfigDict:
    """Returns the experiment named by `which`, for example "grid,form=released,row=e"."""
    size, *words = which.split(",")
    options = dict(word.partition("=")[::2] for word in words)
    if set(options) - {"form", "row"}:
        raise ValueError(f"{which!r}: options are form= and row=")
    form = _one_of(FORMS, "form=", options.get("form", "lipjax"))
    _one_of(SIZES, "variant ", size)
    usual = "b" if size in _SMALL else _ROW[form]
    row = _one_of(tuple(ROWS), "row=", options.get("row", _BASELINES.get(form, usual)))
    if form in _BASELINES and row != _BASELINES[form]:
        raise ValueError(f"{which!r}: the losses of form={form} are its own; leave out row=")
    config = _base()
    set_form(config, form)
    _SIZES[size](config)
    set_row(config, row)
    return config


def _one_of(names: tuple[str, ...], kind: str, given: str) -> str:
    if given not in names:
        raise ValueError(f"no {kind}{given}{nearest(given, names)}")
    return given


def _base() -> ConfigDict:
    return ConfigDict(
        {
            "task": "at_a_glance",
            "seed": 0,
            "frames": 16,
            "generator": {},
            "discriminator": {},
            "correlation": {},
            "weights": {
                "pixel": 0.5,
                "perceptual": 1.0,
                "adversarial": 1.0,
                "correlation": 1.0,
                "fake": 0.5,
                "mismatched": 0.5,
            },
            "huber_delta": 0.0,
            "motion_share": 0.0,
            "shuffled_sound": False,  # a control: every video with another clip's sound
            # Runs of earlier stages; "" is WORKDIR/stages/NAME, where --recipe trains them.
            "given": {"flow": "", "perceptual": ""},
            "stages": stages(),
            "optimizer": {
                "learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "b1": 0.5,
                "b2": 0.999,
                "warmup_steps": 0,
                "final_fraction": 1.0,
                "clip_norm": 0.0,
                "correlation_learning_rate": 1e-4,
                "correlation_weight_decay": 5e-4,
                "flow_learning_rate": 1e-4,
                "flow_weight_decay": 4e-4,
            },
            "ema_decay": 0.999,
            "data": {
                "dirs": ("corpus/grid",),
                "weights": (),
                "batch_size": 24,
                "mouth_size": 64,
                "fps": 25.0,
                "cache_mb": 1024.0,
                # Decoded clips kept on disk: "auto" (with the corpus, if they do not fit into
                # cache_mb), a folder, or "" (nowhere).
                "ready": "auto",
                "workers": 0,  # processes that make batches; 0: threads
                "patience": 600.0,  # seconds without a batch: the processes count as hanging
                # Shares of the clips that may be unusable or shorter than a window, and skipped.
                "max_bad_fraction": 0.05,
                "max_short_fraction": 0.5,
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
                "augment": {
                    "flip": 0.0,
                    "brightness": 0.0,
                    "colour": 0.0,
                    "zoom": 0.0,
                    "shift": 0.0,
                    "blur": 0.0,
                    "hiss": 0.0,
                },
            },
            "train": {
                "steps": 200_000,
                "log_every": 50,
                "eval_every": 2_000,
                "checkpoint_every": 1_000,
                "preview_every": 2_000,
                "eval_windows": 256,
                "shards": 1,
                "micro_batches": 1,  # parts of a batch that are worked through one by one
                "max_skipped": 50,  # updates in a row with NaN in them that end the run
            },
        }
    )


def _grid(config: ConfigDict) -> None:
    """Full widths; an accelerator."""


def _lrw(config: ConfigDict) -> None:
    """Full widths on LRW, with its official splits."""
    config.data.dirs = ("corpus/lrw",)


def _ldc(config: ConfigDict) -> None:
    """Full widths on LDC2009V01, speakers F02 and M01 held out."""
    config.data.dirs = ("corpus/ldc",)


def _grid_cpu(config: ConfigDict) -> None:
    make_small(
        config,
        audio=(16, 32, 32, 32, 32),
        identity=(8, 16, 32),
        blocks=2,
        decoder=(24, 12),
        flow=(16, 32, 64, 96),
    )
    make_short(config, steps=1500, every=250)
    config.optimizer.update(
        {"learning_rate": 2e-3, "b1": 0.9, "final_fraction": 0.05, "warmup_steps": 50}
    )
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
    make_small(
        config,
        audio=(4, 4, 8, 8, 8),
        identity=(4, 4, 8),
        blocks=1,
        decoder=(8, 4),
        flow=(8, 8, 8, 8),
    )
    make_short(config, steps=10, every=5)
    config.optimizer.update({"learning_rate": 2e-3, "warmup_steps": 0})
    config.data.batch_size = 4
    config.train.update({"steps": 20, "log_every": 5, "eval_every": 10, "checkpoint_every": 10})
    config.train.update({"preview_every": 10, "eval_windows": 8})


_SIZES = {
    "grid": _grid,
    "lrw": _lrw,
    "ldc": _ldc,
    "grid_cpu": _grid_cpu,
    "demo": _demo,
    "tiny": _tiny,
}
