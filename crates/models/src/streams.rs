//! The streams that there are: those that come with the programs, and those of a folder of stream files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::schema::{Column, Model};
use crate::stream_file::{Problems, compile};

/// The stream files that come with the programs.
const SHIPPED: [(&str, &str); 2] =
    [("measurement", include_str!("shipped/measurement.toml")), ("telemetry", include_str!("shipped/telemetry.toml"))];

/// All streams by name.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    files: BTreeMap<String, File>,
    /// Those that come with the programs, also where a file takes their place.
    shipped: BTreeMap<String, Result<Arc<Model>, Problems>>,
    /// The versions that are kept; of each stream the one that was in use last comes last.
    kept: Vec<Kept>,
}

/// A version of a stream file.
#[derive(Debug, Clone)]
struct Kept {
    stream: String,
    version: String,
    model: Result<Arc<Model>, Problems>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    model: Result<Arc<Model>, Problems>,
    /// Whether it is in the folder of stream files. If not, what raw/ keeps is nearer to the data.
    is_declared: bool,
}

impl Streams {
    /// The streams that come with the programs.
    pub fn shipped() -> Self {
        let mut streams = Self::default();
        for (name, text) in SHIPPED {
            let path = PathBuf::from(format!("{name}.toml"));
            let model = compile(name, &path, text).map(Arc::new);
            streams.shipped.insert(name.to_owned(), model.clone());
            streams.files.insert(name.to_owned(), File { path, model, is_declared: false });
        }
        streams
    }

    /// Those, and the streams of the files `<name>.toml` in `folder`, which take the place of others of their name. A folder
    /// that does not exist has none. A file with problems is a stream all the same, and whoever asks for it gets them.
    pub fn load(folder: &Path) -> Result<Self, Problems> {
        let mut streams = Self::shipped();
        let failed = |path: &Path, error: &std::io::Error| Problems::one(format!("{}: {error}", path.display()));
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(streams),
            entries => entries.map_err(|error| failed(folder, &error))?,
        };
        for entry in entries {
            let path = entry.map_err(|error| failed(folder, &error))?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.starts_with('.'));
            if let Some(name) =
                name.filter(|_| path.extension().is_some_and(|extension| extension == "toml") && path.is_file())
            {
                let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
                streams.add(name, &path, &text);
            }
        }
        Ok(streams)
    }

    /// Adds the stream `name` of the stream file `path`, which has this text.
    pub fn add(&mut self, name: &str, path: &Path, text: &str) {
        let model = compile(name, path, text).map(Arc::new);
        self.files.insert(name.to_owned(), File { path: path.to_owned(), model, is_declared: true });
    }

    /// Adds a version of a stream's file that was kept in `path`. Without another file the stream is that of the version that
    /// is added last.
    pub fn keep(&mut self, name: &str, version: &str, path: &Path, text: &str) {
        let model = compile(name, path, text).map(Arc::new);
        if !self.files.get(name).is_some_and(|file| file.is_declared) {
            let file = File { path: path.to_owned(), model: model.clone(), is_declared: false };
            self.files.insert(name.to_owned(), file);
        }
        self.kept.push(Kept { stream: name.to_owned(), version: version.to_owned(), model });
    }

    /// The model by which messages of a stream were accepted: that of the version, or, if no version of this name is kept,
    /// the shipped one, which was the only one before versions were kept. None if there is no such stream.
    pub fn version(&self, name: &str, version: &str) -> Option<Result<&Arc<Model>, &Problems>> {
        let kept = self.kept.iter().find(|kept| kept.stream == name && kept.version == version);
        let kept = kept.map(|kept| &kept.model).or_else(|| self.shipped.get(name));
        kept.map(Result::as_ref).or_else(|| self.get(name))
    }

    /// The columns of a stream's rows, those of all versions of it, and whether there are versions with others. None if there
    /// is no such stream; an error if its file is wrong.
    pub fn columns(&self, name: &str) -> Option<Result<(Vec<Column>, bool), &Problems>> {
        let newest = match self.get(name)? {
            Ok(model) => model,
            Err(problems) => return Some(Err(problems)),
        };
        let shipped = self.shipped.get(name).and_then(|model| model.as_ref().ok());
        let mut columns = newest.columns.clone();
        let mut differ = false;
        for model in self.versions(name).chain(shipped) {
            differ |= model.columns != newest.columns;
            let is_new = |column: &&Column| !columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name));
            let new: Vec<_> = model.columns.iter().filter(is_new).cloned().collect();
            columns.extend(new);
        }
        Some(Ok((columns, differ)))
    }

    /// The versions of a stream that are kept; the one that was in use last comes last.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &Arc<Model>> {
        self.kept.iter().filter(move |kept| kept.stream == name).filter_map(|kept| kept.model.as_ref().ok())
    }

    /// The stream `name`, or what is wrong with its file; none if there is no such stream.
    pub fn get(&self, name: &str) -> Option<Result<&Arc<Model>, &Problems>> {
        self.files.get(name).map(|file| file.model.as_ref())
    }

    /// Whether there is a stream `name`.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Whether the stream `name` has a file in the folder of stream files.
    pub fn is_declared(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|file| file.is_declared)
    }

    /// Whether the stream `name` is one that comes with the programs, and no file takes its place.
    pub fn is_shipped(&self, name: &str) -> bool {
        let model = |model: &Result<Arc<Model>, Problems>| model.as_ref().ok().map(|model| model.text.clone());
        self.shipped.get(name).and_then(model) == self.files.get(name).and_then(|file| model(&file.model))
            && self.has(name)
    }

    /// The names of all streams.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The file of the stream `name`.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(|file| file.path.as_path())
    }
}
