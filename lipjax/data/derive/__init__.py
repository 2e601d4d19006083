# SPDX-License-Identifier: Apache-2.0
"""Derive: from a corpus to a side corpus of one array per clip."""

from lipjax.data.derive.job import Report, derive
from lipjax.data.derive.kinds import NAMES, Kind

__all__ = ["NAMES", "Kind", "Report", "derive"]
