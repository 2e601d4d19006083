# SPDX-License-Identifier: Apache-2.0
"""The list of videos to make."""

import csv
from pathlib import Path

from lipjax.errors import ConfigError, nearest


def read_pairs(pairs: Path) -> list[tuple[int, dict[str, str]]]:
    """Reads a CSV file whose first line names the columns face, audio, out and others.

    Args:
        pairs: the file.

    Returns:
        (line in the file, column -> text) of each row that is not blank.

    Raises:
        ConfigError: it cannot be read or lacks a column.
    """
    try:
        text = pairs.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{pairs}: the list cannot be read ({error})") from None
    reader = csv.DictReader(text.splitlines(), restval="", skipinitialspace=True)
    try:
        return _rows(pairs, reader)
    except csv.Error as error:
        raise ConfigError(f"{pairs}: the list cannot be read ({error})") from error


def _rows(pairs: Path, reader: csv.DictReader) -> list[tuple[int, dict[str, str]]]:
    names = [name.strip() for name in reader.fieldnames or ()]
    for name in ("face", "audio", "out"):
        if name not in names:
            raise ConfigError(
                f"{pairs}: the first line must name the columns face, audio and out; "
                f"{name!r} is missing" + (nearest(name, names) if names else "")
            )
    reader.fieldnames = names
    rows = []
    for row in reader:
        plain = {name: (row[name] or "").strip() for name in names}
        if any(plain.values()):
            rows.append((reader.line_num, plain))
    return rows
