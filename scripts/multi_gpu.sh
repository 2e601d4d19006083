#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains on all GPUs of this machine with one process; see docs/launch.md.
#
#   scripts/multi_gpu.sh --config FILE.py:VARIANT --workdir DIR [more of lipjax train]
#
# Environment: CUDA_VISIBLE_DEVICES, which GPUs (all); WINDOWS_PER_GPU, sets data.batch_size to so
# many times the number of GPUs (else the config's stands); LIPJAX, the command (lipjax).
set -euo pipefail

if (($# == 0)); then
  sed -n '3,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
lipjax=${LIPJAX:-lipjax}
if [[ -n ${WINDOWS_PER_GPU:-} ]]; then
  if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
    IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
  else
    mapfile -t gpus < <(nvidia-smi --list-gpus)
  fi
  set -- "$@" "--config.data.batch_size=$((WINDOWS_PER_GPU * ${#gpus[@]}))"
fi
# In place of this shell, so that SIGTERM reaches the training, which saves and ends with 143.
exec "$lipjax" train "$@"
