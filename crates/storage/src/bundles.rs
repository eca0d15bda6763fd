//! Bundles in storage: the files of a bundle's folder by their digests, and an index that names them.
//!
//! The coordinator puts a folder that it has verified; agents get it into a folder of their own and verify it there
//! again. What a bundle is, and whether it is to be trusted, is the `bundle` crate's to say; here are only bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use catalog::key;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use types::{Digest, TenantId};

use crate::job::to_json;
use crate::objects::{run_blocking, sha256_of};
use crate::{Put, Storage, StorageError, paths};

/// Most files of a bundle: weights, model card, canary clip, manifest and signature leave ample room.
pub const BUNDLE_FILES_MAX: usize = 64;

/// How folders begin in which a bundle is being put together; one that outlives its process may be removed by whoever owns
/// the folder around it.
const UNFINISHED_PREFIX: &str = ".unfinished-";

/// The version of the index's form.
const FORMAT: u32 = 1;

/// Removes what a killed process left half put together in a folder that only the caller uses.
///
/// # Errors
/// When the folder cannot be read or emptied of it.
pub fn remove_unfinished_bundles(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(UNFINISHED_PREFIX.as_bytes())
        {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Which files a bundle consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleIndex {
    /// The version of this form; 1.
    pub format: u32,
    /// The digest that names the bundle.
    pub bundle: Digest,
    /// Its files, by name.
    pub files: Vec<BundleFile>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// Its name within the folder, `/`-separated.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The digest of its bytes.
    pub sha256: Digest,
}

impl Storage {
    /// Puts every regular file of `folder` as the bundle of that digest. Repeating it is a success.
    ///
    /// # Errors
    /// When the folder holds links, special files or too many files, or see [`StorageError`].
    pub async fn put_bundle(
        &self,
        tenant: &TenantId,
        bundle: Digest,
        folder: &Path,
    ) -> Result<Put, StorageError> {
        let (shown, folder) = (folder.display().to_string(), folder.to_owned());
        let failed = |error| StorageError::from_io("read the bundle folder", &shown, error);
        let found = run_blocking(move || find_files(&folder))
            .await
            .map_err(failed)?;
        let found = found.map_err(StorageError::Invalid)?;
        let mut files = Vec::new();
        for (file, opened) in found {
            self.put_file(&paths::bundle_file(tenant, bundle, file.sha256), opened)
                .await?;
            files.push(file);
        }
        files.sort();
        let index = to_json(&BundleIndex {
            format: FORMAT,
            bundle,
            files,
        });
        self.put(&paths::bundle_index(tenant, bundle), index.into())
            .await
    }

    /// Whether a bundle is there whole: its index is put last.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn has_bundle(
        &self,
        tenant: &TenantId,
        bundle: Digest,
    ) -> Result<bool, StorageError> {
        self.exists(&paths::bundle_index(tenant, bundle)).await
    }

    /// Gets a bundle into the new folder `into`, which appears whole or not at all. Each file's digest is checked; whether
    /// they make the bundle is for the caller to verify.
    ///
    /// # Errors
    /// When `into` exists and is no empty folder, or see [`StorageError`].
    pub async fn get_bundle(
        &self,
        tenant: &TenantId,
        bundle: Digest,
        into: &Path,
    ) -> Result<BundleIndex, StorageError> {
        let path = paths::bundle_index(tenant, bundle);
        let index: BundleIndex = self.get_json(&path).await?;
        check_index(&index, bundle).map_err(|cause| StorageError::corrupt(&path, cause))?;
        let shown = into.display().to_string();
        let failed = |error| StorageError::from_io("write the bundle folder", &shown, error);
        let parent = into.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempdir_in(parent)
            .map_err(failed)?;
        for file in &index.files {
            self.get_bundle_file(tenant, bundle, file, unfinished.path())
                .await?;
        }
        fs::rename(unfinished.path(), into).map_err(failed)?;
        let _moved = unfinished.keep();
        Ok(index)
    }

    async fn get_bundle_file(
        &self,
        tenant: &TenantId,
        bundle: Digest,
        file: &BundleFile,
        folder: &Path,
    ) -> Result<(), StorageError> {
        let path = paths::bundle_file(tenant, bundle, file.sha256);
        let target = folder.join(&file.name);
        let shown = target.display().to_string();
        let failed = |error| StorageError::from_io("write", &shown, error);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let read = |error| StorageError::from_store("read", path.as_str(), error);
        let mut pieces = self
            .object_store()
            .get(&path.to_store())
            .await
            .map_err(read)?
            .into_stream();
        let (mut out, mut hasher) = (File::create_new(&target).map_err(failed)?, Sha256::new());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(read)?;
            hasher.update(&piece);
            out = run_blocking(move || out.write_all(&piece).map(|()| out))
                .await
                .map_err(failed)?;
        }
        match Digest(hasher.finalize().into()) {
            found if found == file.sha256 => Ok(()),
            found => Err(StorageError::corrupt(&path, format!("sha256 is {found}"))),
        }
    }

    /// The bundles that are there whole, by digest.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn bundles(&self, tenant: &TenantId) -> Result<Vec<Digest>, StorageError> {
        let prefix = format!("{tenant}/bundles");
        let under = object_store::path::Path::from(prefix.as_str());
        let found: Vec<_> = self
            .object_store()
            .list(Some(&under))
            .try_collect()
            .await
            .map_err(|error| StorageError::from_store("list", &prefix, error))?;
        let names = found.iter().filter_map(|object| {
            let path = object.location.as_ref().strip_suffix("/index.json")?;
            path.rsplit('/').next()?.parse().ok()
        });
        let mut bundles: Vec<Digest> = names.collect();
        bundles.sort();
        Ok(bundles)
    }
}

type FoundFiles = Vec<(BundleFile, File)>;

/// The regular files of a folder, opened; the text says why it is no bundle's folder.
fn find_files(folder: &Path) -> io::Result<Result<FoundFiles, String>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let Some(name) = name_in(folder, &entry.path()) else {
                return Ok(Err(format!(
                    "`{}` is no name of a bundle's file",
                    entry.path().display()
                )));
            };
            if !kind.is_file() || found.len() == BUNDLE_FILES_MAX {
                let text =
                    format!("`{name}` is no regular file, or one more than {BUNDLE_FILES_MAX}");
                return Ok(Err(text));
            }
            let mut file = File::open(entry.path())?;
            let (sha256, bytes) = (sha256_of(&mut file)?, file.metadata()?.len());
            found.push((
                BundleFile {
                    name,
                    bytes,
                    sha256,
                },
                file,
            ));
        }
    }
    Ok(Ok(found))
}

fn name_in(folder: &Path, path: &Path) -> Option<String> {
    let name: PathBuf = path.strip_prefix(folder).ok()?.to_owned();
    name.to_str()
        .filter(|name| key::check(name).is_ok())
        .map(str::to_owned)
}

fn check_index(index: &BundleIndex, bundle: Digest) -> Result<(), String> {
    let distinct = index.files.is_sorted_by(|a, b| a.name < b.name);
    let named = index
        .files
        .iter()
        .all(|file| key::check(&file.name).is_ok());
    match index.format == FORMAT && index.bundle == bundle && index.files.len() <= BUNDLE_FILES_MAX
    {
        true if distinct && named => Ok(()),
        true => Err("its names are no distinct names of files".to_owned()),
        false => Err("it is the index of something else".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(root: &Path) -> Storage {
        Storage::open_folder(&root.join("storage")).unwrap()
    }

    fn make_folder(root: &Path) -> PathBuf {
        let folder = root.join("bundle");
        fs::create_dir_all(folder.join("cards")).unwrap();
        fs::write(folder.join("weights.safetensors"), vec![7; 100_000]).unwrap();
        fs::write(folder.join("cards/model.md"), b"card").unwrap();
        fs::write(folder.join("same.md"), b"card").unwrap();
        folder
    }

    #[tokio::test]
    async fn a_bundle_comes_back_file_by_file_and_putting_it_again_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (storage, folder) = (storage(root.path()), make_folder(root.path()));
        let (tenant, digest) = (TenantId::default(), Digest::of(b"bundle"));
        assert!(!storage.has_bundle(&tenant, digest).await.unwrap());
        assert_eq!(
            storage.put_bundle(&tenant, digest, &folder).await.unwrap(),
            Put::Written
        );
        assert_eq!(
            storage.put_bundle(&tenant, digest, &folder).await.unwrap(),
            Put::AlreadyThere
        );
        assert!(storage.has_bundle(&tenant, digest).await.unwrap());
        assert_eq!(storage.bundles(&tenant).await.unwrap(), [digest]);
        let into = root.path().join("node/bundles/x");
        let index = storage.get_bundle(&tenant, digest, &into).await.unwrap();
        assert_eq!(index.files.len(), 3);
        for name in ["weights.safetensors", "cards/model.md", "same.md"] {
            assert_eq!(
                fs::read(into.join(name)).unwrap(),
                fs::read(folder.join(name)).unwrap()
            );
        }
        assert_eq!(fs::read_dir(into.parent().unwrap()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_flipped_bit_in_a_stored_file_is_damage_and_leaves_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let (storage, folder) = (storage(root.path()), make_folder(root.path()));
        let (tenant, digest) = (TenantId::default(), Digest::of(b"bundle"));
        storage.put_bundle(&tenant, digest, &folder).await.unwrap();
        let file = paths::bundle_file(&tenant, digest, Digest::of(&vec![7; 100_000]));
        let stored = root.path().join("storage").join(file.as_str());
        let mut bytes = fs::read(&stored).unwrap();
        bytes[50_000] ^= 1;
        fs::write(&stored, bytes).unwrap();
        let into = root.path().join("node/x");
        let error = storage
            .get_bundle(&tenant, digest, &into)
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path().join("node")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_with_a_link_is_no_bundle() {
        let root = tempfile::tempdir().unwrap();
        let (storage, folder) = (storage(root.path()), make_folder(root.path()));
        std::os::unix::fs::symlink("/etc/passwd", folder.join("weights2")).unwrap();
        let put = storage
            .put_bundle(&TenantId::default(), Digest::of(b"b"), &folder)
            .await;
        assert!(matches!(put, Err(StorageError::Invalid(_))));
    }
}
