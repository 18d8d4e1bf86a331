#!/usr/bin/env python3
"""Convert two hourly temperature series to telemetry, one JSON object a line.

Source: seattle-temps.csv and sf-temps.csv of the Python package vega_datasets
0.9.0, "drawn from public-domain NOAA data" by its dataset_info.json. The values
are degrees Fahrenheit. The dates carry no time zone and are taken as UTC.

Usage, with the package's wheel or a directory that holds the CSV files:

    python3 tests/data/make_series.py WHEEL_OR_DIR seattle | gzip -9n > tests/data/seattle.ndjson.gz
    python3 tests/data/make_series.py WHEEL_OR_DIR san_francisco | gzip -9n > tests/data/san_francisco.ndjson.gz

Without a series name both are written, Seattle first: WHEEL_OR_DIR > both.ndjson
"""

import csv
import json
import sys
import zipfile
from datetime import datetime, timezone
from pathlib import Path

SERIES = {  # name: (sensor_id, file, date format)
    "seattle": (1, "seattle-temps.csv", "%Y/%m/%d %H:%M"),
    "san_francisco": (2, "sf-temps.csv", "%Y/%m/%d %H:%M:%S"),
}


def read_text(source, name):
    if source.is_dir():
        found = sorted(source.rglob(name))
        if not found:
            sys.exit(f"no {name} under {source}")
        return found[0].read_text(encoding="utf-8")
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(f"vega_datasets/_data/{name}").decode("utf-8")


def records(source, series):
    sensor_id, name, date_format = SERIES[series]
    for row in csv.DictReader(read_text(source, name).splitlines()):
        time = datetime.strptime(row["date"], date_format).replace(tzinfo=timezone.utc)
        yield {
            "timestamp": int(time.timestamp()),
            "sensor_id": sensor_id,
            "measurement": {
                "kind": "Temperature",
                "value": float(row["temp"]),
                "unit": "Fahrenheit",
            },
        }


def main(args):
    if not 1 <= len(args) <= 2 or not set(args[1:]) <= set(SERIES):
        sys.exit(f"usage: make_series.py WHEEL_OR_DIR [{'|'.join(SERIES)}]")
    sys.stdout.reconfigure(newline="\n")
    for series in args[1:] or SERIES:
        for record in records(Path(args[0]), series):
            print(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1:])
