# SPDX-License-Identifier: Apache-2.0
"""What evaluate stands on: the honest rows, lip readers, the linear predictor, scores of a clip."""
