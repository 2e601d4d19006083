# SPDX-License-Identifier: Apache-2.0
"""Array files (.npy, .npz) from strangers: never unpickled, never more memory than the file has.

NumPy alone refuses pickles too, but takes the memory that a header asks for before it looks
whether the file holds as much, and unpacks compressed members of any size.
"""

import io
import math
import os
import zipfile

import numpy as np

_MEMBERS = 256


def load_array(path: str | os.PathLike) -> np.ndarray:
    """Reads a .npy file.

    Args:
        path: the file.

    Raises:
        ValueError: it is no such file, is damaged, holds Python objects, or promises more than
            it has; nothing else is raised, whatever the file is.
    """
    try:
        if not os.path.isfile(path):
            raise ValueError("no such file")
        with open(path, "rb") as file:
            return _read(file, os.path.getsize(path))
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001  NumPy raises about anything for a damaged header
        raise ValueError(f"{type(error).__name__}: {error}") from error


def load_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a .npz file that was written uncompressed (`np.savez`), whole.

    Args:
        path: the file.

    Returns:
        Name -> array.

    Raises:
        ValueError: as for `load_array`; also for compressed members.
    """
    try:
        if not os.path.isfile(path):
            raise ValueError("no such file")
        size = os.path.getsize(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MEMBERS or sum(member.file_size for member in members) > size:
                raise ValueError("its members promise more than the file holds")
            return {
                member.filename.removesuffix(".npy"): _member(archive, member) for member in members
            }
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001  zipfile likewise
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"member {member.filename!r} is compressed")
    data = archive.read(member)
    return _read(io.BytesIO(data), len(data))


def _read(file: io.BufferedIOBase, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format is not read here")
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"arrays of {dtype} {shape} are not read here")
    if len(shape) > 32 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"promises {dtype} {list(shape)}, more than its {size:,} bytes can hold")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
