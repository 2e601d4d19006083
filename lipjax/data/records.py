# SPDX-License-Identifier: Apache-2.0
"""Records on disk: TFDS splits of ArrayRecord files, written in order, read at random."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lipjax.data.metadata import NAME, TEMPLATE, check_metadata
from lipjax.errors import CorpusError

_SHARD_BYTES = 1 << 28
SPLITS = ("train", "val", "test")


def in_order(splits: Sequence[str]) -> list[str]:
    """Returns names of splits in the order in which they are listed everywhere."""
    return sorted(splits, key=lambda split: (*SPLITS, split).index(split))


def serialize(features: Any, example: dict[str, Any]) -> bytes:
    """Returns an example as a record, the same bytes in every process.

    Args:
        features: the `tfds.features.FeaturesDict` that encodes it.
        example: name -> value.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    # TFDS leaves the order of the features to the memory of the process.
    message = tf_example_pb2.Example.FromString(features.serialize_example(example))
    return message.SerializeToString(deterministic=True)


class RecordWriter:
    """Writes encoded examples split by split in the order given, then the metadata.

    Args:
        directory: an existing folder; files appear in it under temporary names until `close`.
        features: the `tfds.features.FeaturesDict` that encoded them.
        shard_bytes: a shard that has reached this size is full.
    """

    def __init__(self, directory: Path, features: Any, *, shard_bytes: int = _SHARD_BYTES):
        self.directory, self._shard_bytes = Path(directory), shard_bytes
        self._features = features
        self._shards: dict[str, list[int]] = {}
        self._sizes: dict[str, list[int]] = {}
        self._writers: dict[str, Any] = {}

    def _temporary(self, split: str, shard: int) -> Path:
        return self.directory / f"{split}.{shard:05d}.part"

    def add(self, split: str, record: bytes) -> None:
        """Appends an example, encoded by `serialize`, to a split."""
        from array_record.python import array_record_module

        shards, sizes = self._shards.setdefault(split, []), self._sizes.setdefault(split, [])
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

    def close(self, description: str) -> list[str]:
        """Finishes the files, writes the metadata and returns the names of all files.

        Args:
            description: what the records are, for people.
        """
        import tensorflow_datasets as tfds

        for writer in self._writers.values():
            writer.close()
        infos, names = [], []
        for split in in_order(tuple(self._shards)):
            count = len(self._shards[split])
            for shard in range(count):
                name = f"{NAME}-{split}.array_record-{shard:05d}-of-{count:05d}"
                self._temporary(split, shard).replace(self.directory / name)
                names.append(name)
            infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=self._shards[split],
                    num_bytes=sum(self._sizes[split]),
                )
            )
        tfds.folder_dataset.write_metadata(
            data_dir=str(self.directory),
            features=self._features,
            split_infos=infos,
            filename_template=TEMPLATE,
            check_data=False,
            description=description,
        )
        return [*names, "dataset_info.json", "features.json"]


class RecordSequence(Sequence):  # no element type: type checkers would read records to look
    """The records of one split; files are opened at the first read, in whichever process reads.

    Safe to read from several threads; a pickled copy carries the path only.

    Args:
        directory: where `RecordWriter` wrote.
        split: of it.
        length: number of records.
        remedy: ends the error about files that cannot be opened.
    """

    def __init__(self, directory: Path, split: str, length: int, *, remedy: str):
        self.directory, self.split, self._length = Path(directory), split, length
        self._remedy = remedy
        self._source: Any = None

    def decode(self, example: dict[str, Any]) -> Any:
        """Returns what an example stands for; each kind of record has its own."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_source": None}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))

    def _data_source(self) -> Any:
        if self._source is None:  # two threads may both open it: harmless, one is kept
            try:
                import tensorflow_datasets as tfds

                check_metadata(self.directory)
                builder = tfds.builder_from_directory(str(self.directory))
                self._source = builder.as_data_source(split=self.split)
            except ImportError:
                raise
            except Exception as error:
                raise CorpusError(
                    f"{self.directory}: split {self.split!r} cannot be opened ({error}); "
                    f"{self._remedy}"
                ) from error
        return self._source

    def record(self, position: int) -> bytes:
        """Returns the stored bytes of a record, undecoded.

        Args:
            position: 0 .. len - 1, negative from the end.
        """
        where = range(self._length)[position]
        try:
            record = self._data_source().data_source[where]
            if not record:  # what the reader gives for a shard cut off at a block's end
                raise ValueError("it is empty: its shard is truncated")
            return record
        except CorpusError:
            raise
        except Exception as error:
            raise CorpusError(f"{self._shard(where)}: unreadable ({error})") from error

    def _shard(self, where: int) -> str:
        """Names a record by the file that holds it."""
        info, position = self._source.dataset_info.splits[self.split], where
        for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
            if position < count:
                return f"{path}: record {position}"
            position -= count
        return f"{self.directory}: record {where} of split {self.split!r}"

    def __getitem__(self, position):
        if isinstance(position, slice):
            return [self[where] for where in range(self._length)[position]]
        record = self.record(int(position))
        try:
            features = self._source.dataset_info.features
            return self.decode(features.deserialize_example_np(record))
        except CorpusError:
            raise
        except Exception as error:
            where = self._shard(range(self._length)[position])
            raise CorpusError(f"{where}: cannot be decoded ({error})") from error
