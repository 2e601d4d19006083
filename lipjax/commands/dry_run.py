# SPDX-License-Identifier: Apache-2.0
"""`lipjax train --dry-run`: what the same command would need, on these devices or on others."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lipjax.commands.parser import count

if TYPE_CHECKING:
    import jax
    from ml_collections import ConfigDict


def add(p: argparse.ArgumentParser) -> None:
    """Adds the flags of a dry run to those of `lipjax train`."""
    dry = p.add_argument_group(
        "dry run",
        "Prints mesh, shardings, memory per device and bytes moved per step of the compiled "
        "training step. Needs no corpus and no trained stages, trains nothing, writes nothing.",
    )
    dry.add_argument("--dry-run", action="store_true", help="plan instead of training")
    where = dry.add_mutually_exclusive_group()
    where.add_argument(
        "--devices",
        type=count,
        metavar="N",
        help="plan for N simulated devices of this CPU, not for the devices here",
    )
    where.add_argument(
        "--topology",
        metavar="NAME",
        help="plan for a TPU slice that is not here, like v5e:4x4; needs libtpu installed",
    )
    dry.add_argument("--out", type=Path, metavar="FILE.json", help="write the plan as JSON too")


def check(args: argparse.Namespace) -> None:
    """Refuses flags of a dry run without one.

    Raises:
        ConfigError: there is such a flag.
    """
    from lipjax.errors import ConfigError

    flags = {"--devices": args.devices, "--topology": args.topology, "--out": args.out}
    named = [flag for flag, value in flags.items() if value is not None]
    if named and not args.dry_run:
        raise ConfigError(f"{', '.join(named)} is for --dry-run; training takes the devices here")


def elsewhere(args: argparse.Namespace) -> bool:
    """Whether the plan is for devices that are not here."""
    return args.devices is not None or args.topology is not None


def run(args: argparse.Namespace, config: "ConfigDict") -> int:
    """Prints the plan of every stage that the command would train.

    Args:
        args: of `lipjax train`.
        config: of the stage, the last one with --recipe.

    Raises:
        ConfigError: settings that cannot work.
    """
    import jax

    from lipjax import build
    from lipjax.planning.plan import plan_of
    from lipjax.planning.text import lines
    from lipjax.training.logging import write_json

    stages = {"": config}
    if args.recipe:
        names = [name for name in build.given_names(config) if not config.given[name]]
        stages = {**{name: build.stage_of(config, name) for name in names}, "generator": config}
    devices = _devices(args, config)
    plans = {}
    for name, stage in stages.items():
        plan = plan_of(stage, devices, workdir=args.workdir)
        plans[name] = plan.to_json()
        if jax.process_index() == 0:
            print("\n".join(([f"== stage {name}"] if name else []) + list(lines(plan))), flush=True)
    if args.out is not None and jax.process_index() == 0:
        write_json(args.out, plans if args.recipe else plans[""])
    return 0


def _devices(args: argparse.Namespace, config: "ConfigDict") -> "list[jax.Device]":
    import jax

    from lipjax.planning import devices

    if args.topology:
        return devices.topology(args.topology)
    return devices.simulated(args.devices) if args.devices else jax.devices()
