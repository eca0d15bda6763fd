//! Parts between rows and commit: found on disk, written, forgotten. Called by the node's loop only.

use super::*;

impl Node {
    // Parts.

    pub(super) fn take_found(&mut self) -> std::io::Result<()> {
        for (number, saved) in (0..).map(PartNo).zip(self.shelf.find()?) {
            let found = Found {
                grant: saved.claim.grant.clone(),
                tracks: saved.claim.tracks.clone(),
                part: number,
            };
            tracing::info!(job = %found.grant.job, shard = %found.grant.shard, "a part of an earlier life");
            self.parts.insert(number, Arc::new(saved));
            self.tell_core(Event::Found(found));
        }
        Ok(())
    }

    pub(super) fn write_part(
        &mut self,
        part: PartNo,
        grant: GrantKey,
        tracks: &TrackSet,
        device: Option<DeviceNo>,
    ) {
        if let Some(saved) = self.parts.get(&part).cloned() {
            let storage = self.storage.clone();
            return self.spawn_news(async move { put(part, saved, &storage).await });
        }
        let (node, name) = (
            self.settings.name.clone(),
            device.and_then(|device| self.name_of(device)),
        );
        let wait_us = device.map_or(0, |device| self.take_wait(device));
        let Some(book) = self.books.get(&grant) else {
            return;
        };
        let info = &book.info;
        let (spec, epoch, generation) = (info.spec.clone(), info.epoch, info.generation);
        let about = Circumstances {
            grant,
            spec,
            epoch,
            generation,
            node,
            device: name,
            wait_us,
        };
        let (footer, rows) = compose(&about, tracks, &book.made);
        let (shelf, storage) = (self.shelf.clone(), self.storage.clone());
        self.spawn_news(async move {
            let saved = tokio::task::spawn_blocking(move || shelf.save(&footer, &rows)).await;
            match saved {
                Ok(Ok(saved)) => put(part, Arc::new(saved), &storage).await,
                Ok(Err(problem)) => News::Part {
                    part,
                    outcome: Err(problem),
                },
                Err(error) => News::Part {
                    part,
                    outcome: Err(Problem::new(Code::Internal, error.to_string())),
                },
            }
        });
    }

    pub(super) fn part_written(
        &mut self,
        part: PartNo,
        outcome: Result<(Arc<Saved>, Result<(), Code>), Problem>,
    ) {
        let outcome = match outcome {
            Ok((saved, stored)) => {
                // Its rows are on disk now; they need not stay in memory too.
                if let Some(book) = self.books.get_mut(&saved.claim.grant) {
                    book.made
                        .retain(|ordinal, _| !saved.claim.tracks.contains(*ordinal));
                }
                if !self.core.has_part(part) {
                    return saved.remove();
                }
                self.parts.insert(part, saved);
                stored
            }
            Err(problem) => {
                tracing::error!(%problem, "a part was not written");
                Err(problem.code)
            }
        };
        self.tell_core(Event::PartWritten { part, outcome });
    }

    pub(super) fn forget_part(&mut self, part: PartNo) {
        if let Some(saved) = self.parts.remove(&part) {
            saved.remove();
        }
    }
}
