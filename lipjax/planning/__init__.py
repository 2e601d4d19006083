# SPDX-License-Identifier: Apache-2.0
"""What a run will need, before it runs: from shapes alone, on devices that need not be here."""
