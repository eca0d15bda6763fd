//! One service each: a handler checks what came over the wire, asks the core, the shelf or storage, and words the
//! answer. Handlers hold no state of their own.

mod admin;
mod agents;
mod bundles;
mod catalogs;
mod import;
mod jobs;
mod lobby;
mod nodes;
mod offered;
mod pages;
mod results;

pub(crate) use admin::AdminService;
pub(crate) use agents::AgentsService;
pub(crate) use bundles::{
    BundlesService, note_default, record_of, register_default, register_shipped,
};
pub(crate) use catalogs::CatalogsService;
pub(crate) use jobs::JobsService;
pub(crate) use lobby::lobby_routes;
pub(crate) use nodes::NodesService;
pub(crate) use offered::Lookups;
pub(crate) use results::ResultsService;
