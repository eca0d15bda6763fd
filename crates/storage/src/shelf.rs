//! What people named and a store may lose: imports by catalog, and the folders that imports registered. Each is an object of its own,
//! put before the record that says the same, so that a rebuild finds it again.
//!
//! Written by the coordinator at an import, read by a rebuild alone. Nothing here is ever changed or removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{ActorId, CatalogName, Code, Digest, SourceName, TenantId, UnixMillis};

use crate::job::to_json;
use crate::{ObjectPath, Put, Storage, StorageError, paths};

/// One import, as the coordinator keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogImport {
    /// Whose it is.
    pub tenant: TenantId,
    /// The catalog.
    pub catalog: CatalogName,
    /// Digest over its rows.
    pub list: Digest,
    /// Rows accepted.
    pub rows: u32,
    /// Rows refused.
    pub rejected: u64,
    /// Sum of the sizes known.
    pub bytes: u64,
    /// When it was imported: the order of a catalog's snapshots.
    pub at: UnixMillis,
    /// The source that was read.
    pub source: SourceName,
    /// What was read within it.
    pub path: String,
    /// What kind of thing was read, as the wire's number.
    pub format: i32,
    /// Refused rows by code.
    pub rejected_by_code: BTreeMap<Code, u64>,
    /// The object with the refused rows.
    pub rejected_object: Option<String>,
}

/// A folder that an import registered as a read-only source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredFolder {
    /// The source's name.
    pub name: SourceName,
    /// The folder, absolute.
    pub folder: String,
    /// Who imported it first.
    pub by: ActorId,
    /// When, for display.
    pub at: UnixMillis,
}

impl Storage {
    /// Puts an import.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_import(&self, import: &CatalogImport) -> Result<Put, StorageError> {
        let path = paths::import(&import.tenant, &import.catalog, import.at, import.list);
        self.put(&path, to_json(import).into()).await
    }

    /// The catalogs of a tenant of which an import stands here.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn catalogs(&self, tenant: &TenantId) -> Result<Vec<CatalogName>, StorageError> {
        let folders = self.folders(&paths::catalogs(tenant)).await?;
        let names = folders.into_iter();
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// The imports of one catalog, in the order of their times.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` for one that says nothing.
    pub async fn imports(
        &self,
        tenant: &TenantId,
        catalog: &CatalogName,
    ) -> Result<Vec<CatalogImport>, StorageError> {
        let folder = format!("{}/{catalog}", paths::catalogs(tenant));
        self.read_all(&folder).await
    }

    /// Puts a registered folder. The first one of a name stands.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn put_folder(&self, folder: &RegisteredFolder) -> Result<Put, StorageError> {
        let path = paths::folder(&folder.name);
        if self.exists(&path).await? {
            return Ok(Put::AlreadyThere);
        }
        match self.put(&path, to_json(folder).into()).await {
            Err(StorageError::Corrupt { .. }) if self.exists(&path).await? => Ok(Put::AlreadyThere),
            settled => settled,
        }
    }

    /// Every registered folder.
    ///
    /// # Errors
    /// See [`StorageError`]; `Corrupt` for one that says nothing.
    pub async fn registered_folders(&self) -> Result<Vec<RegisteredFolder>, StorageError> {
        self.read_all(paths::FOLDERS).await
    }

    async fn read_all<T: serde::de::DeserializeOwned>(
        &self,
        folder: &str,
    ) -> Result<Vec<T>, StorageError> {
        let mut names = self.objects(folder).await?;
        names.sort();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let path: Result<ObjectPath, _> = format!("{folder}/{name}").parse();
            let path = path.map_err(|error| StorageError::Invalid(error.to_string()))?;
            all.push(self.get_json(&path).await?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(catalog: &str, at: i64) -> CatalogImport {
        CatalogImport {
            tenant: TenantId::default(),
            catalog: CatalogName::new(catalog).unwrap(),
            list: Digest::of(&at.to_le_bytes()),
            rows: 3,
            rejected: 1,
            bytes: 5,
            at: UnixMillis(at),
            source: SourceName::new("all").unwrap(),
            path: String::new(),
            format: 2,
            rejected_by_code: [(Code::RawUrl, 1)].into(),
            rejected_object: None,
        }
    }

    #[tokio::test]
    async fn imports_come_back_by_catalog_in_the_order_of_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let tenant = TenantId::default();
        for (catalog, at) in [("a", 1_000), ("b", 7), ("a", 9), ("a", 10_000)] {
            storage.put_import(&import(catalog, at)).await.unwrap();
        }
        let names = storage.catalogs(&tenant).await.unwrap();
        assert_eq!(
            names,
            ["a", "b"].map(|name| CatalogName::new(name).unwrap())
        );
        let found = storage.imports(&tenant, &names[0]).await.unwrap();
        assert_eq!(found, [9, 1_000, 10_000].map(|at| import("a", at)));
    }

    #[tokio::test]
    async fn the_first_word_on_a_folder_stands() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(root.path()).unwrap();
        let folder = |at| RegisteredFolder {
            name: SourceName::new("music-1").unwrap(),
            folder: "/music".to_owned(),
            by: ActorId::default(),
            at: UnixMillis(at),
        };
        assert_eq!(storage.put_folder(&folder(1)).await.unwrap(), Put::Written);
        assert_eq!(
            storage.put_folder(&folder(2)).await.unwrap(),
            Put::AlreadyThere
        );
        assert_eq!(storage.registered_folders().await.unwrap(), [folder(1)]);
    }
}
