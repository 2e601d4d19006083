# SPDX-License-Identifier: Apache-2.0
"""What the published correlation loss and ours can tell apart, before and after training.

    lipjax derive flow CORPUS
    python benchmarks/correlation_forms.py CORPUS --out FILE.json --figure FILE.png

The encoders of the loss alone are trained, without a generator, on the real windows of the split
"train": sound, and Farnebäck flow on a grid of 16 x 16. All windows of the split "val" are then
scored with their own sound, with every other clip's, with noise, and with no motion at all.
Networks, loss, optimisers and log-mel are those of the configs named in `FORMS`. Eight minutes of
one CPU core.
"""

import argparse
import dataclasses
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from correlation_windows import (
    COLLAPSED,
    OURS,
    PAIRS,
    PUBLISHED,
    Windows,
    apart_of,
    draw,
    ends,
    noise_like,
    told_apart,
    untrained,
    windows_of,
)
from ml_collections import ConfigDict

from lipjax.builders.networks import correlation_of
from lipjax.builders.tasks import adam
from lipjax.config_files import load_config
from lipjax.losses import correlation as losses
from lipjax.models.encoders import AudioEncoder
from lipjax.models.map_sizes import strides_for

FORMS = {PUBLISHED: "form=paper,row=e", COLLAPSED: "form=lipjax,row=e", OURS: "form=lipjax,row=e"}
"""Form -> the config it is taken from; the middle one is a control, by the published loss."""
BATCH, VAL_STRIDE = 16, 4


class Encoders:
    """One form of the loss: its encoders, their training and their score.

    The published form's sound encoder hears the generator's audio feature. Here the audio encoder
    is trained by this loss alone; in the whole model it has other losses to serve as well.

    Args:
        name: of the form.
        config: that its settings are taken from.
        steps: of the training, for the learning rates.
    """

    def __init__(self, name: str, config: ConfigDict, steps: int):
        self.loss = correlation_of(config.correlation)
        if name == COLLAPSED:
            self.loss = dataclasses.replace(self.loss, form="cosine")
        self.audio = None
        if self.loss.hears == "audio_feature":
            hears = config.generator
            self.audio = AudioEncoder(
                hears.audio_widths,
                hears.audio_time_strides,
                strides_for(config.data.mouth_size, config.data.log_mel.bands)[
                    "audio_frequency_strides"
                ],
                hears.audio_pool,
                hears.norm,
            )
        settings = config.optimizer
        optimizers = {
            "audio": adam(settings, steps=steps),
            "correlation": adam(
                settings,
                steps=steps,
                learning_rate=settings.correlation_learning_rate,
                b1=0.9,
                weight_decay=settings.correlation_weight_decay,
            ),
        }
        labels = {name: name for name in self._players}
        self._optimizer = optax.multi_transform({n: optimizers[n] for n in labels}, labels)
        self.step, self.listen = jax.jit(self._step), jax.jit(self._listen)
        self.encode = jax.jit(self._encode)

    @property
    def _players(self) -> tuple[str, ...]:
        return ("correlation",) if self.audio is None else ("audio", "correlation")

    def init(self, key: jax.Array, batch: dict[str, np.ndarray]) -> tuple[Any, Any]:
        """Returns variables and optimiser state."""
        keys = jax.random.split(key)
        variables, heard = {}, batch["log_mel"]
        if self.audio is not None:
            heard, variables["audio"] = self.audio.init_with_output(keys[0], heard, train=False)
        variables["correlation"] = self.loss.init(keys[1], heard, batch["flow"])
        variables = {name: {"batch_stats": {}, **tree} for name, tree in variables.items()}
        params = {name: tree["params"] for name, tree in variables.items()}
        return variables, self._optimizer.init(params)

    def _listen(self, variables: Any, batch: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        """The loss of a batch, on real motion alone, and variables with new statistics."""
        new, heard = dict(variables), batch["log_mel"]
        if self.audio is not None:
            heard, changed = self.audio.apply(
                variables["audio"], heard, train=True, mutable=["batch_stats"]
            )
            new["audio"] = {**variables["audio"], **changed}
        wrong = batch["wrong_log_mel"] if self.loss.form == "contrast" else None
        flow = batch["flow"], batch["flow"]
        loss, _, _, stats = self.loss(variables["correlation"], (heard, wrong), flow)
        new["correlation"] = {**variables["correlation"], "batch_stats": stats}
        return loss, new

    def _step(self, variables: Any, state: Any, batch: dict[str, jax.Array]):
        params = {name: tree["params"] for name, tree in variables.items()}

        def loss(params: Any) -> tuple[jax.Array, Any]:
            merged = {name: {**tree, "params": params[name]} for name, tree in variables.items()}
            return self._listen(merged, batch)

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = self._optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        new = {name: {**tree, "params": params[name]} for name, tree in new.items()}
        return new, state, value

    def _encode(self, variables: Any, log_mel: jax.Array, flow: jax.Array):
        """Sound and motion as vectors, by running statistics: no window depends on others."""
        heard = log_mel
        if self.audio is not None:
            heard = self.audio.apply(variables["audio"], heard, train=False)
        halves = {
            half: {kind: tree[half] for kind, tree in variables["correlation"].items()}
            for half in ("sound", "motion")
        }
        sound = self.loss.sound.apply(halves["sound"], heard, train=False)
        return sound, self.loss.motion.apply(halves["motion"], flow, train=False)

    def score(self, sound: jax.Array, motion: jax.Array) -> np.ndarray:
        """What the loss goes by, of all pairs [motion, sound]: cosine or centred correlation."""
        score = losses.centred
        if self.loss.form == "cosine":
            score = lambda *pair: 1 - losses.cosine(*pair)  # noqa: E731
        pairs = np.tile(sound, (len(motion), 1, 1)), np.repeat(motion, len(sound), 0)
        return np.asarray(score(*pairs)).reshape(len(motion), len(sound))

    def price(self, scores: np.ndarray, wrong: np.ndarray) -> float:
        """The mean loss of windows with such scores [motion, sound], their own on the diagonal.

        Args:
            scores: of all pairs.
            wrong: which pairs are of different clips.
        """
        own = np.diagonal(scores)
        if self.loss.form == "cosine":
            return float(1 - own.mean())
        own = np.broadcast_to(own[:, None], scores.shape)
        return float(losses.contrast(own[wrong], scores[wrong], self.loss.temperature).mean())


def measured(encoders: Encoders, variables: Any, val: Windows) -> dict[str, Any]:
    """Scores the held-out windows: by kind of pair, and how often own sound beats wrong."""
    sound, motion = encoders.encode(variables, val.log_mel, val.flow)
    noise, still = encoders.encode(variables, noise_like(val.log_mel), np.zeros_like(val.flow))
    wrong = val.clip[:, None] != val.clip
    scores, of_still = encoders.score(sound, motion), encoders.score(sound, still)
    kinds = (
        np.diagonal(scores),
        scores[wrong],
        np.diagonal(encoders.score(noise, motion)),
        np.diagonal(of_still),
    )
    apart = told_apart(scores, val.clip, val.start)
    return {
        "score": {n: float(np.mean(x)) for n, x in zip(PAIRS, kinds, strict=True)},
        "loss": {
            "real motion": encoders.price(scores, wrong),
            "no motion": encoders.price(of_still, wrong),
        },
        "told_apart_by_clip": {name: x.tolist() for name, x in apart.items()},
    }


def trained(
    encoders: Encoders, train: Windows, val: Windows, *, steps: int, seed: int
) -> list[dict[str, Any]]:
    """Trains, and measures at initialisation and along the way."""
    rng = np.random.default_rng(seed)

    def batch() -> dict[str, np.ndarray]:
        rows = rng.integers(len(train.clip), size=BATCH)
        wrong = [rng.choice(np.flatnonzero(train.clip != train.clip[row])) for row in rows]
        sounds = {"log_mel": train.log_mel[rows], "wrong_log_mel": train.log_mel[wrong]}
        return {**sounds, "flow": train.flow[rows]}

    variables, state = encoders.init(jax.random.key(seed), batch())
    for _ in range(40):  # batch norms get statistics before they are judged
        _, variables = encoders.listen(variables, batch())
    stops = {0, steps} | {round(steps * x) for x in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)}
    found = []
    for step in range(steps + 1):
        if step in stops:
            found.append({"step": step, **measured(encoders, variables, val)})
            means = " ".join(f"{x:6.3f}" for x in found[-1]["score"].values())
            apart = apart_of(found[-1])
            print(f"  seed {seed} step {step:5d}: {means}   told apart {apart:.3f}", flush=True)
        if step < steps:
            variables, state, _ = encoders.step(variables, state, batch())
    return found


def main() -> None:
    """Trains all forms, prints and writes what they tell apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, nargs="?", default=Path("corpus/grid"))
    parser.add_argument("--steps", type=int, default=400, help="of training (default: 400)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2], help="one or more")
    parser.add_argument("--form", nargs="+", choices=FORMS, default=list(FORMS), help="which")
    parser.add_argument("--size", default="grid_cpu", help="of the config (default: grid_cpu)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--figure", type=Path, help="PNG file to write")
    args = parser.parse_args()
    forms: dict[str, Any] = {}
    began = time.process_time()
    configs = {name: f"configs/at_a_glance.py:{args.size},{FORMS[name]}" for name in args.form}
    for name, config_name in configs.items():
        print(f"{name} ({config_name}): {', '.join(PAIRS)}", flush=True)
        config = load_config(config_name)
        train = windows_of(args.corpus, "train", config, 1)
        val = windows_of(args.corpus, "val", config, VAL_STRIDE)
        encoders = Encoders(name, config, args.steps)
        forms[name] = [
            trained(encoders, train, val, steps=args.steps, seed=seed) for seed in args.seed
        ]
    reference = untrained(val)
    facts = {
        "what": __doc__.splitlines()[0],
        "command": shlex.join(["python", "benchmarks/correlation_forms.py", *sys.argv[1:]]),
        "configs": configs,
        "seeds": args.seed,
        "steps": args.steps,
        "batch": BATCH,
        "train": {"clips": len(np.unique(train.clip)), "windows": len(train.clip)},
        "val": {"clips": len(np.unique(val.clip)), "windows": len(val.clip)},
        "cores": os.cpu_count(),
        "cpu_seconds": round(time.process_time() - began),
    }
    found = {"facts": facts, **ends(forms, reference), "runs": forms}
    print(json.dumps({name: x for name, x in found.items() if name != "runs"}, indent=1))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    if args.figure:
        draw(args.figure, forms, apart_of(reference))


if __name__ == "__main__":
    main()
