# SPDX-License-Identifier: Apache-2.0
"""lipjax: lip movements from speech and one picture, in JAX and Flax."""
