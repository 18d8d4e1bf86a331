//! `telemetry`: one reading of one sensor, with the time at which it was taken.

use crate::measurement;
use crate::schema::{Column, ColumnType, Field, Kind, Model};

const FIELDS: &[Field] = &[
    Field { key: "timestamp", kind: Kind::EpochSeconds(0) },
    Field { key: "sensor_id", kind: Kind::Integer(1) },
    Field { key: "measurement", kind: Kind::Object(&measurement::fields::<2>()) },
];

pub(crate) static MODEL: Model = Model {
    name: "telemetry",
    columns: &[
        Column { name: "timestamp", column_type: ColumnType::Timestamp },
        Column { name: "sensor_id", column_type: ColumnType::BigInt },
        measurement::COLUMNS[0],
        measurement::COLUMNS[1],
        measurement::COLUMNS[2],
        measurement::COLUMNS[3],
    ],
    message: FIELDS,
    record: FIELDS,
    event_time: Some(0),
};
