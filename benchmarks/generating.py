# SPDX-License-Identifier: Apache-2.0
"""How much faster than real time a generator talks: by frames per window and talks at once.

    python benchmarks/generating.py [--config configs/at_a_glance.py:grid_cpu] [--short]

The network alone, from columns of the sound feature to frames, as `lipjax generate` runs it: one
window after another, with the real context on both sides that is made and thrown away. Its
parameters are not trained, which does not change its speed. `--workdir` times the whole command
instead, from a picture and a sound file to an mp4.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from measuring import Cost, cost_of, facts, in_turns, parser, spread, target, words, write

from lipjax.builders.networks import generator_of
from lipjax.config_files import load_config
from lipjax.media.audio import LogMel
from lipjax.speakers.at_a_glance import AtAGlanceSpeaker
from lipjax.speakers.chunks import speak

CONFIG = "configs/at_a_glance.py:grid_cpu"
CHUNKS, TALKS = (16, 32, 64, 128), (1, 4)


def talker(config_name: str, chunk: int):
    """Returns the speaker of a config, its untrained parameters and the number of them."""
    config = load_config(config_name)
    log_mel = LogMel(**config.data.log_mel)
    size = config.data.mouth_size
    generator = generator_of(config.generator, size=size, bands=log_mel.bands)
    speaker = AtAGlanceSpeaker.from_generator(
        generator, log_mel=log_mel, fps=config.data.fps, chunk=chunk
    )
    needs = speaker.needs
    columns = needs.columns_in(16 + 2 * needs.sound_context)
    picture = np.zeros((1, size, size, 3), np.float32)
    sound = np.zeros((1, columns, log_mel.bands), np.float32)
    params = jax.jit(lambda key: generator.init(key, picture, sound, train=False))(
        jax.random.key(0)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(params["params"]))
    return speaker, params, count


def talk(speaker, params, talks: int, frames: int):
    """Returns a function that makes so many talks of so many frames at once."""
    needs, rng = speaker.needs, np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (talks, 1, needs.mouth_size, needs.mouth_size, 3))
    columns = needs.columns_in(frames + 2 * needs.sound_context)
    sound = rng.uniform(-1, 0, (talks, columns, needs.log_mel.bands)).astype(np.float32)
    pictures = pictures.astype(np.float32)

    def make() -> None:
        made = speak(speaker, params, pictures, sound, surplus=needs.sound_context)
        assert made.shape[:2] == (talks, frames)

    return make


def measure(config_name: str, seconds: float, rounds: int, chunks, talks) -> dict:
    """Returns real-time factors by the clock, per chunk and number of talks."""
    sides: dict = {}
    count = None
    for chunk in chunks:
        speaker, params, count = talker(config_name, chunk)
        frames = round(seconds * speaker.needs.fps)
        for many in talks:
            make = talk(speaker, params, many, frames)
            make()  # compiles
            sides[f"{chunk} frames, {many} at once"] = (lambda work=make: cost_of(work), many)
    taken: dict[str, list[Cost]] = in_turns(
        {k: side for k, (side, _) in sides.items()}, rounds=rounds
    )
    cases = {
        name: spread([sides[name][1] * seconds / cost.wall for cost in costs])
        for name, costs in taken.items()
    }
    return {"config": config_name, "parameters": count, "seconds_of_talk": seconds, "cases": cases}


def whole(workdir: Path, face: Path, audio: Path, out: Path, rounds: int) -> dict:
    """Returns real-time factors of the whole of `lipjax generate`, but for starting Python."""
    from lipjax.generate import generate
    from lipjax.jobs import load_speaker

    speaker, params = load_speaker(workdir)
    made = generate(speaker, params, face=face, audio=audio, out=out)
    values = []
    for _ in range(rounds):
        began = time.perf_counter()
        generate(speaker, params, face=face, audio=audio, out=out)
        values.append(made.frames / speaker.needs.fps / (time.perf_counter() - began))
    return {"workdir": workdir.name, "frames": made.frames, "times_real_time": spread(values)}


def main() -> None:
    """Measures, prints and writes."""
    options: argparse.ArgumentParser = parser(__doc__.splitlines()[0], "generating")
    options.add_argument("--config", default=CONFIG)
    options.add_argument("--seconds", type=float, default=20.0, help="of talk")
    options.add_argument("--workdir", type=Path, help="of a trained run: times the whole command")
    options.add_argument("--face", type=Path, help="with --workdir")
    options.add_argument("--audio", type=Path, help="with --workdir")
    args = options.parse_args()
    name, seconds, rounds, chunks, talks = args.config, args.seconds, 5, CHUNKS, TALKS
    if args.short:
        name, seconds, rounds, chunks, talks = "configs/at_a_glance.py:tiny", 2.0, 1, (32,), (1,)
    result: dict = {"facts": facts("flax", device=jax.devices()[0].device_kind)}
    if args.workdir is not None:
        out = args.out.with_suffix(".mp4")
        result["whole"] = whole(args.workdir, args.face, args.audio, out, rounds)
        print(json.dumps(result["whole"]))
    else:
        result |= measure(name, seconds, rounds, chunks, talks)
        for case, values in result["cases"].items():
            line = target(values, 1.0, what=f"{name}, {case}", unit="times real time")
            result.setdefault("targets", []).append(line)
            print(words(line))
    write(result, args.out)


if __name__ == "__main__":
    main()
