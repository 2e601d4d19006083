# SPDX-License-Identifier: Apache-2.0
"""Sound, pictures and videos: decoding, faces, crops, drawing; never imports JAX."""
