//! Versions of stream files. What is in raw/ is read by the version of the file that accepted it.
//!
//! A version is named by the first 35 bits of the BLAKE3 hash of its text, written as ULIDs are: seven characters. A
//! segment's name ends with that of its version, and `raw/<stream>/<version>.toml` keeps the text. So whoever has a stream's
//! folder in raw/ can read it.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::files;
use crate::folders::{Kind, list};
use crate::name::{Name, StreamVersion};
use crate::paths::{Area, Tree};
use crate::publish::{Draft, publish_new, sync_published};

impl Tree {
    /// Keeps the text of a version of a stream file, durable when this returns.
    pub fn keep_stream_version(&self, stream: &Name, text: &str) -> Result<()> {
        let path = self.stream_version(stream, StreamVersion::of(text));
        match files::read(&path) {
            Ok(there) if there == text.as_bytes() => return Ok(()),
            Ok(_) => {
                let remedy = "change a comment of the stream file, which gives it another version";
                return Err(Error::invalid(&path, "is another text, which has the same version", remedy));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let draft = Draft::new(path.clone())?;
        fs::write(draft.path(), text).map_err(Error::at("write", draft.path()))?;
        publish_new(draft)?;
        sync_published(&path)
    }

    /// Keeps a version of a stream file, and makes it the last one that was in use.
    pub fn use_stream_version(&self, stream: &Name, text: &str) -> Result<()> {
        self.keep_stream_version(stream, text)?;
        let path = self.stream_version(stream, StreamVersion::of(text));
        let touched =
            fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        touched.map_err(Error::at("touch", &path))
    }

    fn stream_version(&self, stream: &Name, version: StreamVersion) -> PathBuf {
        self.folder(Area::Raw, stream).join(format!("{version}.toml"))
    }

    /// The versions of a stream file that are kept, with their texts; the one that was in use last comes last.
    pub fn stream_versions(&self, stream: &Name) -> Result<Vec<(StreamVersion, String)>> {
        let folder = self.folder(Area::Raw, stream);
        let mut versions = Vec::new();
        for (name, kind) in list(&folder)? {
            let version = name.to_str().and_then(|name| name.strip_suffix(".toml")?.parse().ok());
            if let Some(version) = version.filter(|_| kind == Kind::File) {
                let path = folder.join(&name);
                let invalid = || Error::invalid(&path, "is not the text of a stream file", "put it back from a backup");
                let text = String::from_utf8(files::read(&path)?).map_err(|_| invalid())?;
                if StreamVersion::of(&text) != version {
                    return Err(invalid());
                }
                let kept = fs::metadata(&path).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                versions.push((kept, version, text));
            }
        }
        versions.sort();
        Ok(versions.into_iter().map(|(_, version, text)| (version, text)).collect())
    }
}
