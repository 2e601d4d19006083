# SPDX-License-Identifier: Apache-2.0
"""Packing clips into a TFDS dataset of ArrayRecord files, the same bytes every time."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data import schema
from lipjax.data.reading import DESCRIPTION, ClipIndex, index_path, row_of

_NAME = "lipjax"
SPLITS = ("train", "val", "test")
_SHARD_BYTES = 1 << 28


class CorpusWriter:
    """Writes records split by split in the order given, then the metadata.

    Args:
        directory: an existing folder; files appear in it under temporary names until `close`.
        shard_bytes: a shard that has reached this size is full.
    """

    def __init__(self, directory: Path, *, shard_bytes: int = _SHARD_BYTES):
        self.directory, self._shard_bytes = Path(directory), shard_bytes
        self._features = schema.features()
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._shards: dict[str, list[int]] = {}
        self._sizes: dict[str, list[int]] = {}
        self._writers: dict[str, Any] = {}

    def _temporary(self, split: str, shard: int) -> Path:
        return self.directory / f"{split}.{shard:05d}.part"

    def add(self, split: str, clip: schema.Clip) -> None:
        """Appends a clip to a split."""
        record = self._features.serialize_example(schema.encode(clip))
        self.add_record(split, record, row_of(clip))

    def add_record(self, split: str, record: bytes, row: dict[str, Any]) -> None:
        """Appends an already encoded clip with its row of the index."""
        from array_record.python import array_record_module

        if split not in self._rows:
            self._rows[split], self._shards[split], self._sizes[split] = [], [], []
        shards, sizes = self._shards[split], self._sizes[split]
        if not sizes or sizes[-1] >= self._shard_bytes:
            if sizes:
                self._writers.pop(split).close()
            path = self._temporary(split, len(shards))
            self._writers[split] = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
            shards.append(0)
            sizes.append(0)
        self._writers[split].write(record)
        shards[-1] += 1
        sizes[-1] += len(record)
        self._rows[split].append(row)

    def close(self, description: dict[str, Any]) -> list[str]:
        """Finishes the files and writes metadata, index and description.

        Args:
            description: `settings` and whatever else a later run must know, JSON-like.

        Returns:
            Names of the files of the corpus in the directory; the description comes last.
        """
        import tensorflow_datasets as tfds

        for writer in self._writers.values():
            writer.close()
        infos, names = [], []
        splits = sorted(self._rows, key=lambda split: (SPLITS + (split,)).index(split))
        for split in splits:
            count = len(self._shards[split])
            for shard in range(count):
                name = f"{_NAME}-{split}.array_record-{shard:05d}-of-{count:05d}"
                self._temporary(split, shard).replace(self.directory / name)
                names.append(name)
            infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=self._shards[split],
                    num_bytes=sum(self._sizes[split]),
                )
            )
            index = ClipIndex.from_rows(self._rows[split])
            np.savez(index_path(self.directory, split), **vars(index))
            names.append(index_path(self.directory, split).name)
        tfds.folder_dataset.write_metadata(
            data_dir=str(self.directory),
            features=self._features,
            split_infos=infos,
            filename_template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            check_data=False,
            description="Talking mouths prepared by lipjax.",
        )
        names += ["dataset_info.json", "features.json"]
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
