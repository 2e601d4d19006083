# SPDX-License-Identifier: Apache-2.0
"""What generate stands on: pictures and videos as targets, dubbing, lists, what is told."""
