# SPDX-License-Identifier: Apache-2.0
"""The metadata that TFDS reads beside records, looked at before TFDS obeys it.

TFDS imports whatever module `features.json` names, unpacks what it calls packed, and opens the
files that the template in `dataset_info.json` makes. A corpus from a stranger may name anything.
"""

import json
from pathlib import Path
from typing import Any

NAME, FORMAT = "lipjax", "array_record"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_FEATURES = "tensorflow_datasets.core.features."
_KINDS = {
    _FEATURES + "text_feature.Text": "text",
    _FEATURES + "tensor_feature.Tensor": "tensor",
    _FEATURES + "scalar.Scalar": "tensor",
}
_MOST_BYTES = 1 << 22


def check_metadata(directory: Path) -> None:
    """Checks that the metadata of records is such as `RecordWriter` writes.

    Args:
        directory: of the records.

    Raises:
        ValueError: it is not; the message names the file and what is wrong.
    """
    for name, check in (("features.json", _check_features), ("dataset_info.json", _check_info)):
        path = Path(directory) / name
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES:,} bytes")
            check(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{name} is not as lipjax writes it: {error}") from error


def _check_features(found: dict[str, Any]) -> None:
    _only(found, {"pythonClassName", "featuresDict"})
    if found["pythonClassName"] != _FEATURES + "features_dict.FeaturesDict":
        raise ValueError(f"class {found['pythonClassName']!r}")
    for name, feature in found["featuresDict"]["features"].items():
        kind = _KINDS.get(feature["pythonClassName"])
        if kind is None:
            raise ValueError(f"{name} is of class {feature['pythonClassName']!r}")
        _only(feature, {"pythonClassName", "description", kind})
        if kind == "tensor" and feature[kind].get("encoding", "none") not in ("none", "bytes"):
            raise ValueError(f"{name} is encoded as {feature[kind]['encoding']!r}")


def _check_info(found: dict[str, Any]) -> None:
    # Protocol buffers take a name in either spelling; TFDS writes the one without underscores.
    for level in (found, *found["splits"]):
        _only(level, {key for key in level if "_" not in key})
    if found["name"] != NAME or found["fileFormat"] != FORMAT:
        raise ValueError(f"records of {found['name']!r} in format {found['fileFormat']!r}")
    for split in found["splits"]:
        if split["filepathTemplate"] != TEMPLATE:
            raise ValueError(f"files named {split['filepathTemplate']!r}")


def _only(found: dict[str, Any], allowed: set[str]) -> None:
    strange = sorted(set(found) - allowed)
    if strange:
        raise ValueError(f"has {strange[0]!r}")
