//! `measurement`: a bare measured value. It carries no time, so its rows are stamped with the time of arrival.

use crate::schema::{Column, ColumnType, Field, Kind, Model};

const KINDS: &[&str] = &["Temperature"];
/// Devices in the field misspell Celsius; both are kept.
const UNITS: &[&str] = &["Celcius", "Celsius", "Fahrenheit"];

/// The columns of a measurement, wherever it stands in a row.
pub(crate) const COLUMNS: [Column; 4] = [
    Column { name: "measurement_kind", column_type: ColumnType::OneOf(KINDS) },
    Column { name: "measurement_value", column_type: ColumnType::Double },
    Column { name: "measurement_text", column_type: ColumnType::Varchar },
    Column { name: "measurement_unit", column_type: ColumnType::OneOf(UNITS) },
];

/// The members of a measurement whose columns begin at `FIRST`.
pub(crate) const fn fields<const FIRST: usize>() -> [Field; 3] {
    [
        Field { key: "kind", kind: Kind::OneOf(KINDS, FIRST) },
        Field { key: "value", kind: Kind::NumberOrText { number: FIRST + 1, text: FIRST + 2 } },
        Field { key: "unit", kind: Kind::OneOf(UNITS, FIRST + 3) },
    ]
}

const MESSAGE: &[Field] = &fields::<1>();

pub(crate) static MODEL: Model = Model {
    name: "measurement",
    columns: &[
        Column { name: "arrival_time", column_type: ColumnType::Timestamp },
        COLUMNS[0],
        COLUMNS[1],
        COLUMNS[2],
        COLUMNS[3],
    ],
    message: MESSAGE,
    record: &[
        Field { key: "arrival_time_us", kind: Kind::EpochMicros(0) },
        Field { key: "message", kind: Kind::Object(MESSAGE) },
    ],
    event_time: None,
};
