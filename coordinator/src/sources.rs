//! Sources by name: those of the configuration, and folders that imports registered. Answers where a name lies and
//! which source holds a path; reads nothing in them. A folder that is not there at this moment keeps its name: whoever reads it
//! finds it once it is there again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use proto::v1;
use storage::{Place, StorageSettings};
use types::{Code, Digest, Problem, SourceName};

/// All sources of this coordinator.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    known: RwLock<storage::Sources>,
}

impl Sources {
    /// The sources of the configuration, be they there or not.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where the settings of a store make no client.
    pub(crate) fn new(configured: &BTreeMap<SourceName, StorageSettings>) -> Result<Self, Problem> {
        let mut known = storage::Sources::default();
        for (name, settings) in configured {
            match &settings.place {
                Place::Folder(folder) => known.configure(name.clone(), folder),
                Place::S3(_) | Place::Gcs(_) | Place::Azure { .. } => known
                    .connect(name.clone(), settings)
                    .map_err(|error| Problem::of(Code::ConfigInvalid, &error))?,
            }
        }
        Ok(Self {
            known: RwLock::new(known),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, storage::Sources> {
        // A source is added whole or not at all, so what a panicking thread left is sound.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a folder that is there, under a name that the configuration has not taken. Blocks while it is looked for.
    pub(crate) fn add(&self, name: SourceName, folder: &Path) -> Result<(), storage::SourceError> {
        // Before the lock: a folder on a disk that does not answer must keep nobody from the other sources.
        let found = storage::Source::found(name, folder)?;
        let mut known = self.write();
        if known.get(found.name()).is_err() {
            known.insert(found);
        }
        Ok(())
    }

    /// Keeps a folder that an earlier life registered, be it there or not, under a name that the configuration has not taken.
    pub(crate) fn keep(&self, name: SourceName, folder: &Path) {
        let mut known = self.write();
        if known.get(&name).is_err() {
            known.define(name, folder);
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, storage::Sources> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them as they are now; cheap.
    pub(crate) fn now(&self) -> storage::Sources {
        self.read().clone()
    }

    /// All of them as agents are told. A folder whose name is no text stays unknown to them, and so does a place in an object store:
    /// its credentials are each node's own.
    pub(crate) fn definitions(&self) -> Vec<v1::SourceDefinition> {
        let define = |source: &std::sync::Arc<storage::Source>| {
            let folder = source.folder()?.to_str()?.to_owned();
            Some(v1::SourceDefinition {
                name: source.name().to_string(),
                folder,
            })
        };
        self.read().iter().filter_map(define).collect()
    }
}

/// Longest part of a folder's own name that its source's name keeps: with the digest it stays readable in a table.
const FOLDER_NAME_MAX: usize = 40;

/// The name under which a folder is registered: its own, cleaned, and a little of its path's digest, so that the same
/// folder always gets the same name and two folders never share one.
pub(crate) fn name_of_folder(folder: &Path) -> SourceName {
    let own = folder.file_name().unwrap_or_default().to_string_lossy();
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = own.chars().take(FOLDER_NAME_MAX).map(clean).collect();
    let name = Some(name.trim_matches('-'))
        .filter(|name| !name.is_empty())
        .unwrap_or("folder");
    let digest = Digest::of(folder.as_os_str().as_encoded_bytes()).short();
    SourceName::new(format!("{name}-{digest}"))
        .expect("a cleaned name starts with a letter or digit and is short")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn at(folder: &Path) -> StorageSettings {
        StorageSettings::new(Place::Folder(folder.to_owned()))
    }

    #[test]
    fn a_place_in_an_object_store_is_not_told_to_agents() {
        let settings = StorageSettings::parse("s3://b/p?credentials=anonymous").unwrap();
        let name = SourceName::new("far").unwrap();
        let sources = Sources::new(&[(name.clone(), settings)].into()).unwrap();
        assert!(sources.now().get(&name).is_ok());
        assert!(sources.definitions().is_empty());
    }

    #[test]
    fn a_configured_name_is_not_taken_by_a_folder() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = SourceName::new("all").unwrap();
        let sources = Sources::new(&[(name.clone(), at(one.path()))].into()).unwrap();
        sources.add(name.clone(), other.path()).unwrap();
        assert_eq!(
            sources.now().get(&name).unwrap().folder(),
            Some(one.path().canonicalize().unwrap().as_path())
        );
        assert_eq!(sources.definitions().len(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_keeps_its_name_and_is_told_to_agents() {
        let folder = tempfile::tempdir().unwrap();
        let (there, absent) = (folder.path(), folder.path().join("unmounted"));
        let name = |name: &str| SourceName::new(name).unwrap();
        let unplugged = folder.path().join("unplugged");
        let configured = [
            (name("taken"), at(there)),
            (name("configured"), at(&unplugged)),
        ];
        let sources = Sources::new(&configured.into()).unwrap();
        sources.keep(name("taken"), &absent);
        sources.keep(name("kept"), &absent);
        let told: Vec<_> = sources
            .definitions()
            .into_iter()
            .map(|one| (one.name, PathBuf::from(one.folder)))
            .collect();
        let root = there.canonicalize().unwrap();
        assert_eq!(
            told,
            [
                ("configured".to_owned(), unplugged),
                ("kept".to_owned(), absent),
                ("taken".to_owned(), root)
            ]
        );
    }

    #[test]
    fn a_folder_has_one_name_and_another_folder_another() {
        let name = |path: &str| name_of_folder(Path::new(path)).to_string();
        assert!(
            name("/a/My Music!").starts_with("My-Music-"),
            "{}",
            name("/a/My Music!")
        );
        assert_eq!(name("/a/music"), name("/a/music"));
        assert_ne!(name("/a/music"), name("/b/music"));
        for odd in [
            "/",
            "/a/...",
            "/a/ünïcode",
            &format!("/a/{}", "x".repeat(200)),
        ] {
            assert!(!name(odd).is_empty());
        }
    }
}
