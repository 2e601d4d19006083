# SPDX-License-Identifier: Apache-2.0
"""The commands of the console: arguments to function calls, a file each."""
