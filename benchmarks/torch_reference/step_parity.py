# SPDX-License-Identifier: Apache-2.0
"""The training step of lipjax and of PyTorch from the same state on the same batch, small widths.

    python -m benchmarks.torch_reference.step_parity

Compares the terms of the losses and every player's gradient, then what one step of both sides' own
optimisers moves.
"""

import sys
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.torch_reference import our_step
from benchmarks.torch_reference.correlation import AudioDerivativeEncoder, FlowEncoder
from benchmarks.torch_reference.noise import noise
from benchmarks.torch_reference.parity import LIMIT, twin_of
from benchmarks.torch_reference.step import WEIGHTS, Networks, Step, on_device
from benchmarks.torch_reference.weights import carry, flat, leaves

Found = dict[str, np.ndarray]
ROUNDING = 3.0
"""As many times as far from float64 as the twin's float32 is, ours may be. A unit that rounding
moves to the other side of zero changes the gradient, on either side."""
MOVED = 2e-2
"""Adam's first step goes by signs: an entry of nearly no gradient may go either way."""
SAME = ("pixel", "perceptual", "correlation_real", "correlation_fake", "adversarial", "d_real",
        "d_fake", "d_mismatched")  # fmt: skip


def quick(function: Any) -> Any:
    """Compiled for a single run: quick to compile matters more than quick to run."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def twin_of_state(task: Any, state: Any) -> Networks:
    """Returns PyTorch networks with the parameters of a lipjax state."""
    widths = task.generator.audio_widths[-1]
    networks = Networks(
        generator=twin_of(task.generator),
        discriminator=twin_of(task.judge.discriminator),
        sound_change=AudioDerivativeEncoder(widths, task.correlation.sound.widths),
        flow_change=FlowEncoder(task.correlation.motion.widths),
        flow=twin_of(task.flow),
        perceptual=twin_of(task.perceptual),
    )
    halves = our_step.variables_of(state, "correlation")
    half = lambda name: {kind: tree[name] for kind, tree in halves.items()}  # noqa: E731
    carry(our_step.variables_of(state, "generator"), networks.generator)
    carry(our_step.variables_of(state, "discriminator"), networks.discriminator)
    carry(half("sound"), networks.sound_change)
    carry(half("motion"), networks.flow_change)
    carry(our_step.variables_of(state, "flow"), networks.flow)
    carry(state.given["perceptual"], networks.perceptual)
    return networks


def gradients(step: Step) -> dict[str, np.ndarray]:
    """Returns each player's gradient as one row of numbers, in the order of its leaves."""
    networks = step.networks
    found = {}
    for player, network in (
        ("generator", networks.generator),
        ("discriminator", networks.discriminator),
        ("sound", networks.sound_change),
        ("motion", networks.flow_change),
        ("flow", networks.flow),
    ):
        rows = {
            leaf.name: leaf.to_flax(leaf.tensor.grad).ravel()
            for leaf in leaves(network)
            if leaf.name.startswith("params/")
        }
        found[player] = np.concatenate([rows[name] for name in sorted(rows)])
    return found


def our_gradients(kept: Any) -> dict[str, np.ndarray]:
    """The same of lipjax's."""
    found = {}
    for player in ("generator", "discriminator", "sound", "motion", "flow"):
        tree = kept["correlation"][player] if player in ("sound", "motion") else kept[player]
        rows = {f"params/{name}": np.asarray(x).ravel() for name, x in flat(tree)}
        found[player] = np.concatenate([rows[name] for name in sorted(rows)])
    return found


def compare(streams: str) -> bool:
    """Prints a step's errors; returns whether they are small."""
    config = our_step.config_of(streams, small=True, batch=3)
    task, given = our_step.task_and_given(config)
    batch = our_step.batch_of(config, noise)
    state = quick(task.init)(jax.random.key(0), batch, given)
    # Untrained, the last layer and the flow are nearly zero, and so would be what is compared.
    state = state.replace(params=jax.tree.map(lambda x: 3.0 * x, state.params))

    keeper = our_step.keeping_gradients(task)
    opt = {name: keeper.optimizers[name].init(tree) for name, tree in state.params.items()}
    new, terms = quick(keeper.train_step)(state.replace(opt=opt), batch)
    ours = {name: np.asarray(terms[name]) for name in SAME} | {
        f"gradient of {player}": x for player, x in our_gradients(new.opt).items()
    }
    theirs = []
    for dtype in (torch.float32, torch.float64):
        step = Step(twin_of_state(task, state), dtype=dtype)
        found = step.gradients(on_device(batch))
        theirs.append(
            {name: found[name].numpy() for name in SAME}
            | {f"gradient of {player}": x for player, x in gradients(step).items()}
        )
    fine = report(f"{streams} streams, first step", ours, *theirs, limit=LIMIT)

    return moved(streams, config, task, state, batch) and fine


def moved(streams: str, config: Any, task: Any, state: Any, batch: Any) -> bool:
    """Prints how far both sides' own optimisers move every player apart in one step."""
    before = twin_of_state(task, state)
    old = parameters(before)
    new, _ = quick(task.train_step)(state, batch)
    ours = parameters(twin_of_state(task, new))
    theirs = []
    for dtype in (torch.float32, torch.float64):
        step = Step(twin_of_state(task, state), dtype=dtype)
        step(on_device(batch))
        theirs.append(parameters(step.networks))
    ours, *theirs = ({k: x[k] - old[k] for k in old} for x in (ours, *theirs))
    wrong = settings(config, step)
    print("\n".join(wrong) or "\nsettings of the optimisers: as in the config")
    return report(f"{streams} streams, moved by", ours, *theirs, limit=MOVED) and not wrong


def parameters(networks: Networks) -> dict[str, np.ndarray]:
    """Returns each trained network's parameters as one row of numbers."""
    names = ("generator", "discriminator", "sound_change", "flow_change", "flow")
    rows = {name: [p.detach().double().ravel() for p in getattr(networks, name).parameters()]
            for name in names}  # fmt: skip
    return {name: torch.cat(row).numpy() for name, row in rows.items()}


def settings(config: Any, step: Step) -> list[str]:
    """Returns the optimisers' settings and the weights that are not the config's."""
    given, pairs = config.optimizer, {}
    for player in ("correlation", "flow"):
        rate, decay = given[f"{player}_learning_rate"], given[f"{player}_weight_decay"]
        pairs[player] = (rate, (0.9, given.b2), decay)
    pairs["generator"] = (given.learning_rate, (given.b1, given.b2), 0.0)
    pairs["discriminator"] = (given.discriminator_learning_rate, (given.b1, given.b2), 0.0)
    found = {}
    for player, optimizer in step.optimizers.items():
        (group,) = optimizer.param_groups
        found[player] = (group["lr"], group["betas"], group["weight_decay"])
    pairs["weights"] = {name: config.weights[name] for name in WEIGHTS}
    found["weights"] = WEIGHTS
    pairs["of the discriminator"] = (config.weights.fake, config.weights.mismatched)
    found["of the discriminator"] = (0.5, 0.5)
    return [f"{k}: {found[k]}, not {pairs[k]}" for k in pairs if found[k] != pairs[k]]


def report(title: str, ours: Found, theirs: Found, exact: Found, *, limit: float) -> bool:
    """Prints errors by name; returns whether all are small, or as small as rounding lets them be.

    Args:
        title: of the table.
        ours, theirs: in float32.
        exact: theirs in float64.
        limit: that an error may reach anyhow.
    """
    print(f"\n{title} (limit {limit:g})\n{'':32}{'ours-twin':>12}{'ours-f64':>12}{'twin-f64':>12}")
    fine = True
    for name in ours:
        error, own, other = (
            float(np.linalg.norm(np.ravel(a - b.astype(np.float64))) / np.linalg.norm(b))
            for a, b in ((ours[name], theirs[name]), (ours[name], exact[name]),
                         (theirs[name], exact[name]))
        )  # fmt: skip
        good = error < limit or own < max(limit, ROUNDING * other)
        fine &= good
        print(f"  {name:30}{error:12.1e}{own:12.1e}{other:12.1e}{'' if good else '  WRONG'}")
    return fine


if __name__ == "__main__":
    # Both before the verdict, so that one failure does not hide another.
    sys.exit(0 if all([compare("two"), compare("three")]) else 1)
