# SPDX-License-Identifier: Apache-2.0
"""Evaluates a model: `python eval.py --workdir runs/grid --split test`."""

import sys

from lipjax.cli import program

if __name__ == "__main__":
    program(["eval", *sys.argv[1:]])
