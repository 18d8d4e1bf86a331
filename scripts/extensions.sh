#!/usr/bin/env bash
# Fetches DuckDB's extension for PostgreSQL into a folder, for machines that have no connection of their own.
#
#   scripts/extensions.sh FOLDER
#
# Carry the file to the machine and name its folder by --extension-dir or DUCKDB_EXTENSION_DIR, or put it beside the
# programs. It comes out of DuckDB's package for Python (15 MB, signed by DuckDB), and is kept only if it has the checksum
# below. What is there already is not fetched again.
set -euo pipefail
if [[ $# != 1 || $1 == -h || $1 == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

version=1.5.5 name=postgres_scanner
sha256=b1ced4cfc6311313e117c2afb3eac76508718778dde0716421503c7dbfb5605c
folder=$1 file=$1/$name.duckdb_extension

verified() { echo "$sha256  $1" | sha256sum --check --status 2>/dev/null; }
fail() {
    echo "extensions: $*" >&2
    exit 1
}

[[ $(uname -sm) == "Linux x86_64" ]] || fail "no checksum is known for $(uname -sm): let DuckDB install its extension"
mkdir -p "$folder"
if verified "$file"; then exit; fi
"$(dirname "${BASH_SOURCE[0]}")/need.sh" python3=python3 pip3=python3-pip
package=duckdb-extension-${name//_/-}==$version
echo "extensions: fetching $package" >&2
work=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
pip3 download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --platform manylinux2014_x86_64 --dest "$work" "$package" >&2 || fail "$package could not be fetched"
python3 -m zipfile -e "$work"/*.whl "$work"
found=("$work"/*/extensions/"v$version/$name.duckdb_extension")
verified "${found[0]}" || fail "$package does not have the expected checksum"
mv "${found[0]}" "$file"
