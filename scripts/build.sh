#!/usr/bin/env bash
# Builds the programs in release mode, with the commit in their version, and prints the folder they are in.
#
#   programs=$(scripts/build.sh [ARGUMENT OF CARGO ...])
#
# Links DuckDB's prebuilt library where it can be had, else compiles DuckDB (see duckdb-lib.sh). Needs Rust and a C
# compiler, which is installed when it is missing (see need.sh). Fails when the programs hold what only tests may have
# (see check-programs.sh).
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh
# Not in the daily loop, where each commit would compile all programs again.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
PIPELINE_VERSION="$version$(git log -1 --abbrev=12 --format=' (%h)' 2>/dev/null || true)"
export PIPELINE_VERSION
# shellcheck disable=SC2086 # flags are split at white space
cargo build --release --bins $DUCKDB_CARGO_FLAGS "$@" >&2
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
scripts/check-programs.sh "$target/release"
echo "$target/release"
