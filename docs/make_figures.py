# SPDX-License-Identifier: Apache-2.0
"""Draws the networks from the code: every layer, its kernel, its output's shape, its parameters.

    python docs/make_figures.py

Shapes come from jax.eval_shape on the Flax modules that the configs build, so nothing is computed
and nothing can differ from what runs. Writes network_*.svg and networks.json in docs/figures/.
"""

import json
import math
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from lipjax import build  # noqa: E402
from lipjax.builders.networks import correlation_of  # noqa: E402
from lipjax.config_files import load_config  # noqa: E402

CONFIG = str(ROOT / "configs" / "at_a_glance.py")
COLOURS = ("#dbe9f6", "#e3f1de", "#fbe8d3", "#eee1f3", "#f6dcdc", "#e4e4e4")
WIDE, HIGH, GAP = 2.75, 0.42, 0.3  # of a box and between columns, inches


def networks():
    """Yields (name, title, module, inputs as shapes), B = 1 and windows of 16 frames."""
    for form in ("released", "lipjax"):
        config = load_config(f"{CONFIG}:grid,form={form},row=e")
        size, bands = config.data.mouth_size, config.data.log_mel.bands
        generator = build.generator_of(config.generator, size=size, bands=bands)
        columns = (16 + 2 * generator.audio_context) * generator.columns_per_frame
        picture, sound = _shape(1, size, size, 3), _shape(1, columns, bands)
        yield f"generator_{form}", f"Generator, form={form}", generator, (picture, sound)
    config = load_config(f"{CONFIG}:grid,form=released,row=e")
    judge = build.discriminator_of(config.discriminator)
    videos = {"video": _shape(1, 16, 64, 64, 3), "flow": _shape(1, 15, 16, 16, 2)}
    title = "Discriminator with three streams, form=released"
    yield "discriminator", title, judge, (_shape(1, 64, 128), videos)
    flow = build.flow_of(config.stages.flow.network)
    frame = _shape(1, 64, 64, 3)
    yield "flow", "Optical flow network", flow, (frame, frame)
    perceptual = build.perceptual_of(config.stages.perceptual.network)
    yield "perceptual", "Perceptual autoencoder", perceptual, (frame,)
    networks = correlation_of(load_config(f"{CONFIG}:grid,row=e").correlation)
    yield (
        "correlation_sound",
        "Correlation: the sound's encoder",
        networks.sound,
        (_shape(1, 64, 128),),
    )
    yield (
        "correlation_motion",
        "Correlation: the motion's encoder",
        networks.motion,
        (_shape(1, 15, 16, 16, 2),),
    )


def _shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def layers_of(module, inputs):
    """Returns [(path, output shape, kernel shape or None, parameters)], in order."""
    variables = jax.eval_shape(lambda *x: module.init(jax.random.key(0), *x), *inputs)
    order = []

    def noted(following, args, kwargs, context):
        out = following(*args, **kwargs)
        path = context.module.path
        first = out[0] if isinstance(out, (tuple, list)) else out
        if path and context.method_name == "__call__" and hasattr(first, "shape"):
            order.append((path, tuple(first.shape)))
        return out

    with nn.intercept_methods(noted):
        jax.eval_shape(lambda v, *x: module.apply(v, *x), variables, *inputs)
    params = variables["params"]
    kept = [(path, shape) for path, shape in order if len(path) <= 2]
    # A part is shown by its layers, unless these are the insides of a single layer.
    inside = {}
    for path, _ in kept:
        if len(path) == 2:
            inside.setdefault(path[0], set()).add(path[1])
    single = {part for part, names in inside.items() if {"conv", "norm"} & names}
    split = set(inside) - single
    rows = []
    for path, shape in kept:
        if path[0] in (split if len(path) == 1 else single):
            continue
        tree = params
        for name in path:
            tree = tree.get(name, {})
        leaves = jax.tree.leaves(tree)
        kernels = [leaf.shape for leaf in leaves if len(leaf.shape) > 1]
        count = sum(math.prod(leaf.shape) for leaf in leaves)
        rows.append((path, shape, kernels[0] if kernels else None, count))
    return rows, sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def draw(name, title, rows, total, inputs):
    """Writes one picture: a column for each part of the network, a box for each layer."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lipjax"})
    from matplotlib import pyplot
    from matplotlib.patches import FancyBboxPatch

    columns = {}
    for path, *rest in rows:
        columns.setdefault(path[0] if len(path) == 2 else "", []).append((path[-1], *rest))
    tall = max(len(boxes) for boxes in columns.values())
    width, height = len(columns) * (WIDE + GAP) + GAP, (tall + 2.2) * (HIGH + 0.1)
    figure, axes = pyplot.subplots(figsize=(width, height))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    given = ", ".join("x".join(map(str, x.shape[1:])) for x in jax.tree.leaves(inputs))
    axes.text(GAP, 0.3, f"{title}: {total:,} parameters", fontsize=12, weight="bold")
    axes.text(GAP, 0.58, f"in: {given}", fontsize=9)
    for number, (part, boxes) in enumerate(columns.items()):
        x = GAP + number * (WIDE + GAP)
        axes.text(x, 0.9, part, fontsize=10, weight="bold")
        for row, (label, shape, kernel, count) in enumerate(boxes):
            y = 1.0 + row * (HIGH + 0.1)
            box = FancyBboxPatch(
                (x, y), WIDE, HIGH, boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=COLOURS[number % len(COLOURS)], edgecolor="#777777", linewidth=0.7,
            )  # fmt: skip
            axes.add_patch(box)
            taps = "x".join(map(str, kernel[:-2])) if kernel is not None else ""
            axes.text(x + 0.08, y + 0.17, f"{label}  {taps}".rstrip(), fontsize=8)
            out = "x".join(map(str, shape[1:])) or "1"
            axes.text(x + 0.08, y + 0.35, f"out {out}", fontsize=8, color="#333333")
            axes.text(x + WIDE - 0.08, y + 0.35, f"{count:,}", fontsize=7, ha="right")
    figure.savefig(
        DOCS / "figures" / f"network_{name}.svg", metadata={"Date": None}, bbox_inches="tight"
    )
    pyplot.close(figure)


def main():
    """Draws all networks, and keeps the numbers of parameters as JSON."""
    told = {}
    for name, title, module, inputs in networks():
        rows, total = layers_of(module, inputs)
        draw(name, title, rows, total, inputs)
        told[name] = {
            "title": title,
            "parameters": total,
            "layers": [["/".join(path), list(shape), count] for path, shape, _, count in rows],
        }
        print(f"{name}: {total:,} parameters, {len(rows)} boxes", flush=True)
    path = DOCS / "figures" / "networks.json"
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
