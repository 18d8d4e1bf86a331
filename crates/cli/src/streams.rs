//! The streams of a data directory.

use layout::{Area, Tree};
use models::Streams;

use crate::args::CommonArgs;
use crate::program::Usage;

impl CommonArgs {
    /// The streams that there are: those of the folder of stream files, those of which raw/ keeps a version, so that data can
    /// be read whose stream file is gone, and those that come with the programs.
    pub fn streams(&self) -> anyhow::Result<Streams> {
        let mut streams = self.declared_streams()?;
        keep_versions(&self.tree(), &mut streams)?;
        Ok(streams)
    }

    /// Those that come with the programs, and those of the folder of stream files.
    pub fn declared_streams(&self) -> anyhow::Result<Streams> {
        let folder = self.streams_dir.clone().unwrap_or_else(|| self.data_dir.join("streams"));
        if self.streams_dir.is_some() && !folder.is_dir() {
            return Err(Usage(format!("{}: there is no such folder (--streams)", folder.display())).into());
        }
        Ok(Streams::load(&folder)?)
    }
}

/// Adds the versions of stream files that raw/ keeps.
pub fn keep_versions(tree: &Tree, streams: &mut Streams) -> layout::Result<()> {
    for name in tree.names(Area::Raw)? {
        for (version, text) in tree.stream_versions(&name)? {
            let kept = tree.folder(Area::Raw, &name).join(format!("{version}.toml"));
            streams.keep(name.as_str(), &version.to_string(), &kept, &text);
        }
    }
    Ok(())
}

/// The names of streams, for a message.
pub fn stream_names(streams: &Streams) -> String {
    streams.names().collect::<Vec<_>>().join(", ")
}
