//! The catalogs' service: importing (in `import`), and looking at catalogs, snapshots and refused rows.

use std::sync::Arc;

use proto::v1;
use proto::v1::catalogs_server::Catalogs;
use storage::ObjectPath;
use tonic::{Request as Call, Response, Status};
use types::{CatalogName, Code, Problem};

use super::{import, pages};
use crate::app::{App, storage_problem};
use crate::rpc::{self, Answers};
use crate::shelf::{CatalogRecord, SnapshotRecord};

/// The service.
pub(crate) struct CatalogsService(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Catalogs for CatalogsService {
    type ImportStream = Answers<v1::ImportEvent>;

    async fn import(
        &self,
        call: Call<v1::ImportRequest>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        let (app, wire) = (self.0.clone(), call.into_inner());
        rpc::streamed("Import", move |answers| import::import(app, wire, answers))
    }

    async fn list_catalogs(
        &self,
        call: Call<v1::ListCatalogsRequest>,
    ) -> Result<Response<v1::ListCatalogsResponse>, Status> {
        rpc::unary("ListCatalogs", self.list(call.into_inner())).await
    }

    async fn get_catalog(
        &self,
        call: Call<v1::GetCatalogRequest>,
    ) -> Result<Response<v1::GetCatalogResponse>, Status> {
        rpc::unary("GetCatalog", self.get(call.into_inner())).await
    }

    async fn list_rejected(
        &self,
        call: Call<v1::ListRejectedRequest>,
    ) -> Result<Response<v1::ListRejectedResponse>, Status> {
        rpc::unary("ListRejected", self.rejected(call.into_inner())).await
    }
}

impl CatalogsService {
    async fn list(
        &self,
        wire: v1::ListCatalogsRequest,
    ) -> Result<v1::ListCatalogsResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let after: Option<CatalogName> = proto::field::parsed_if_any("page", &wire.page)?;
        let after = after.map(String::from).unwrap_or_default();
        let (records, more) = self
            .0
            .shelf
            .catalogs(&tenant, &after, pages::size(wire.page_size))
            .await?;
        let next = records
            .last()
            .filter(|_| more)
            .map(|record| record.name.to_string());
        let catalogs = records.into_iter().map(catalog_out).collect();
        Ok(v1::ListCatalogsResponse {
            catalogs,
            next_page: next.unwrap_or_default(),
        })
    }

    async fn get(&self, wire: v1::GetCatalogRequest) -> Result<v1::GetCatalogResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let name: CatalogName = proto::field::parsed("catalog", &wire.catalog)?;
        let record = self.0.shelf.catalog(&tenant, &name).await?;
        let snapshots = self.0.shelf.snapshots(&tenant, &name).await?;
        let snapshots = snapshots
            .into_iter()
            .map(|snapshot| snapshot_out(&name, snapshot));
        Ok(v1::GetCatalogResponse {
            snapshots: snapshots.collect(),
            catalog: Some(catalog_out(record)),
        })
    }

    async fn rejected(
        &self,
        wire: v1::ListRejectedRequest,
    ) -> Result<v1::ListRejectedResponse, Problem> {
        let tenant = proto::caller(wire.caller)?.tenant;
        let name: CatalogName = proto::field::parsed("catalog", &wire.catalog)?;
        let (size, from) = (
            pages::size(wire.page_size),
            pages::number::<u64>(&wire.page)?.unwrap_or(0),
        );
        let snapshot = self
            .0
            .shelf
            .snapshot(&tenant, &name, &wire.snapshot)
            .await?;
        let Some(object) = snapshot.rejected_object else {
            return Ok(v1::ListRejectedResponse::default());
        };
        let what = format!("read the rejected rows of catalog `{name}`");
        let object = object.parse::<ObjectPath>();
        let object =
            object.map_err(|error| Problem::new(Code::StoreCorrupt, format!("{what}: {error}")))?;
        let read = self.0.storage.rejected(&object, from, size).await;
        let page = read.map_err(|error| storage_problem(&what, &error))?;
        Ok(v1::ListRejectedResponse {
            rows: page.rows.into_iter().map(rejected_out).collect(),
            next_page: page.next.map_or_else(String::new, |next| next.to_string()),
        })
    }
}

fn rejected_out(row: storage::RejectedRow) -> v1::RejectedRow {
    v1::RejectedRow {
        line: row.line,
        key: row.named,
        code: row.code.to_string(),
        reason: row.detail,
    }
}

fn catalog_out(record: CatalogRecord) -> v1::Catalog {
    v1::Catalog {
        latest: Some(snapshot_out(&record.name, record.latest)),
        snapshots: record.snapshots,
        name: record.name.into(),
    }
}

/// A snapshot as people see it.
pub(super) fn snapshot_out(catalog: &CatalogName, record: SnapshotRecord) -> v1::Snapshot {
    let by_code = record
        .rejected_by_code
        .iter()
        .map(|count| (count.code.to_string(), count.rows));
    v1::Snapshot {
        catalog: catalog.to_string(),
        digest: record.digest.to_string(),
        rows: record.rows.into(),
        rejected: record.rejected,
        bytes: record.bytes,
        imported_at_ms: record.imported_at.0,
        rejected_by_code: by_code.collect(),
        source: record.source.into(),
        path: record.path,
        format: record.format,
        object: record.object,
        rejected_object: record.rejected_object.unwrap_or_default(),
    }
}
