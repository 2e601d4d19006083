# SPDX-License-Identifier: Apache-2.0
"""What every setting of configs/at_a_glance.py means; make_pages.py makes settings.md of it."""

INTRO = """# All settings

Every key of `configs/at_a_glance.py`, with its value in `:grid` (full widths, `form=lipjax`) and,
where it differs, in `:grid_cpu`. Any of them is changed on the command line, in one word:

```
lipjax train --config configs/at_a_glance.py:grid_cpu --workdir runs/mine \\
    --config.data.dirs=corpus/mine --config.train.steps=5000 --config.optimizer.clip_norm=1
```

A value must be of the same kind as the old one; tuples are written `1,2,3` or `"(1,2,3)"`. An
unknown key ends the command with the nearest right name. `form=` and `row=` set many of them at
once ([train.md](train.md)); a change on the command line comes last and wins.
"""

_WIDTHS = "channels of the layers"
_NORM = "`batch`, `frame` (each frame by itself) or `none`"
_SLOPE = "slope of the activations below zero"
_STEPS = {
    "checkpoint_every": "steps between checkpoints",
    "eval_every": "steps between evaluations on held-out windows",
    "eval_windows": "held-out windows that are evaluated",
    "log_every": "steps per row of `metrics.jsonl`",
    "max_skipped": "updates in a row with NaN or infinity in them that end the run",
    "micro_batches": "parts of a batch that are worked through one by one, to save memory",
    "preview_every": "steps between previews",
    "shards": "devices that share one copy of parameters, optimiser and averages",
    "steps": "of the whole run",
}
_ADAM = {
    "b1": "Adam's first decay",
    "b2": "Adam's second decay",
    "clip_norm": "gradients are scaled down to this norm; 0 leaves them",
    "final_fraction": "of the learning rate that is left at the end of the cosine; 1 keeps it flat",
    "learning_rate": "highest learning rate",
    "warmup_steps": "steps over which it rises from 0",
}


def _stage(name: str, network: dict[str, str]) -> dict[str, str]:
    above = f"stages.{name}."
    return {
        **{f"{above}train.{key}": told for key, told in _STEPS.items()},
        **{f"{above}optimizer.{key}": told for key, told in _ADAM.items()},
        **{f"{above}network.{key}": told for key, told in network.items()},
        f"{above}optimizer.weight_decay": "L2, added to the gradient",
        f"{above}batch_size": "windows of a batch, all devices together",
        f"{above}ema_decay": "of the averaged network that is handed on",
        f"{above}frames": "of a window",
        f"{above}task": "the kind of stage",
    }


TOLD = {
    "task": "the kind of stage",
    "seed": "of parameters, data order and all randomness",
    "frames": "of a window",
    "huber_delta": "error (pixels in [-1, 1]) beyond which the pixel loss is linear; 0 is L1",
    "motion_share": "part of the pixel loss that goes by how much a place moves, 0 to 1",
    "shuffled_sound": "a control: train every video with another clip's sound",
    "ema_decay": "of the averaged generator that evaluates and talks",
    "weights.pixel": "of the pixel loss",
    "weights.perceptual": "of the perceptual loss; 0 needs no such stage",
    "weights.adversarial": "of the adversarial loss; 0 trains without discriminator",
    "weights.correlation": "of the correlation loss; 0 trains without it",
    "weights.fake": "of generated clips in the discriminator's loss (real ones have 1)",
    "weights.mismatched": "of real clips with another clip's sound in the discriminator's loss",
    "given.flow": 'run of the flow stage; "" is WORKDIR/stages/flow',
    "given.perceptual": 'run of the perceptual stage; "" is WORKDIR/stages/perceptual',
    **{f"train.{key}": told for key, told in _STEPS.items()},
    **{f"optimizer.{key}": told for key, told in _ADAM.items()},
    "optimizer.discriminator_learning_rate": "of the discriminator",
    "optimizer.correlation_learning_rate": "of the correlation networks",
    "optimizer.correlation_weight_decay": "of the correlation networks",
    "optimizer.flow_learning_rate": "of the flow network, where the correlation loss moves it",
    "optimizer.flow_weight_decay": "of the flow network, likewise",
    "data.dirs": "prepared corpora; several are mixed: `a,b`",
    "data.weights": "share of each corpus in the mix; by number of windows if empty",
    "data.batch_size": "windows of a batch, all devices together",
    "data.mouth_size": "side of the mouth crops in pixels: 64, 96 or 128",
    "data.fps": "frames per second; must be the corpus's",
    "data.cache_mb": "memory per corpus for clips in use, in every process that makes batches",
    "data.ready": 'where decoded clips are kept on disk: `auto`, a folder, or "" for nowhere',
    "data.workers": "processes that make batches; 0 uses threads",
    "data.patience": "seconds without a batch after which those processes count as hanging",
    "data.max_bad_fraction": "share of the clips that may be unusable; they are left out, counted",
    "data.max_short_fraction": "share of the clips that may be shorter than a window",
    "data.log_mel.rate": "samples per second of the sound; at most the corpus's",
    "data.log_mel.hop": "samples per column; four columns per frame are needed by the networks",
    "data.log_mel.window": "samples of the analysis window",
    "data.log_mel.n_fft": "length of the transform",
    "data.log_mel.bands": "mel bands",
    "data.log_mel.fmin": "lowest frequency, Hz",
    "data.log_mel.fmax": "highest frequency, Hz",
    "data.log_mel.floor_db": "what is more silent than this counts as silence (-1)",
    "data.log_mel.level_db": "level that speech is brought to",
    "data.augment.flip": "share of windows that are mirrored left to right",
    "data.augment.brightness": "largest relative change of brightness and contrast; 0.15 is 15 %",
    "data.augment.colour": "largest relative change of each of red, green and blue",
    "data.augment.zoom": "largest relative change of size",
    "data.augment.blur": "largest standard deviation of a blur, in crop sides",
    "data.augment.shift": "largest shift, in crop sides",
    "data.augment.hiss": "standard deviation of noise on the log-mel, whose range is about [-1, 1]",
    "generator.kind": "`at_a_glance`, `chung` or `vondrick`",
    "generator.audio_context": "frames of real sound heard beyond the window on both sides",
    "generator.audio_norm": _NORM + "; of the audio encoder",
    "generator.audio_pool": "`conv`, or `max`: a pooling as the audio encoder's last layer",
    "generator.audio_time_strides": "steps in time; their product is columns per frame",
    "generator.audio_widths": "channels of the audio encoder",
    "generator.decoder_kernel": "taps (time, height, width) of the upsampling layers",
    "generator.decoder_widths": "channels of the upsampling layers",
    "generator.dtype": "`float32` or `bfloat16`; parameters stay float32",
    "generator.final_kernel": "taps of the last layer",
    "generator.fusion_width": "channels in which sound and picture meet",
    "generator.identity_widths": "channels of the identity encoder",
    "generator.norm": _NORM,
    "generator.paint_on_picture": "the last layer paints over the given picture",
    "generator.remat": "recompute the decoder on the way back: less memory, more time",
    "generator.residual_blocks": "number of them",
    "generator.residual_kernel": "their taps",
    "generator.speech_blocks": "residual blocks of the speech encoder",
    "generator.speech_features": "features of an encoder over time alone; 0 leaves it out",
    "discriminator.kind": "`streams`, or `vondrick` for that baseline",
    "discriminator.streams": "what it sees besides the sound: `video`, `flow`, `difference`",
    "discriminator.joint_width": "channels where the streams meet",
    "discriminator.norm": _NORM,
    "discriminator.negative_slope": _SLOPE,
    "discriminator.dtype": "`float32` or `bfloat16`",
    "discriminator.sound.widths": _WIDTHS,
    "discriminator.sound.features": "length of the sound's vector",
    "discriminator.sound.pool": "grid that the sound's map is averaged to; `()` flattens it",
    "discriminator.sound.norm": _NORM,
    "discriminator.sound.linear_norm": _NORM + "; behind the linear layer",
    "discriminator.sound.negative_slope": _SLOPE,
    "discriminator.flow.kernel_size": "taps of its convolutions",
    **{
        f"discriminator.{name}.{key}": told
        for name in ("video", "flow", "difference")
        for key, told in (("widths", _WIDTHS), ("norm", _NORM), ("negative_slope", _SLOPE))
    },
    "correlation.form": "`contrast` or `cosine` (as published), see [correlation.md]"
    "(correlation.md#the-loss-published-and-fixed-form)",
    "correlation.hears": "`log_mel`, or `audio_feature` of the generator",
    "correlation.sees": "`flow` or `video`",
    "correlation.derivative": "whether the sound is differentiated in time",
    "correlation.sound_widths": "channels of the sound's encoder",
    "correlation.motion_widths": "channels of the motion's encoder",
    "correlation.norm": _NORM,
    "correlation.temperature": "of the form `contrast`",
    "correlation.train_flow": "whether the loss moves the flow network too",
    **_stage(
        "flow",
        {
            "widths": "channels on the way down",
            "decoder_widths": "channels on the way up; fewer levels",
            "dtype": "`float32` or `bfloat16`",
        },
    ),
    "stages.flow.scale_weights": "weight of each prediction's loss, finest first",
    **_stage(
        "perceptual",
        {
            "widths": _WIDTHS,
            "residual_blocks": "number of them",
            "norm": _NORM,
            "dtype": "`float32` or `bfloat16`",
        },
    ),
}
