# SPDX-License-Identifier: Apache-2.0
"""Trains a model: `python train.py --config configs/at_a_glance.py:grid --workdir runs/grid`."""

import sys

from lipjax.cli import program

if __name__ == "__main__":
    program(["train", *sys.argv[1:]])
