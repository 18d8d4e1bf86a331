#!/usr/bin/env bash
# Proves that tcp-ingest loses and doubles nothing: sources send numbered messages while its worker is killed with -9 at
# random moments, upgraded, and denied room on the disk. Prints what was sent, survived, lost and doubled.
#
#   scripts/torture.sh [KILLS [UPGRADES [FULL_DISKS]]]     (500, 20 and 10: takes some minutes)
#
# Needs root, for a small disk of its own. SEED repeats the choice of moments, though not what the system makes of it.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh
export KILLS=${1:-500} UPGRADES=${2:-20} FULL_DISKS=${3:-10} PIPELINE_REQUIRE_SERVERS=1
# Flags are split at white space. All packages, because each builds its own program for its tests.
# shellcheck disable=SC2086
exec cargo test --workspace $DUCKDB_CARGO_FLAGS --test it torture:: -- --nocapture
