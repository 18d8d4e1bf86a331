//! What a changed stream file means for the data that is there.
//!
//! What is in raw/ is read by the version of the file that accepted it, and an hour gets the columns of all versions. So a
//! rule may become tighter or looser, and columns may come and go. Only a column that changes its type, and another event
//! time, cannot be put together with what is there.

use crate::schema::{ColumnType, Model};

/// Why rows of `new` cannot stand in one data set with rows of `old`; empty if they can.
pub fn conflicts(old: &Model, new: &Model) -> Vec<String> {
    let mut conflicts = Vec::new();
    if old.time_column() != new.time_column() || old.event_time.is_some() != new.event_time.is_some() {
        let time = |model: &Model| match model.event_time {
            Some(_) => format!("`{}`", model.time_column()),
            None => "the time of arrival".to_owned(),
        };
        conflicts.push(format!("its rows are placed by {}, and were by {}", time(new), time(old)));
    }
    for column in &new.columns {
        let before = old.columns.iter().find(|before| before.name.eq_ignore_ascii_case(&column.name));
        if let Some(before) = before.filter(|before| !holds(&column.column_type, &before.column_type)) {
            let (name, now, was) = (&column.name, &column.column_type, &before.column_type);
            conflicts.push(format!("the column `{name}` is {now}, and was {was}, which it does not hold"));
        }
    }
    conflicts
}

/// Whether each value of the type `old` is one of `new`.
fn holds(new: &ColumnType, old: &ColumnType) -> bool {
    use ColumnType::{Date, Decimal, List, OneOf, Timestamp, Varchar};
    match (new, old) {
        (Varchar | OneOf(_), Varchar | OneOf(_)) | (Timestamp, Date) => true,
        (Decimal { precision, scale }, Decimal { precision: old_precision, scale: old_scale }) => {
            scale >= old_scale && precision - scale >= old_precision - old_scale
        }
        (List(new), List(old)) => holds(new, old),
        _ => new == old,
    }
}
