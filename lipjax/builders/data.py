# SPDX-License-Identifier: Apache-2.0
"""From configs to corpora and batches."""

from typing import Any

import jax
from ml_collections import ConfigDict

from lipjax.builders.networks import Settings
from lipjax.data.augment import Augment
from lipjax.data.reading import Corpus, open_corpus
from lipjax.data.views import Streams
from lipjax.data.windows import Windows
from lipjax.errors import ConfigError
from lipjax.media.log_mel import LogMel


def streams_of(data: Settings) -> Streams:
    """Builds the settings of the views from a config's `data`."""
    return Streams(
        mouth_size=data["mouth_size"], log_mel=LogMel(**data["log_mel"]), fps=data["fps"]
    )


def windows_of(config: ConfigDict, task: Any, corpora: list[Corpus], split: str) -> Windows:
    """Builds this process's windows of a split; augmented for training only."""
    data = config.data
    return Windows(
        corpora,
        task.inputs,
        split=split,
        streams=streams_of(data),
        batch_size=data.batch_size,
        process=(jax.process_index(), jax.process_count()),
        seed=config.seed,
        weights=list(data.weights) or None,
        augment=Augment(**(data.augment if split == "train" else {})),
        cache_mb=data.cache_mb,
        workers=data.workers,
        max_bad_fraction=data.max_bad_fraction,
        max_short_fraction=data.max_short_fraction,
        patience=data.patience,
        ready=data.ready,
    )


def corpora_of(config: ConfigDict) -> list[Corpus]:
    """Opens the corpora of a config.

    Raises:
        ConfigError: they were cut with different margins.
        CorpusError: one cannot be opened.
    """
    corpora = [open_corpus(directory) for directory in config.data.dirs]
    margins = {corpus.settings["margin"] for corpus in corpora}
    if len(margins) != 1:
        raise ConfigError(f"data.dirs: mouth crops with different margins {sorted(margins)}")
    return corpora
