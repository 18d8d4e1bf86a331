#!/usr/bin/env bash
# Proves that a stream described by a pydantic model's JSON Schema accepts what pydantic's strict mode accepts: random models
# with random messages, verdict by verdict. What differs on purpose is listed in docs/streams.md, and not made up here.
#
#   scripts/pydantic.sh [MODELS [MESSAGES]]     (10000 models with 100 messages each: some minutes)
#
# Needs pydantic, which scripts/test.sh fetches. SEED repeats the models.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh
python=${PIPELINE_PYTHONPATH:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/pipeline-python}
export MODELS=${1:-10000} MESSAGES=${2:-100} PIPELINE_PYTHONPATH=$python PIPELINE_REQUIRE_SERVERS=1
# Flags are split at white space. All packages, because each builds its own program for its tests.
# shellcheck disable=SC2086
exec cargo test --workspace $DUCKDB_CARGO_FLAGS --test it random_models_get_the_same_verdicts -- --nocapture
