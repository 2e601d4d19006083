# SPDX-License-Identifier: Apache-2.0
"""Prepare: from a folder of talking-face videos to a corpus on disk."""

from lipjax.data.prepare.job import prepare
from lipjax.data.prepare.report import Report
from lipjax.data.prepare.settings import PrepareSettings

__all__ = ["PrepareSettings", "Report", "prepare"]
