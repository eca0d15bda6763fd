//! The objects under a place, in pages and in the order in which the store gives them: that of their keys' bytes.

use std::fmt;
use std::sync::Arc;

use catalog::listing::{Entry, Kind};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectMeta;

use super::file::content_id;
use super::{DEADLINE, Objects, bridge};
use crate::sources::SourceError;

/// Entries that are taken from the stream at once: a page of every store.
const PAGE: usize = 1_000;

type Found = BoxStream<'static, object_store::Result<ObjectMeta>>;

/// What is left of a listing.
pub(in crate::sources) struct ObjectListing {
    objects: Arc<Objects>,
    prefix: String,
    /// The rest behind this page; none once the end was seen or the listing failed.
    rest: Option<Found>,
    page: std::vec::IntoIter<object_store::Result<ObjectMeta>>,
}

impl fmt::Debug for ObjectListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectListing")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl ObjectListing {
    pub(super) fn new(objects: Arc<Objects>, prefix: &str) -> Self {
        let path = objects.folder_path(prefix).ok().flatten();
        Self {
            rest: Some(objects.store().list(path.as_ref())),
            prefix: prefix.to_owned(),
            page: Vec::new().into_iter(),
            objects,
        }
    }

    /// Fetches the next page; none at the end.
    fn turn(&mut self) -> Result<Option<()>, SourceError> {
        let Some(mut rest) = self.rest.take() else {
            return Ok(None);
        };
        let page = async move {
            let page: Vec<_> = rest.by_ref().take(PAGE).collect().await;
            (page, rest)
        };
        let failed = |late| self.objects.unavailable(&self.prefix, late);
        let (page, rest) = bridge::wait(DEADLINE, page).map_err(failed)?;
        let whole = page.len() == PAGE && page.iter().all(Result::is_ok);
        self.rest = whole.then_some(rest);
        self.page = page.into_iter();
        Ok(Some(()))
    }
}

impl Iterator for ObjectListing {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.page.next() {
                Some(Ok(found)) => return Some(Ok(entry(&found))),
                Some(Err(error)) => return Some(Err(self.objects.failed(&self.prefix, &error))),
                None => match self.turn() {
                    Ok(Some(())) => {}
                    Ok(None) => return None,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

fn entry(found: &ObjectMeta) -> Entry {
    let key = found.location.as_ref().to_owned();
    Entry {
        shown: key.clone(),
        key: Some(key),
        kind: Ok(Kind::File(found.size)),
        content_id: content_id(found),
    }
}
