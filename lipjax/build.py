# SPDX-License-Identifier: Apache-2.0
"""From configs to objects, and from workdirs back to speakers: the only reader of configs.

Names become objects by fixed tables. A trained workdir describes itself in `model.json`, so that
evaluate, generate and later stages need no config.
"""

from lipjax.builders.data import corpora_of, streams_of, windows_of
from lipjax.builders.descriptions import (
    MODEL,
    describe,
    load_description,
    save_description,
    speaker_of,
)
from lipjax.builders.networks import (
    discriminator_of,
    flow_of,
    generator_of,
    is_wide,
    perceptual_of,
)
from lipjax.builders.stages import Given, given_names, load_given, stage_of
from lipjax.builders.tasks import task_of

__all__ = [
    "MODEL",
    "Given",
    "corpora_of",
    "describe",
    "discriminator_of",
    "flow_of",
    "generator_of",
    "given_names",
    "is_wide",
    "load_description",
    "load_given",
    "perceptual_of",
    "save_description",
    "speaker_of",
    "stage_of",
    "streams_of",
    "task_of",
    "windows_of",
]
