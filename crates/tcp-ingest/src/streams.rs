//! The streams that are served, and by which version of their stream files.
//!
//! A stream file is taken up at the start and at SIGHUP. One that is wrong, or whose rows cannot stand in one data set with
//! those that are there, is refused. A worker that follows a dead one cannot refuse: sources are connected. It goes on with
//! the version that was in use.

use std::sync::Arc;

use cli::{CommonArgs, Usage};
use layout::{Area, HourRange, Name, StreamVersion, Tree};
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
    tree: Tree,
    declared: Streams,
    /// With the versions that raw/ keeps.
    kept: Streams,
    /// Whether to go on with a version that raw/ keeps when a file is refused.
    goes_on: bool,
}

impl StreamFiles {
    pub(crate) fn read(common: &CommonArgs, goes_on: bool) -> anyhow::Result<Self> {
        let tree = common.tree();
        let read = || anyhow::Ok((common.declared_streams()?, common.streams()?));
        let (declared, kept) = match read() {
            Err(error) if goes_on => {
                // Without the folder of stream files there are the versions that raw/ keeps.
                log::error!("{error:#}; going on with the versions that were in use");
                let mut kept = Streams::default();
                cli::keep_versions(&tree, &mut kept)?;
                (Streams::default(), kept)
            }
            read => read?,
        };
        Ok(Self { tree, declared, kept, goes_on })
    }

    /// The versions by which the stream's data was accepted. What is there without one is of the shipped stream.
    fn versions(&self, name: &Name) -> anyhow::Result<Vec<Arc<Model>>> {
        let kept: Vec<_> = self.kept.versions(name.as_str()).cloned().collect();
        let has_data = || -> layout::Result<bool> {
            Ok(!self.tree.parquet_files(name, HourRange::ALL)?.is_empty()
                || !self.tree.sealed_segments(Area::Raw, name, HourRange::ALL)?.is_empty()
                || !self.tree.open_segments(Area::Raw, name)?.is_empty())
        };
        if kept.is_empty() && has_data()? {
            let shipped = Streams::shipped();
            return Ok(shipped.get(name.as_str()).and_then(Result::ok).cloned().into_iter().collect());
        }
        Ok(kept)
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
                let versions = self.versions(name)?;
                match versions.iter().flat_map(|before| conflicts(before, model)).next() {
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
