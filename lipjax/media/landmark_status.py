# SPDX-License-Identifier: Apache-2.0
"""What is known of the landmarks of a frame."""

MISSING, MEASURED, INTERPOLATED = 0, 1, 2
"""No face; a face found in this frame; points drawn between those of frames around it."""
