//! Why a window is made.

use std::fmt;

use layout::{Freshness, Name};

/// Why a window is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It is not there yet.
    Missing,
    /// It was made by another query.
    Query,
    /// This reference table was given, or not, or had another content.
    Table(String),
    /// This data set had other files for the window, or none, or has none any more.
    Input(Name),
    /// It is wanted although it is up to date.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not made yet"),
            Self::Query => f.write_str("the query has changed"),
            Self::Table(name) => write!(f, "the table {name} has changed"),
            Self::Input(name) => write!(f, "{name} has changed"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

impl Reason {
    /// The reason to make a window that stands so to what would be made now, if there is one.
    pub(super) fn of(freshness: Freshness<'_>) -> Option<Self> {
        match freshness {
            Freshness::UpToDate => None,
            Freshness::Late(name) | Freshness::OlderInput(name) => Some(Self::Input(name.clone())),
            Freshness::OtherQuery => Some(Self::Query),
            Freshness::OtherTable(name) => Some(Self::Table(name.to_owned())),
        }
    }
}
