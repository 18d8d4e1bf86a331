#!/usr/bin/env bash
# Finds or fetches DuckDB's official prebuilt library, so that the first build takes minutes instead of half an hour.
#
#   eval "$(scripts/duckdb-lib.sh)"
#   cargo build --release $DUCKDB_CARGO_FLAGS
#
# Says on stderr what it does, and prints on stdout the shell lines to evaluate:
#   DUCKDB_CARGO_FLAGS  flags for every cargo command that compiles (empty: DuckDB is compiled in)
#   DUCKDB_LIB_DIR      where the linker finds the library
#   RUSTFLAGS           makes the binaries find it where it lies, from cron too
#
# The library is looked for in $DUCKDB_LIB_DIR (taken as it is), then in the cache folder
# (${XDG_CACHE_HOME:-~/.cache}/libduckdb), and else fetched with `npm pack` out of DuckDB's own bindings for Node.js;
# what comes from the cache or the network must have the checksum below. Where npm is missing, root gets it installed.
# When anything is missing or does not verify, on another platform, or with PIPELINE_DUCKDB=bundled, DuckDB is compiled
# from source instead: 15 to 30 minutes, once.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

version=1.5.5
package=@duckdb/node-bindings-linux-x64@1.5.5-r.5
package_sha256=86d2bda909785550e8a14a57a8a4584827aff0e268d8f1a58c3fd48559f7020e
library_sha256=fc23f12e376c47be520f75221288281906e7942e8fd6f6ce4849198ba60d0405

say() { echo "duckdb-lib: $*" >&2; }

bundled() {
    say "$1: DuckDB $version is compiled from source with the first build (15 to 30 minutes on two cores; needs a C++ compiler)"
    echo "export DUCKDB_CARGO_FLAGS=''; unset DUCKDB_LIB_DIR"
    exit 0
}

prebuilt() {
    say "DuckDB $version prebuilt in $1"
    local rpath="-C link-arg=-Wl,-rpath,$1"
    # The same flags twice would only make cargo build everything again.
    case " ${RUSTFLAGS:-} " in *" $rpath "*) rpath=$RUSTFLAGS ;; *) rpath="${RUSTFLAGS:+$RUSTFLAGS }$rpath" ;; esac
    printf 'export DUCKDB_CARGO_FLAGS=--no-default-features DUCKDB_LIB_DIR=%q RUSTFLAGS=%q\n' "$1" "$rpath"
    exit 0
}

verified() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }

[[ ${PIPELINE_DUCKDB:-} != bundled ]] || bundled "PIPELINE_DUCKDB=bundled"
if [[ -n ${DUCKDB_LIB_DIR:-} ]]; then
    if [[ -r $DUCKDB_LIB_DIR/libduckdb.so ]]; then prebuilt "$(realpath "$DUCKDB_LIB_DIR")"; fi
    say "DUCKDB_LIB_DIR=$DUCKDB_LIB_DIR holds no libduckdb.so"
fi
[[ $(uname -sm) == "Linux x86_64" ]] || bundled "no prebuilt library is known for $(uname -sm)"

cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/libduckdb
folder=$cache/$version
# Linker flags are split at white space and commas.
[[ $folder != *[[:space:],]* ]] || bundled "the cache folder $cache has a space or comma in its name"
if [[ -e $folder/libduckdb.so ]]; then
    if verified "$folder/libduckdb.so" $library_sha256; then prebuilt "$folder"; fi
    say "$folder/libduckdb.so does not have the expected checksum: it is fetched again"
fi

# Debian's npm takes a minute and 240 MB: worth it, but not worth asking anybody for root.
if ! command -v npm >/dev/null; then
    [[ $(id -u) == 0 ]] || bundled "there is no npm to fetch the prebuilt library with"
    "$(dirname "${BASH_SOURCE[0]}")/need.sh" npm=npm >&2 || bundled "npm, which fetches the prebuilt library, cannot be installed"
fi
mkdir -p "$folder" 2>/dev/null || bundled "cannot write to $cache"
work=$(mktemp -d "$cache/.fetch.XXXXXX") || bundled "cannot write to $cache"
trap 'rm -rf "$work"' EXIT
say "fetching $package (24 MB)"
(cd "$work" && npm pack --silent "$package" >/dev/null) || bundled "npm could not fetch $package"
tarball=("$work"/*.tgz)
verified "${tarball[0]}" $package_sha256 || bundled "$package does not have the expected checksum"
tar -xzf "${tarball[0]}" -C "$work" package/libduckdb.so || bundled "$package cannot be unpacked"
verified "$work/package/libduckdb.so" $library_sha256 || bundled "the library in $package does not have the expected checksum"
# Whoever fetches at the same time renames the same bytes.
mv "$work/package/libduckdb.so" "$folder/libduckdb.so"
prebuilt "$folder"
