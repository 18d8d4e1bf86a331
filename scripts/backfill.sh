#!/usr/bin/env bash
# Brings the hours from FROM (included) to TO (excluded) up to date, whatever the reason that they are not: the same as
# pipeline.sh, but for this span only, and it says what it does.
#
#   scripts/backfill.sh FROM TO [--env FILE]
#
# FROM and TO are 2025-09-02T10, 2025-09-02, 2025-09 or 2025, on the clocks of each aggregate's time zone. Settings and exit
# status are those of pipeline.sh. To load old files of raw messages, first pipe them in:
# tcp-ingest --stdin telemetry < FILE
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi
[[ $# -ge 2 ]] || { echo "usage: $0 FROM TO [--env FILE]" >&2; exit 2; }
from=$1 to=$2
shift 2
exec "$(dirname "${BASH_SOURCE[0]}")/pipeline.sh" --from "$from" --to "$to" -v "$@"
