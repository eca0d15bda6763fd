//! What a given store can promise and what not, found out by asking it: each answer is data with a sentence for people.
//!
//! A process that starts asks the cheap questions ([`Storage::probe_at_start`]); `scanctl doctor storage` asks all. Safety rests on none of the
//! answers: names are of one writer each and say what they hold. What a probe puts lies under `_probe/` and is removed again.

mod ask;
mod leftovers;
mod start;

use std::fmt;

use types::Code;

use crate::Storage;

/// How thoroughly to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A few small requests: whether it can be used at all.
    Start,
    /// Everything, some ten megabytes.
    Whole,
}

/// A question to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What is put can be read back, and is gone once removed.
    PutGetRemove,
    /// A put that must create leaves what is there as it is.
    CreateOnce,
    /// Of many writers of one name at once, one wins, and what stands there is the winner's.
    OneWinner,
    /// A put that must replace a version replaces that version alone.
    ReplaceVersion,
    /// What was put is listed at once, and what was removed is not.
    ListAtOnce,
    /// A listing of many pages has each name once.
    ListPages,
    /// Ranges are read as asked for.
    Ranges,
    /// A read of a version is refused once another stands there.
    ReadVersion,
    /// An object of many pieces comes back whole.
    LargeObject,
    /// Its clock agrees with this machine's.
    Clock,
    /// What was acknowledged survives a power cut.
    Synced,
    /// Small objects are put and read back without a long wait.
    Prompt,
}

impl Question {
    /// Every question, in the order in which they are asked.
    pub const ALL: &'static [Self] = &[
        Self::PutGetRemove,
        Self::CreateOnce,
        Self::Ranges,
        Self::Synced,
        Self::Clock,
        Self::OneWinner,
        Self::ReplaceVersion,
        Self::ReadVersion,
        Self::ListAtOnce,
        Self::ListPages,
        Self::LargeObject,
        Self::Prompt,
    ];

    /// Its name in tables and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PutGetRemove => "put-get-remove",
            Self::CreateOnce => "create-once",
            Self::OneWinner => "one-winner",
            Self::ReplaceVersion => "replace-version",
            Self::ListAtOnce => "list-at-once",
            Self::ListPages => "list-pages",
            Self::Ranges => "ranges",
            Self::ReadVersion => "read-version",
            Self::LargeObject => "large-object",
            Self::Clock => "clock",
            Self::Synced => "synced",
            Self::Prompt => "prompt",
        }
    }

    /// Whether it is asked at a start.
    const fn is_cheap(self) -> bool {
        matches!(
            self,
            Self::PutGetRemove | Self::CreateOnce | Self::Ranges | Self::Synced | Self::Clock
        )
    }

    /// Whether Trackscan cannot work where the answer is no.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        matches!(
            self,
            Self::PutGetRemove | Self::Ranges | Self::ListPages | Self::LargeObject
        )
    }

    /// What a no means for the product, in a sentence.
    #[must_use]
    pub const fn without_it(self) -> &'static str {
        match self {
            Self::PutGetRemove => "Nothing works.",
            Self::CreateOnce => {
                "A second writer of a name would replace the first; names are of one writer each, so that nothing is lost, and a repeated put is not noticed."
            }
            Self::OneWinner => {
                "Two writers of one name may both be told that they won; names are of one writer each, so that nothing is lost."
            }
            Self::ReplaceVersion => "Nothing: no object is ever replaced.",
            Self::ListAtOnce => {
                "Collecting what nothing names, and noticing another cluster, take until the listing has caught up; results are read by name alone."
            }
            Self::ListPages => {
                "A catalogue cannot be imported from a listing, and leftovers are not collected."
            }
            Self::Ranges => "Tracks and snapshots cannot be read.",
            Self::ReadVersion => {
                "A track that changes while it is read is noticed by the version that the answer states; without either it is noticed by its size alone."
            }
            Self::LargeObject => "Snapshots of large catalogues cannot be written.",
            Self::Clock => {
                "Requests may be refused as too old or too new; the times of objects are for display alone."
            }
            Self::Synced => "What was acknowledged may be lost with the power.",
            Self::Prompt => {
                "Each flush and each commit waits that much longer; more requests go at once, and nothing is lost."
            }
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A store's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It could not be found out from here.
    Unknown,
}

impl Answer {
    /// The word for tables.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// What was found out about one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The question.
    pub question: Question,
    /// The answer.
    pub answer: Answer,
    /// What was seen, in a sentence.
    pub seen: String,
    /// What kept it from being found out, where a request failed.
    pub trouble: Option<Code>,
}

/// All that was found out about a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The store.
    pub place: String,
    /// What was found, in the order of [`Question::ALL`].
    pub findings: Vec<Finding>,
}

impl Report {
    /// Why it could not be asked, where a request failed: that may pass.
    #[must_use]
    pub fn trouble(&self) -> Option<Code> {
        self.findings.iter().find_map(|finding| finding.trouble)
    }

    /// Whether nothing was found for which Trackscan cannot work with this store. What could not be found out is not held
    /// against it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let fatal =
            |finding: &Finding| finding.question.is_needed() && finding.answer == Answer::No;
        !self.findings.iter().any(fatal)
    }

    /// The answer to a question that was asked.
    #[must_use]
    pub fn answer(&self, question: Question) -> Option<&Answer> {
        let mut found = self
            .findings
            .iter()
            .filter(|finding| finding.question == question);
        found.next().map(|finding| &finding.answer)
    }
}

impl Storage {
    /// Asks this store what it can promise. Every request has its deadline; a store that does not answer gives findings that
    /// say so. What is put for it has names of its own and is removed again.
    pub async fn probe(&self, depth: Depth) -> Report {
        let asked = Question::ALL.iter().copied();
        let asked = asked.filter(|question| depth == Depth::Whole || question.is_cheap());
        let asker = ask::Asker::new(self);
        let mut findings: Vec<Finding> = Vec::new();
        for question in asked {
            // The first question is the simplest: where a request of it failed, each other one would wait as long to fail too.
            let trouble = findings.first().and_then(|first| first.trouble);
            findings.push(match trouble {
                Some(trouble) => unasked(question, trouble),
                None => asker.ask(question).await,
            });
        }
        asker.clear_up().await;
        // A store that does not answer would only be waited for once more.
        if findings.iter().all(|finding| finding.trouble.is_none()) {
            leftovers::remove(self).await;
        }
        Report {
            place: self.place().to_owned(),
            findings,
        }
    }
}

/// What is known of a question that was not asked, since the store did not answer a simpler one.
fn unasked(question: Question, trouble: Code) -> Finding {
    Finding {
        question,
        answer: Answer::Unknown,
        seen: format!("It was not asked: {trouble}."),
        trouble: Some(trouble),
    }
}

#[cfg(test)]
mod failing;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
