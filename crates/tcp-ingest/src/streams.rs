//! The streams that are served, and by which version of their stream files.
//!
//! A stream file is taken up at the start and at SIGHUP. One that is wrong, or whose rows cannot stand in one data set with
//! those that are there, is refused. A worker that follows a dead one cannot refuse: sources are connected. It goes on with
//! the version that was in use.

use std::sync::Arc;

use cli::{CommonArgs, Usage};
use layout::{Name, StreamVersion};
use models::{Model, Streams, conflicts};

/// A stream that is served.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: Name,
    pub(crate) model: Arc<Model>,
    /// The version of its stream file, which segments are named after.
    pub(crate) version: StreamVersion,
}

/// The stream files that are there.
pub(crate) struct StreamFiles {
    declared: Streams,
    /// With the versions that raw/ keeps.
    kept: Streams,
    /// Whether to go on with a version that raw/ keeps when a file is refused.
    goes_on: bool,
}

impl StreamFiles {
    pub(crate) fn read(common: &CommonArgs, goes_on: bool) -> anyhow::Result<Self> {
        Ok(Self { declared: common.declared_streams()?, kept: common.streams()?, goes_on })
    }

    /// The stream `name`.
    pub(crate) fn stream(&self, name: &Name) -> anyhow::Result<Stream> {
        let stream = |model: &Arc<Model>| Stream {
            name: name.clone(),
            version: StreamVersion::of(&model.text),
            model: Arc::clone(model),
        };
        let refused = match self.declared.get(name.as_str()) {
            None => format!("there is no stream {name}; there are {}", cli::stream_names(&self.declared)),
            Some(Err(problems)) => problems.to_string(),
            Some(Ok(model)) => {
                let all = self.kept.versions(name.as_str()).flat_map(|before| conflicts(before, model));
                match all.last() {
                    None => return Ok(stream(model)),
                    Some(why) => format!(
                        "{}: {why}: give what is sent from now on a stream of its own, by another name of the file",
                        self.declared.path(name.as_str()).unwrap_or("".as_ref()).display()
                    ),
                }
            }
        };
        match self.kept.versions(name.as_str()).last() {
            Some(model) if self.goes_on => {
                log::error!("{refused}; going on with the version that was in use");
                Ok(stream(model))
            }
            _ => Err(Usage(refused).into()),
        }
    }
}
