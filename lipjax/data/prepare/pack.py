# SPDX-License-Identifier: Apache-2.0
"""Packing clips into a TFDS dataset of ArrayRecord files, the same bytes every time."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data import schema
from lipjax.data.reading import DESCRIPTION, ClipIndex, index_path, row_of
from lipjax.data.records import RecordWriter, in_order, serialize


class CorpusWriter:
    """Writes clips split by split in the order given, then the metadata.

    Args:
        directory: an existing folder; files appear in it under temporary names until `close`.
        options: of the `RecordWriter`.
    """

    def __init__(self, directory: Path, **options: Any):
        self.directory = Path(directory)
        self._features = schema.features()
        self._records = RecordWriter(directory, self._features, **options)
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, split: str, clip: schema.Clip) -> None:
        """Appends a clip to a split."""
        record = serialize(self._features, schema.encode(clip))
        self.add_record(split, record, row_of(clip))

    def add_record(self, split: str, record: bytes, row: dict[str, Any]) -> None:
        """Appends an already encoded clip with its row of the index."""
        self._records.add(split, record)
        self._rows.setdefault(split, []).append(row)

    def close(self, description: dict[str, Any]) -> list[str]:
        """Finishes the files and writes metadata, index and description.

        Args:
            description: `settings` and whatever else a later run must know, JSON-like.

        Returns:
            Names of the files of the corpus in the directory; the description comes last.
        """
        names = self._records.close("Talking mouths prepared by lipjax.")
        splits = in_order(tuple(self._rows))
        for split in splits:
            index = ClipIndex.from_rows(self._rows[split])
            np.savez(index_path(self.directory, split), **vars(index))
            names.append(index_path(self.directory, split).name)
        full = {
            "schema_version": schema.SCHEMA_VERSION,
            **description,
            "splits": {
                split: {
                    "clips": len(self._rows[split]),
                    "frames": int(sum(row["frames"] for row in self._rows[split])),
                }
                for split in splits
            },
        }
        text = json.dumps(full, indent=1, ensure_ascii=False)
        (self.directory / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        return [*names, DESCRIPTION]
