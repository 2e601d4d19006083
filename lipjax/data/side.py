# SPDX-License-Identifier: Apache-2.0
"""Side corpora: one derived array for every clip of a corpus, in the corpus's own order.

They lie in CORPUS/derived/NAME/ as TFDS splits of their own, with a description that tells from
which clips they were made; the corpus's files never change. `lipjax derive` writes them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lipjax.data.faults import NOT_DERIVED, ClipFault
from lipjax.data.records import RecordSequence
from lipjax.errors import CorpusError

FOLDER = "derived"
DESCRIPTION = "derived.json"
SCHEMA_VERSION = 1


def side_path(corpus: Path, name: str) -> Path:
    """Returns the folder of a corpus's side corpus."""
    return Path(corpus) / FOLDER / name


def features(shape: tuple[int | None, ...], dtype: Any) -> Any:
    """Returns the `tfds.features.FeaturesDict` of a side corpus's records.

    Args:
        shape: of the array of one clip; None where it varies.
        dtype: of the array.
    """
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "error": tfds.features.Text(),
            "value": tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes"),
        }
    )


class SideSequence(RecordSequence):
    """The derived arrays of one split; reading that of a clip where it failed is an error."""

    def decode(self, example: dict[str, Any]) -> Shaped[np.ndarray, "..."]:
        """Returns the array of an example."""
        if example["error"]:
            name, error = (example[key].decode("utf-8") for key in ("id", "error"))
            told = f"{self.directory}: clip {name} has none ({error})"
            raise ClipFault(NOT_DERIVED, told)
        return example["value"]


def read_description(directory: Path) -> dict[str, Any] | None:
    """Returns the description of a side corpus; None if there is none or it is unreadable."""
    try:
        text = (Path(directory) / DESCRIPTION).read_text(encoding="utf-8")
        description = json.loads(text)
        clips = [split["clips"] for split in description["splits"].values()]
        known = isinstance(description["settings"], dict) and all(type(n) is int for n in clips)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return description if known and description.get("schema_version") == SCHEMA_VERSION else None


def open_side(corpus: Path, name: str, split: str, identity: str) -> SideSequence:
    """Opens a split of a side corpus.

    Args:
        corpus: folder of the corpus.
        name: of the side corpus.
        split: of the corpus.
        identity: of the split's clips (`Corpus.identity`).

    Raises:
        CorpusError: there is none, or it was made by another version or from other clips.
    """
    directory = side_path(corpus, name)
    remedy = f"make it with: lipjax derive {name} {corpus}"
    if not (directory / DESCRIPTION).is_file():
        raise CorpusError(f"{corpus}: no derived {name} here; {remedy}")
    description = read_description(directory)
    if description is None:
        raise CorpusError(
            f"{directory / DESCRIPTION}: damaged or of another schema version than "
            f"{SCHEMA_VERSION}; {remedy}"
        )
    made = description["splits"].get(split, {})
    if made.get("identity") != identity:
        raise CorpusError(
            f"{directory}: derived from other clips than split {split!r} of {corpus} now holds; "
            f"{remedy}"
        )
    return SideSequence(directory, split, made["clips"], remedy=remedy)
