//! Calls to the coordinator and what their answers change: joining, pulling, beating, committing, leaving. Called by the
//! node's loop only.

use super::*;

impl Node {
    pub(super) fn join(&self) {
        let (coordinator, node) = (
            Arc::clone(&self.coordinator),
            Arc::clone(&self.introduction),
        );
        self.spawn_news(async move {
            let answer = coordinator.join(&node).await;
            match &answer {
                Ok(joined) => tracing::info!(session = joined.session.0, "joined"),
                Err(error) => tracing::warn!(?error, "not joined"),
            }
            News::Core(Event::Joined(answer))
        });
    }

    pub(super) fn pull(&self, call: agent_core::PullCall) {
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move {
            let answer = coordinator.pull(&call).await;
            News::Worked {
                session: call.session,
                number: call.number,
                answer,
            }
        });
    }

    pub(super) fn beat(&self, call: agent_core::BeatCall) {
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move {
            let answer = coordinator.beat(&call).await;
            News::Core(Event::Beaten {
                session: call.session,
                number: call.number,
                answer,
            })
        });
    }

    pub(super) fn commit(&self, part: PartNo, session: Session) {
        let Some(saved) = self.parts.get(&part).cloned() else {
            return;
        };
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move {
            let answer = coordinator.commit(session, &saved.claim).await;
            let claim = &saved.claim;
            tracing::info!(job = %claim.grant.job, shard = %claim.grant.shard, attempt = claim.grant.attempt.0,
                rows = claim.rows(), ?answer, "commit");
            News::Core(Event::Committed { part, answer })
        });
    }

    pub(super) fn leave(&self, session: Session) {
        let coordinator = Arc::clone(&self.coordinator);
        self.spawn_news(async move { News::Core(Event::Left(coordinator.leave(session).await)) });
    }

    pub(super) fn worked(
        &mut self,
        session: Session,
        number: PullNo,
        answer: Result<Work, CallError>,
    ) {
        let mut came = Vec::new();
        let answer = answer.map(|work| {
            self.learn_sources(work.sources);
            let grants = work
                .grants
                .iter()
                .map(|info| info.granted.clone())
                .collect();
            for info in work.grants {
                came.push(info.granted.key.clone());
                self.books
                    .entry(info.granted.key.clone())
                    .or_insert_with(|| Book::new(info));
            }
            Pulled {
                grants,
                again_after: work.again_after,
            }
        });
        self.tell_core(Event::Pulled {
            session,
            number,
            answer,
        });
        // An answer that came too late, or a grant given back at once, leaves nothing that would be forgotten later.
        came.retain(|key| !self.core.has_grant(key));
        for key in came {
            self.books.remove(&key);
        }
    }

    pub(super) fn learn_sources(&mut self, sources: Vec<(SourceName, PathBuf)>) {
        if !self.settings.accept_sources {
            return;
        }
        for (name, folder) in sources {
            // The node's own configuration goes first.
            if self.settings.sources.contains_key(&name) {
                continue;
            }
            // A folder that is not there yet is looked for when its tracks are read, by those who may wait.
            self.sources.define(name, &folder);
        }
    }

    // Lists and bundles.

    pub(super) fn prepare(&self, grant: GrantKey) {
        let Some(book) = self.books.get(&grant) else {
            return self.tell_soon(News::Listed {
                grant,
                rows: Err(Unready::Never),
            });
        };
        let (fetcher, info) = (Arc::clone(&self.fetcher), book.info.clone());
        self.spawn_news(async move {
            let rows = fetcher.rows(&info).await;
            News::Listed { grant, rows }
        });
    }

    pub(super) fn tell_soon(&self, news: News) {
        self.spawn_news(async move { news });
    }

    pub(super) fn listed(&mut self, grant: GrantKey, rows: Result<Rows, Unready>) {
        let outcome = match (rows, self.books.get_mut(&grant)) {
            (Ok(rows), Some(book)) => {
                (book.list, book.screened) = (rows.list, rows.screened);
                Ok(())
            }
            (Ok(_), None) => Err(Unready::Never),
            (Err(why), _) => Err(why),
        };
        self.tell_core(Event::Prepared { grant, outcome });
    }

    pub(super) fn answered(&mut self, event: Event) {
        // A coordinator of another version will not change its mind.
        if event == Event::Joined(Err(CallError::Refused(Code::VersionMismatch))) {
            let tried = [types::VERSION, types::VERSION_BEFORE].join(" or ");
            let cause = format!("join the coordinator as version {tried}: it works with neither");
            self.fatal = Some(Problem::new(Code::VersionMismatch, cause));
        } else {
            self.tell_core(event);
        }
    }
}
