# SPDX-License-Identifier: Apache-2.0
"""From settings to objects; `lipjax.build` is the way in."""
