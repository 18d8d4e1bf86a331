#!/usr/bin/env bash
# Fetches DuckDB's extensions for warehouses into a folder, for machines that have no connection of their own.
#
#   scripts/extensions.sh FOLDER [postgres] [sqlite]
#
# Without names, both. Carry the files to the machine and name their folder by --extension-dir or
# DUCKDB_EXTENSION_DIR, or put them beside the programs. They come out of DuckDB's packages for Python (12 to 15 MB each,
# signed by DuckDB), and are kept only if they have the checksums below. What is there already is not fetched again.
set -euo pipefail
if [[ $# == 0 || $1 == -h || $1 == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

version=1.5.5
declare -A sha256=(
    [postgres]=b1ced4cfc6311313e117c2afb3eac76508718778dde0716421503c7dbfb5605c
    [sqlite]=693d2bf90779df23ca5ebe0688639b9adfc11c2d55ae3466b33e28be16afaa5e
)
folder=$1
shift
[[ $# != 0 ]] || set -- postgres sqlite

verified() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }
fail() {
    echo "extensions: $*" >&2
    exit 1
}

[[ $(uname -sm) == "Linux x86_64" ]] || fail "no checksums are known for $(uname -sm): let DuckDB install its extensions"
mkdir -p "$folder"
work=
trap 'rm -rf "$work"' EXIT
for name in "$@"; do
    [[ -n ${sha256[$name]:-} ]] || fail "$name: there is no such extension: postgres, sqlite"
    file=$folder/${name}_scanner.duckdb_extension
    if verified "$file" "${sha256[$name]}"; then continue; fi
    "$(dirname "${BASH_SOURCE[0]}")/need.sh" python3=python3 pip3=python3-pip
    package=duckdb-extension-$name-scanner==$version
    echo "extensions: fetching $package" >&2
    [[ -n $work ]] || work=$(mktemp -d "$folder/.fetch.XXXXXX")
    pip3 download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --platform manylinux2014_x86_64 --dest "$work/$name" "$package" >&2 || fail "$package could not be fetched"
    python3 -m zipfile -e "$work/$name"/*.whl "$work/$name"
    found=("$work/$name"/*/extensions/"v$version/${name}_scanner.duckdb_extension")
    verified "${found[0]}" "${sha256[$name]}" || fail "$package does not have the expected checksum"
    mv "${found[0]}" "$file"
done
