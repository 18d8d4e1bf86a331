#!/usr/bin/env bash
# Proves that compact and load-warehouse lose and double nothing: random histories of a tree, in which segments come late
# and damaged, compactors are killed at any step, refused by the system, run together and on a full disk, and backups are
# put back. Then power cuts behind every call that compact makes. Then random histories of each kind of warehouse: loads
# are killed, run together and lose their server. Prints what was lived through, lost and doubled.
#
#   scripts/histories.sh [HISTORIES [LOAD_HISTORIES]]     (10000 and 50: about half an hour on two idle cores)
#
# Without root, which a small disk of its own needs, no disk is full. SEED is that of the first history, each further one
# has the next: a history that fails is named by its seed, and printed.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh
scripts/need.sh strace=strace
# Flags are split at white space. All packages, because each builds its own program for its tests.
# shellcheck disable=SC2086
tests() { cargo test --workspace $DUCKDB_CARGO_FLAGS --test it "$@" -- --nocapture; }
ROUNDS=${1:-10000} tests each_line_is_there_exactly_once_after_any_history
ROUNDS=8 tests power_cut::
# What a kind of warehouse needs is said where it is missing (scripts/test.sh installs it).
ROUNDS=${2:-50} tests random_histories::after_any_history
