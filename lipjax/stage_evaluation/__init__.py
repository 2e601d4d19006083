# SPDX-License-Identifier: Apache-2.0
"""Earlier stages measured on whole clips: what the flow and the perceptual network are worth."""
