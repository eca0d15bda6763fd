//! Parts between rows and commit: found on disk, written, forgotten. Called by the node's loop only.

use super::*;

impl Node {
    // Parts.

    pub(super) fn take_found(&mut self) -> std::io::Result<()> {
        for (number, saved) in (0..).map(PartNo).zip(self.shelf.find()?) {
            let found = Found {
                grant: saved.claim.grant.clone(),
                tracks: saved.claim.tracks(),
                part: number,
            };
            tracing::info!(job = %found.grant.job, shard = %found.grant.shard, "a part of an earlier life");
            let bytes = saved.bytes();
            self.parts.insert(number, Arc::new(saved));
            self.tell_core(Event::Found(found));
            self.tell_core(Event::PartSaved {
                part: number,
                bytes,
            });
        }
        Ok(())
    }

    pub(super) fn write_part(
        &mut self,
        part: PartNo,
        grant: GrantKey,
        flushed: Flushed,
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
        let wait_us = self.wait_of(part, device);
        let Some(book) = self.books.get(&grant) else {
            return;
        };
        let info = &book.info;
        let about = Circumstances {
            grant,
            spec: info.spec.clone(),
            epoch: info.epoch,
            generation: info.generation,
            escalation: info.escalation,
            node,
            device: name,
            wait_us,
        };
        let composed = compose(&about, &flushed, &book.made);
        let (shelf, storage) = (self.shelf.clone(), self.storage.clone());
        self.spawn_news(async move {
            let saved = tokio::task::spawn_blocking(move || shelf.save(&composed)).await;
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

    /// What a part's device waited for it: the same however often the part is written.
    fn wait_of(&mut self, part: PartNo, device: Option<DeviceNo>) -> u64 {
        if let Some(told) = self.waits.get(&part) {
            return *told;
        }
        let wait_us = device.map_or(0, |device| self.take_wait(device));
        self.waits.insert(part, wait_us);
        wait_us
    }

    pub(super) fn part_written(
        &mut self,
        part: PartNo,
        outcome: Result<(Arc<Saved>, Result<(), Code>), Problem>,
    ) {
        let outcome = match outcome {
            Ok((saved, stored)) => {
                self.waits.remove(&part);
                // Its rows are on disk now; they need not stay in memory too.
                if let Some(book) = self.books.get_mut(&saved.claim.grant) {
                    let tracks = saved.claim.tracks();
                    book.made.retain(|ordinal, _| !tracks.contains(*ordinal));
                }
                if !self.core.has_part(part) {
                    return saved.remove();
                }
                let bytes = saved.bytes();
                self.parts.insert(part, saved);
                self.tell_core(Event::PartSaved { part, bytes });
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
        self.waits.remove(&part);
        if let Some(saved) = self.parts.remove(&part) {
            saved.remove();
        }
    }
}
