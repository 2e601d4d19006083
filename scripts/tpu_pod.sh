#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains on every host of a Cloud TPU slice; see docs/launch.md.
#
#   scripts/tpu_pod.sh NAME ZONE setup            this commit and its packages on all hosts
#   scripts/tpu_pod.sh NAME ZONE start ARGS...    lipjax train --distributed ARGS... on all hosts
#   scripts/tpu_pod.sh NAME ZONE log              the end of host 0's log
#   scripts/tpu_pod.sh NAME ZONE stop             SIGTERM to all: they save and end
#
# Environment: PYTHON (python3.11), the Python of the hosts.
set -euo pipefail

if (($# < 3)); then
  sed -n '3,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
name=$1 zone=$2 job=$3
shift 3
python=${PYTHON:-python3.11}

on_hosts() { # which hosts, command
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker="$1" --command="$2"
}

case $job in
  setup)
    bundle=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$bundle"' EXIT
    git -C "$(dirname "$0")/.." archive --format=tar.gz --output="$bundle" HEAD
    gcloud compute tpus tpu-vm scp "$bundle" "$name:lipjax.tar.gz" --zone="$zone" --worker=all
    on_hosts all "set -e; mkdir -p lipjax; tar -xzf lipjax.tar.gz -C lipjax; cd lipjax; \
$(printf '%q' "$python") -m venv .venv; .venv/bin/pip install --quiet '.[tpu,media]'; \
.venv/bin/python -c 'import jax; print(jax.__version__)'"
    ;;
  start)
    (($#)) || { echo "start: give the arguments of lipjax train" >&2; exit 2; }
    # Words with blanks must survive two shells. Training goes on when the connection ends.
    on_hosts all "cd lipjax; nohup .venv/bin/lipjax train --distributed $(printf '%q ' "$@")\
>train.log 2>&1 </dev/null & echo \$! >train.pid"
    ;;
  log) on_hosts 0 "tail -n 40 lipjax/train.log" ;;
  stop)
    # shellcheck disable=SC2016  # the hosts read their own files
    on_hosts all 'kill -TERM "$(cat lipjax/train.pid)"'
    ;;
  *)
    echo "$job: setup, start, log or stop" >&2
    exit 2
    ;;
esac
