# SPDX-License-Identifier: Apache-2.0
"""The stages that come before the generator's: its flow network and its perceptual network."""

from ml_collections import ConfigDict


def stages() -> ConfigDict:
    """Returns both stages at full widths; what they do not say is as in the generator's stage."""
    train = {
        "steps": 50_000,
        "log_every": 50,
        "eval_every": 2_000,
        "checkpoint_every": 1_000,
        "preview_every": 2_000,
        "eval_windows": 256,
        "shards": 1,
        "micro_batches": 1,  # parts of a batch that are worked through one by one
        "max_skipped": 50,
    }
    optimizer = {
        "learning_rate": 1e-4,
        "b1": 0.9,
        "b2": 0.999,
        "weight_decay": 0.0,
        "warmup_steps": 500,
        "final_fraction": 0.05,
        "clip_norm": 1.0,
    }
    return ConfigDict(
        {
            "flow": {
                "task": "optical_flow",
                "frames": 16,
                "network": {
                    "widths": (64, 128, 256, 512, 512, 1024),
                    "decoder_widths": (512, 256, 128, 64),
                    "dtype": "float32",
                },
                # The released weights lean on the coarsest map, one vector for a whole mouth; we
                # lean on the finest, the one that is used.
                "scale_weights": (1.0, 0.5, 0.25, 0.125, 0.0625),
                "optimizer": {**optimizer, "weight_decay": 4e-4},
                "ema_decay": 0.999,
                "batch_size": 8,
                "train": train,
            },
            "perceptual": {
                "task": "perceptual",
                "frames": 4,
                "network": {
                    "widths": (64, 128, 256),
                    "residual_blocks": 6,
                    "norm": "batch",
                    "dtype": "float32",
                },
                "optimizer": {**optimizer, "learning_rate": 2e-4, "b1": 0.5},
                "ema_decay": 0.999,
                "batch_size": 16,
                "train": {**train, "steps": 20_000},
            },
        }
    )


def make_short(config: ConfigDict, *, steps: int, every: int) -> None:
    """Shortens both stages: steps, and steps between evaluations and checkpoints."""
    for stage in config.stages.values():
        stage.train.update(
            {
                "steps": steps,
                "log_every": min(50, every),
                "eval_every": every,
                "checkpoint_every": every,
                "preview_every": steps,
                "eval_windows": 32,
            }
        )
        stage.optimizer.update({"learning_rate": 2e-3, "b1": 0.9, "warmup_steps": 20})
        stage.ema_decay = 0.99
        stage.batch_size = 4
