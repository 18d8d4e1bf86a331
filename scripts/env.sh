# shellcheck shell=bash
# Sourced by the scripts that call cargo, from the top folder: makes sure that there is a compiler and a linker, and sets
# what the build needs to know about DuckDB's library (see duckdb-lib.sh).
if ! command -v cargo >/dev/null; then
    echo "${0##*/}: there is no cargo: install Rust, see https://rustup.rs" >&2
    exit 1
fi
scripts/need.sh cc=gcc ld=binutils /usr/include/stdio.h=libc6-dev
libraries=$(scripts/duckdb-lib.sh)
eval "$libraries"
[[ -n $DUCKDB_CARGO_FLAGS ]] || scripts/need.sh c++=g++
