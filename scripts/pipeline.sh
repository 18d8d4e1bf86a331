#!/usr/bin/env bash
# Brings the warehouse up to date: compact, then aggregate, then load-warehouse. Stops at the first that fails.
#
#   scripts/pipeline.sh [--env FILE] [--from TIME] [--to TIME] [-v]
#
# Settings, from the environment or from FILE (lines of NAME=value as in a crontab, which win):
#   DATA_DIR   the data directory (./data)
#   BIN        the folder of the programs (else they are looked for on PATH)
#   DATASETS   the built-in aggregates to compute (temperatures)
#   QUERIES    aggregates of your own: a .sql file, a folder of them, or a pattern (none)
#   SENSORS    the sensors' reference table: CSV, JSON or Parquet (none)
#   TABLES     other reference tables, as NAME=FILE, separated by spaces (none)
#   LOAD       the data sets to load, or --all (those of DATASETS)
#   TARGET     the kind of warehouse: mysql or postgres, with DB_HOST and so on, or sqlite (the embedded one)
#   WAIT       how long to wait for a warehouse that is away, as after a boot: 5m (not at all)
# Without --from and --to, each program does all that is out of date. They name the windows of aggregates, on the clocks of
# their time zones; compact and load-warehouse take a day more on both sides. -v goes to each program.
#
# Exit status: 0 done; 3 done in part, all the programs ran, and what failed was named; 75 another run is still going
# on, or the warehouse is down, try again later; else that of the program that failed. Silent when all is done.
set -euo pipefail

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; }
# Reads lines of NAME=value as cron does: the value is the rest of the line, perhaps in quotes.
settings() {
    local line name value number=0
    [[ -f $1 && -r $1 ]] || { echo "pipeline: $1: there is no such file with settings, or it cannot be read" >&2; exit 2; }
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        [[ ! $line =~ ^[[:space:]]*(#|$) ]] || continue
        if [[ ! $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]]; then
            echo "pipeline: $1:$number: not a line of NAME=value: $line" >&2
            exit 2
        fi
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        [[ ! $value =~ ^\"(.*)\"$ && ! $value =~ ^\'(.*)\'$ ]] || value=${BASH_REMATCH[1]}
        export "$name=$value"
    done <"$1"
}
# An end of the span, a day further out: days of aggregates follow other clocks than UTC. What is no time stays as it is, for
# the programs to refuse.
shifted() {
    local time=$2 days=-1
    [[ $1 == --from ]] || days=1
    case $time in
        [0-9][0-9][0-9][0-9]) time+=-01-01 ;;
        [0-9][0-9][0-9][0-9]-[0-9][0-9]) time+=-01 ;;
        *T[0-9][0-9]) time=${time/T/ }:00 ;;
    esac
    date -u -d "$time UTC $days day" +%Y-%m-%dT%H 2>/dev/null || echo "$2"
}
span=() wide=() verbose=()
while [[ $# != 0 ]]; do
    case $1 in
        -h | --help) usage; exit ;;
        -v) verbose+=(-v) ;;
        --env | --from | --to)
            [[ $# -ge 2 ]] || { echo "pipeline: $1 needs a value" >&2; exit 2; }
            if [[ $1 != --env ]]; then
                span+=("$1" "$2")
                wide+=("$1" "$(shifted "$1" "$2")")
            else
                settings "$2"
            fi
            shift ;;
        *) echo "pipeline: unknown argument $1, see --help" >&2; exit 2 ;;
    esac
    shift
done

export DATA_DIR=${DATA_DIR:-./data}
PATH=${BIN:+$BIN:}$PATH
read -ra datasets <<<"${DATASETS:-temperatures}"
read -ra load <<<"${LOAD:-${datasets[*]}}"
tables=(${SENSORS:+--table "sensors=$SENSORS"})
for table in ${TABLES:-}; do
    tables+=(--table "$table")
done
target=(${TARGET:+--target "$TARGET"} ${WAIT:+--wait "$WAIT"})

[[ -d $DATA_DIR ]] || { echo "pipeline: $DATA_DIR: there is no such data directory; set DATA_DIR" >&2; exit 1; }
# One run at a time. The lock is on the folder itself, so that it leaves no file, and goes with the last program.
exec 9<"$DATA_DIR"
if ! flock -n -E 75 9; then
    [[ ! -t 2 && ${#verbose[@]} == 0 ]] || echo "pipeline: another run over $DATA_DIR is still going on" >&2
    exit 75
fi

for program in compact aggregate load-warehouse; do
    command -v "$program" >/dev/null || { echo "pipeline: there is no $program in ${BIN:-PATH}: set BIN" >&2; exit 1; }
done
status=0
step() {
    local result=0
    "$@" "${verbose[@]}" || result=$?
    case $result in
        0) ;;
        3) status=3 ;;
        75) exit 75 ;;
        *)
            echo "pipeline: $1 ended with status $result: what comes after it was not run" >&2
            exit "$result"
            ;;
    esac
}

step compact "${wide[@]}"
step aggregate "${datasets[@]}" ${QUERIES:+--sql "$QUERIES"} "${tables[@]}" "${span[@]}"
step load-warehouse "${load[@]}" "${target[@]}" "${wide[@]}"
exit "$status"
