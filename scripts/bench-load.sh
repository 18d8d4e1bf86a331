#!/usr/bin/env bash
# Measures load-warehouse beside the servers' own clients, and writes the table into docs/benchmarks.md.
#
#   scripts/bench-load.sh [--print]
#
# Rows of telemetry in five hours go into MariaDB and into PostgreSQL, into the table that load-warehouse makes, with its
# key and its index: by load-warehouse (from its start to its end), and by the bulk load of the server's own client, from a
# file: mariadb's LOAD DATA LOCAL INFILE, psql's \copy. They run in turns, and medians count. MariaDB is also loaded with
# local_infile off, as MySQL comes. The servers are the script's own, with a data directory of their own. The table stands
# in docs/benchmarks.md between the lines <!-- bench-load --> and <!-- /bench-load -->; with --print it is only printed.
#
# Settings: BENCH_ROUNDS (5), BENCH_ROWS (1000000), TMPDIR for the files and the servers' data (about 2 GB).
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C TZ=UTC PATH=$PATH:/usr/sbin:/sbin
rounds=${BENCH_ROUNDS:-5} rows=${BENCH_ROWS:-1000000}
unset RUST_LOG DATA_DIR DB_HOST DB_PORT DB_USER DB_PASSWORD DB_PASSWORD_FILE DB_NAME
say() { echo "bench: $*" >&2; }
scripts/need.sh mariadbd=mariadb-server-core mariadb=mariadb-client-core setpriv=util-linux
shopt -s nullglob
scripts/need.sh psql=postgresql-client "$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb none | head -n 1 | sed 's/^none$/initdb/')=postgresql"
postgres=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
programs=$(scripts/build.sh)
PATH=$programs:$PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/bench-load.XXXXXX")
chmod 755 "$work"
servers=()
stop() {
    [[ ${#servers[@]} == 0 ]] || kill -INT "${servers[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap stop EXIT
[[ -n ${DUCKDB_EXTENSION_DIR:-} ]] || { scripts/extensions.sh "$work/extensions" && export DUCKDB_EXTENSION_DIR=$work/extensions; }

# The server refuses to run as root: then it runs as nobody in particular.
somebody=()
[[ $(id -u) != 0 ]] || somebody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
# A port that nobody uses.
port() { (for ((port = 20000 + RANDOM % 20000; ; port++)); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; break; }; done); }
wait_for() {
    for _ in {1..300}; do if "$@" &>/dev/null; then return; fi; sleep 0.1; done
    say "a server does not start: $(tail -n 5 "$work"/*.log)"
    exit 1
}

export DB_USER=loader DB_PASSWORD=bench DB_NAME=bench
mariadb_port=$(port) postgres_port=$(port)
mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --user="$(id -un)" --datadir="$work/mariadb" >"$work/mariadb.log" 2>&1
mariadbd --no-defaults --user="$(id -un)" --datadir="$work/mariadb" --socket="$work/mariadb.socket" --pid-file="$work/mariadb.pid" \
    --port="$mariadb_port" --bind-address=127.0.0.1 --skip-name-resolve --local-infile=1 >>"$work/mariadb.log" 2>&1 &
servers+=($!)
maria() { mariadb --no-defaults --user=root --socket="$work/mariadb.socket" --local-infile=1 --batch --skip-column-names "$@"; }
wait_for maria -e "SELECT 1"
maria -e "CREATE DATABASE bench; CREATE USER loader@'%' IDENTIFIED BY 'bench'; GRANT ALL ON bench.* TO loader@'%'"
mkdir "$work/postgres"
[[ $(id -u) != 0 ]] || chown 65534:65534 "$work/postgres"
(cd / && "${somebody[@]}" "$postgres/initdb" -D "$work/postgres/data" -U loader -E UTF8 --locale=C --auth=trust) >"$work/postgres.log" 2>&1
(cd / && exec "${somebody[@]}" "$postgres/postgres" -D "$work/postgres/data" -k "$work/postgres" -p "$postgres_port" -c listen_addresses=127.0.0.1) >>"$work/postgres.log" 2>&1 &
servers+=($!)
post() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U loader "$@"; }
wait_for post -d postgres -c "SELECT 1"
post -d postgres -c "CREATE DATABASE bench"

say "$rows rows in five hours"
awk -v rows="$rows" 'BEGIN { for (row = 0; row < rows; row++)
    printf "{\"timestamp\": %d, \"sensor_id\": %d, \"measurement\": {\"kind\": \"Temperature\", \"value\": %.2f, \"unit\": \"Celsius\"}}\n",
        1735689600 + int(row * 18000 / rows), row % 500, (row * 7919) % 100000 / 100 }' |
    tcp-ingest --data-dir "$work/tree" --stdin telemetry
compact --data-dir "$work/tree"

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
# Runs a command and adds its seconds to a file.
timed() {
    local file=$work/$1 start=${EPOCHREALTIME/./} end
    shift
    "$@" >&2
    end=${EPOCHREALTIME/./}
    calc "%.6f\n" "($end - $start) / 1e6" >>"$file"
}
load() { DB_PORT=$2 load-warehouse --data-dir "$work/tree" --target "$1" telemetry; }
clear_mariadb() { maria bench -e "TRUNCATE telemetry; TRUNCATE load_log"; }
clear_postgres() { post -d bench -c "TRUNCATE telemetry, load_log"; }
columns="id, window_start, timestamp, sensor_id, measurement_kind, measurement_value, measurement_text, measurement_unit"

# The first load makes the tables, and the rows that the clients load.
load mysql "$mariadb_port"
load postgres "$postgres_port"
maria --quick bench -e "SELECT $columns FROM telemetry ORDER BY id" | sed 's/\tNULL\t/\t\\N\t/' >"$work/rows.tsv"
post -d bench -c "\\copy telemetry ($columns) TO '$work/rows.csv' (FORMAT csv)"
for ((round = 0; round < rounds; round++)); do
    say "round $((round + 1)) of $rounds"
    clear_mariadb
    timed mariadb.client maria bench -e "LOAD DATA LOCAL INFILE '$work/rows.tsv' INTO TABLE telemetry ($columns)"
    clear_mariadb
    timed mariadb.load load mysql "$mariadb_port"
    clear_mariadb
    maria -e "SET GLOBAL local_infile = OFF"
    timed mariadb.insert load mysql "$mariadb_port"
    maria -e "SET GLOBAL local_infile = ON"
    clear_postgres
    timed postgres.client post -d bench -c "\\copy telemetry ($columns) FROM '$work/rows.csv' (FORMAT csv)"
    clear_postgres
    timed postgres.load load postgres "$postgres_port"
done
[[ $(maria bench -e "SELECT count(*) FROM telemetry") == "$rows" && $(post -d bench -c "SELECT count(*) FROM telemetry") == "$rows" ]] ||
    { say "not all rows are there"; exit 1; }

table=$work/table
{
    echo "| | this | compared with | ratio |"
    echo "|---|---|---|---|"
} >"$table"
row() {
    local this other
    this=$(median <"$work/$2") other=$(median <"$work/$3")
    printf '| %s | %s | %s | %s |\n' "$1" "$(calc "%.0f rows/s" "$rows / $this")" \
        "$(calc "%.0f rows/s" "$rows / $other"): $4" "$(calc %.2f "$other / $this")" >>"$table"
}
row "load-warehouse, $rows rows into MariaDB" mariadb.load mariadb.client "mariadb, LOAD DATA LOCAL INFILE of a file"
row "the same with local_infile off" mariadb.insert mariadb.client "mariadb, LOAD DATA LOCAL INFILE of a file"
row "load-warehouse, $rows rows into PostgreSQL" postgres.load postgres.client "psql, \\copy of a CSV file"
cat "$table"
if [[ ${1:-} != --print ]]; then
    awk -v table="$table" '
        /^<!-- bench-load -->$/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
        /^<!-- \/bench-load -->$/ { skip = 0 }
        !skip' docs/benchmarks.md >"$work/page"
    cat "$work/page" >docs/benchmarks.md
    say "the table is in docs/benchmarks.md"
fi
