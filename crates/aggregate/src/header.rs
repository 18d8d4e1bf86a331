//! What a query's file says of itself: lines `-- @setting: value` among the comments before the SELECT, perhaps with
//! another ` -- ` and a comment behind them. The settings are listed where users look for them: in `--help`.

use std::collections::BTreeSet;

use layout::Name;

use crate::calendar::{Calendar, LookBack, Unit};

/// The settings of a query.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) name: Option<Name>,
    pub(crate) calendar: Calendar,
    pub(crate) key: Vec<String>,
    pub(crate) ignore_changes: BTreeSet<String>,
}

const NAMES: [&str; 6] = ["name", "window", "time_zone", "look_back", "key", "ignore_changes"];

impl Header {
    /// The header of a query that has none.
    pub(crate) fn none() -> Self {
        Self { name: None, calendar: Calendar::hourly(), key: Vec::new(), ignore_changes: BTreeSet::new() }
    }

    /// Reads the header of `sql`; an error comes with the byte that it is about.
    pub(crate) fn parse(sql: &str) -> Result<Self, (usize, String)> {
        let mut header = Self::none();
        let (mut unit, mut zone, mut look_back) = (Unit::Hour, None, None);
        let mut seen = BTreeSet::new();
        let (mut line_at, mut is_header) = (0, true);
        for line in sql.split_inclusive('\n') {
            let begins = line_at;
            line_at += line.len();
            // Comments and empty lines before the query are the header.
            is_header &= line.trim().is_empty() || line.trim_start().starts_with("--");
            if !is_header {
                let Some((at, name)) = misplaced(line) else { continue };
                let place = "on a line of its own, before all else but such lines";
                return Err((begins + at, format!("@{name} is not read here: write -- @{name}: VALUE {place}")));
            }
            let Some((at, setting, value)) = setting(line) else { continue };
            let error = |message: String| (begins + at, message);
            if !seen.insert(setting) {
                return Err(error(format!("@{setting} is given twice")));
            }
            if value.is_empty() && NAMES.contains(&setting) {
                return Err(error(format!("@{setting} has no value: write -- @{setting}: VALUE")));
            }
            if let Some((name, value)) = without_colon(setting) {
                return Err(error(format!("\"@{setting}\" has no colon: write -- @{name}: {value}")));
            }
            match setting {
                "name" => header.name = Some(value.parse().map_err(error)?),
                "window" => unit = value.parse().map_err(error)?,
                "time_zone" => zone = Some((begins + at, value)),
                "look_back" => look_back = Some(value.parse::<LookBack>().map_err(error)?),
                "key" => header.key = list(value).map(str::to_owned).collect(),
                "ignore_changes" => header.ignore_changes = list(value).map(str::to_lowercase).collect(),
                _ => {
                    let names = NAMES.map(|name| format!("@{name}")).join(", ");
                    return Err(error(format!("there is no setting @{setting}: there are {names}")));
                }
            }
        }
        header.calendar = Calendar::new(unit, zone.map(|(_, zone)| zone), look_back)
            .map_err(|message| (zone.map_or(0, |(at, _)| at), message))?;
        Ok(header)
    }
}

/// A setting in a comment behind the header: at which byte of the line, and its name.
fn misplaced(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start_matches(|c: char| c.is_whitespace() || "-/*".contains(c));
    let at = line.len() - text.len();
    let name = text.strip_prefix('@')?.split_once(':')?.0.trim_end();
    let is_comment = line.get(..at)?.contains(['-', '*']);
    (is_comment && NAMES.contains(&name)).then_some((at, name))
}

/// The setting in a line of the header: at which byte of the line it stands, its name and its value.
fn setting(line: &str) -> Option<(usize, &str, &str)> {
    let text = line.trim_start().strip_prefix("--")?.trim_start();
    let setting = text.strip_prefix('@')?;
    let setting = setting.split_once(" --").map_or(setting, |(setting, _)| setting);
    let (name, value) = setting.split_once(':').unwrap_or((setting, ""));
    Some((line.len() - text.len(), name.trim(), value.trim()))
}

/// The name and the value of a setting that is written without a colon: `window day`, `window = day`.
fn without_colon(setting: &str) -> Option<(&str, &str)> {
    let (name, value) = setting.split_once([' ', '\t', '='])?;
    NAMES.contains(&name).then(|| (name, value.trim_start_matches(['=', ' ', '\t'])))
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_among_the_comments_before_the_query() {
        let header = Header::parse(
            "-- How warm the halls were.\n\n-- @window: week\n--@time_zone: Europe/Berlin\n-- @key: hall,  day -- both\n\
             -- @name: halls\n-- @ignore_changes: Sensors\nSELECT 1\n-- no @window: here\n",
        )
        .unwrap();
        assert_eq!(header.name.unwrap().as_str(), "halls");
        assert_eq!((header.calendar.unit, header.calendar.zone()), (Unit::Week, "Europe/Berlin"));
        assert_eq!(header.key, ["hall", "day"]);
        assert_eq!(header.ignore_changes, ["sensors".to_owned()].into());
        assert!(Header::parse("SELECT 1").unwrap().calendar.is_hourly());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (sql, at, message) in [
            ("-- a\n-- @windw: day\nSELECT 1", 8, "there is no setting @windw: there are @name"),
            ("-- @window: year", 3, "\"year\" is not a window"),
            ("-- @window: day\n-- @window: day", 19, "@window is given twice"),
            ("SELECT 1\n-- @window: day", 12, "@window is not read here: write -- @window: VALUE on a line of its own"),
            ("/* ours */\n-- @key: a\nSELECT 1", 14, "@key is not read here"),
            ("/*\n * @time_zone : Asia/Tokyo */ SELECT 1", 6, "@time_zone is not read here"),
            ("-- @window", 3, "@window has no value: write -- @window: VALUE"),
            ("-- @window day", 3, "\"@window day\" has no colon: write -- @window: day"),
            ("-- @look_back = 7 days -- or so", 3, "\"@look_back = 7 days\" has no colon: write -- @look_back: 7 days"),
            ("-- @author Jane Doe", 3, "there is no setting @author Jane Doe: there are @name"),
            ("-- @window: day\n-- @time_zone: Berlin", 19, "\"Berlin\" is not a time zone"),
            ("-- @time_zone: Europe/Berlin", 3, "hours are those of UTC"),
            ("-- @look_back: week", 3, "\"week\" is not a span of time"),
            ("-- @name: Halls", 3, "\"Halls\" is not a name"),
        ] {
            let (found, error) = Header::parse(sql).unwrap_err();
            assert!(error.contains(message), "{sql}: {error}");
            assert_eq!(found, at, "{sql}");
        }
    }
}
