//! The mirror of a coordinator that follows: begun once the store has a generation, begun anew where that is another one, and shown behind the
//! door. Called by `terms`, which goes on asking for the leadership meanwhile: however long the store takes to be read, a leadership that
//! is given waits for nothing here.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use scheduler::StepDown;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use types::{Code, Generation, Problem};

use super::{ASK_AGAIN, passes};
use crate::app::App;
use crate::door::Inside;
use crate::driver::End;
use crate::follower::Follower;
use crate::handlers::note_default;
use crate::house::House;
use crate::reign::{app, ended, lost, routes};
use crate::shelf::Shelf;
use crate::sources::Sources;

/// What a look at the store came to: a mirror where one was begun.
type Looked = Result<Option<Following>, Problem>;

/// The mirror, and the look at the store that is under way.
pub(super) struct Mirroring<'a> {
    house: &'a House,
    door: &'a watch::Sender<Inside>,
    mirror: Option<Following>,
    looking: Option<BoxFuture<'a, Looked>>,
    /// Whether somebody asked for a look while one was under way.
    again: bool,
}

/// A mirror that is kept up.
struct Following {
    generation: Generation,
    task: JoinHandle<Result<(), StepDown>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<'a> Mirroring<'a> {
    /// No mirror yet.
    pub(super) const fn new(house: &'a House, door: &'a watch::Sender<Inside>) -> Self {
        Self {
            house,
            door,
            mirror: None,
            looking: None,
            again: false,
        }
    }

    /// Begins to look for a mirror of the generation that the store is in, where there is none.
    pub(super) fn look(&mut self) {
        if self.looking.is_some() {
            self.again = true;
            return;
        }
        let shown = self.mirror.as_ref().map(|mirror| mirror.generation);
        self.looking = Some(look(self.house, self.door, shown).boxed());
    }

    /// Keeps a mirror up until none can be, and says why. Whoever stops waiting and waits again loses nothing.
    pub(super) async fn ends(&mut self) -> Problem {
        loop {
            let idle = self.mirror.is_none() && self.looking.is_none();
            tokio::select! {
                end = gone(&mut self.mirror) => return end,
                looked = looked(&mut self.looking) => match looked {
                    Ok(begun) => self.take(begun),
                    Err(problem) => return problem,
                },
                // The store did not answer, or its first leader has not given it a generation yet.
                () = tokio::time::sleep(ASK_AGAIN), if idle => self.look(),
            }
        }
    }

    fn take(&mut self, begun: Option<Following>) {
        self.looking = None;
        if begun.is_some() {
            self.mirror = begun;
        }
        if std::mem::take(&mut self.again) {
            self.look();
        }
    }
}

/// Waits for the look that is under way; for ever where none is.
async fn looked(looking: &mut Option<BoxFuture<'_, Looked>>) -> Looked {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// Begins a mirror unless one of the store's generation is shown. What keeps it from that for a while is logged.
async fn look(house: &House, door: &watch::Sender<Inside>, shown: Option<Generation>) -> Looked {
    let begun = match Shelf::of_follower(house.store.clone()).await {
        Ok(None) => return Ok(None),
        Ok(Some(shelf)) if shown == Some(shelf.generation()) => return Ok(None),
        Ok(Some(shelf)) => begin(house, door, shelf).await,
        Err(problem) => Err(problem),
    };
    match begun {
        Ok(following) => Ok(Some(following)),
        Err(problem) if passes(problem.code) => {
            tracing::warn!(%problem, "the store's records could not be followed");
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

async fn begin(
    house: &House,
    door: &watch::Sender<Inside>,
    shelf: Shelf,
) -> Result<Following, Problem> {
    let (generation, policy) = (shelf.generation(), house.settings.policy.clone());
    let sources = Sources::new(&house.settings.sources)?;
    let (follower, handle, shelved) = Follower::new(house.store.clone(), generation, policy);
    let app = Arc::new(App {
        shelved: Some(Mutex::new(shelved)),
        ..app(house, handle, shelf, sources)
    });
    let differs = app.differs().await;
    if !differs.is_empty() {
        let (code, settings) = (Code::ConfigDiffers.as_str(), differs.join(", "));
        tracing::warn!(code, settings, "the leader is configured otherwise");
    }
    if let Some(folder) = &house.settings.default_bundle {
        note_default(&app, folder).await?;
    }
    let routes = routes(&app).await?;
    let task = tokio::spawn(follower.run());
    door.send_replace(Inside::Follows(routes, app));
    Ok(Following { generation, task })
}

/// Waits for a mirror that cannot go on, and says why; for ever where there is none.
async fn gone(mirror: &mut Option<Following>) -> Problem {
    let Some(following) = mirror else {
        return std::future::pending().await;
    };
    match (&mut following.task).await {
        Ok(Err(reason)) => {
            let end = ended(&End::SteppedDown(reason));
            end.err().unwrap_or_else(unreadable)
        }
        // It holds a handle itself.
        Ok(Ok(())) => unreadable(),
        Err(error) => lost(&error),
    }
}

fn unreadable() -> Problem {
    Problem::new(Code::Internal, "follow the records: it ended")
}
