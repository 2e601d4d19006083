#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs Chromium and its driver for `make check` where they are missing (Debian, as root).
set -euo pipefail

missing() { ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; }

missing || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "the page is tested in a browser: install the programs chromium and chromedriver" >&2
  echo "(on Debian, as root: apt-get install chromium chromium-driver), then run this again" >&2
  exit 1
fi
echo "installing chromium and chromium-driver"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes \
    --no-install-recommends chromium chromium-driver; } >"$log" 2>&1 || missing; then
  tail -n 20 "$log" >&2
  echo "chromium and chromium-driver could not be installed; see above" >&2
  exit 1
fi
