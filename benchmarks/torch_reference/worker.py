# SPDX-License-Identifier: Apache-2.0
"""One side of `train_step.py`: prepares a step or a generator, then runs it once for every line.

python -m benchmarks.torch_reference.worker "twin eager" step two 2
"""

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def ours(what: str, streams: str, batch: int, how: str) -> Callable[[], None]:
    """Returns lipjax's side, compiled.

    Args:
        what: "generator" or "step".
        streams: of the discriminator, "two" or "three".
        batch: clips.
        how: "over cores" has a CPU device per core, "remat" recomputes the decoder on the way
            back; both may be told.
    """
    import jax

    from lipjax.training import sharding
    from lipjax.training.programs import programs_of

    if "over cores" in how:
        sharding.spread_over_cores(batch)
    mesh = sharding.make_mesh()
    split = sharding.batch_sharding(mesh)

    from benchmarks.torch_reference import our_step
    from benchmarks.torch_reference.noise import noise

    config = our_step.config_of(streams, batch=max(batch, 2))
    config.generator.remat = "remat" in how
    made = our_step.batch_of(config, noise)
    task, given = our_step.task_and_given(config)
    if what == "generator":
        clip = {name: x[:batch] for name, x in made.items()}
        identity = clip["identity"][:, 0].astype("float32") / 127.5 - 1.0
        variables = jax.jit(task.generator.init)(jax.random.key(0), identity, clip["log_mel"])
        variables = jax.device_put(variables, sharding.replicated(mesh))
        sides = sharding.replicated(mesh), split, split
        speak = jax.jit(lambda *inputs: task.generator.apply(*inputs)[0], in_shardings=sides)
        return lambda: jax.block_until_ready(speak(variables, identity, clip["log_mel"]))
    if batch < 2:
        raise SystemExit("the released discriminator's batch norm needs --batch 2 or more")
    shapes = {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split) for n, x in made.items()}
    programs = programs_of(task, shapes, mesh=mesh, given=given)
    held = [programs.init(given)]

    def run() -> None:
        held[0], terms = programs.train_step(held[0], jax.device_put(made, split))
        jax.block_until_ready((held[0], terms))

    return run


def twin(what: str, streams: str, batch: int, how: str) -> Callable[[], None]:
    """Returns PyTorch's side: "eager" or "compiled"; "+frames" rewrites the last layer."""
    import torch

    from benchmarks.torch_reference.discriminators import Discriminator
    from benchmarks.torch_reference.generator import Generator
    from benchmarks.torch_reference.layers import weights_channels_last
    from benchmarks.torch_reference.noise import noise
    from benchmarks.torch_reference.step import Networks, make_step
    from benchmarks.torch_reference.table import THREE

    words = how.split("+")
    compiled, by_frame = words[0] == "compiled", "frames" in words
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = Generator(colours_by_frame=by_frame)
    clip = {
        "video": (batch, 16, 64, 64, 3),
        "identity": (batch, 1, 64, 64, 3),
        "log_mel": (batch, 64, 128),
        "wrong_log_mel": (batch, 64, 128),
    }
    made = {name: noise(name, shape) for name, shape in clip.items()}
    if what == "generator":
        weights_channels_last(generator.to(device)).eval()
        if compiled:
            generator.compile()
        identity = torch.from_numpy(made["identity"]).to(device)[:, 0].permute(0, 3, 1, 2)
        log_mel = torch.from_numpy(made["log_mel"]).to(device)

        def speak() -> None:
            with torch.inference_mode():
                generator(identity, log_mel)[0].cpu()

        return speak
    for name in ("video", "identity"):
        made[name] = (127.5 + 127.0 * made[name]).astype("uint8")
    discriminator = Discriminator(**(THREE if streams == "three" else {}))
    networks = Networks(generator=generator, discriminator=discriminator)
    return make_step(made, device, networks=networks, compiled=compiled, bfloat16=device == "cuda")


def work(side: str, what: str, streams: str, batch: int) -> None:
    """A side's process: prepares, then runs once for every line on its standard input."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def timed(function: Callable[[], None]) -> dict[str, float]:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        function()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"seconds": time.perf_counter() - began, "cpu_seconds": cpu}

    def tell(found: dict[str, float]) -> None:
        out.write(json.dumps({**found, "peak_bytes": peak_bytes()}) + "\n")
        out.flush()

    began = time.perf_counter()
    if side.startswith("twin"):
        run = twin(what, streams, batch, side.partition(" ")[2])
    else:
        run = ours(what, streams, batch, side.partition(" ")[2])
    run()
    tell({"seconds_to_first": time.perf_counter() - began})
    forget_peak()
    for _ in sys.stdin:
        tell(timed(run))


def peak_bytes() -> int:
    """Most memory that this process has held, since `forget_peak` where the system can tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(found[0].split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Lets the peak begin again, so that compilation does not count."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
