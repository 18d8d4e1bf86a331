//! Recovery at the start, of segments that nobody holds any more.

use layout::{Area, DataDirHandle};

use crate::args::Config;

/// Seals the segments of our streams that a dead writer, and all who held them for it, have left open.
pub(crate) fn recover(config: &Config, data_dir: &DataDirHandle) {
    for stream in &config.streams {
        for area in [Area::Raw, Area::Quarantine] {
            let recovered = data_dir
                .check()
                .and_then(|()| layout::recover(&config.tree, area, &stream.name, chrono::Utc::now()))
                .unwrap_or_else(|error| {
                    log::error!("{error}; what a writer that died has left open stays so until the next start");
                    Vec::new()
                });
            for recovered in recovered {
                let sealed = recovered.sealed.map(|segment| config.tree.relative(&segment.path));
                log::warn!(
                    "recovered {} of a writer that died; {} bytes of a torn line to quarantine",
                    sealed.as_deref().unwrap_or("an empty segment"),
                    recovered.torn
                );
            }
        }
    }
}
