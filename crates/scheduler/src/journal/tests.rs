//! What a journal says, what is refused of a damaged one, and that a core led by it knows the same.

use super::*;
use crate::{Actions, CallId, Caller, Outcome, ReadId, ReadOutcome, Request, Revision};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use types::{Epoch, Generation, JobId, UnixMillis};

/// A core that leads an empty store, is asked for an unknown job and hears the time.
fn events() -> Vec<(u64, Event)> {
    let led = Event::Led {
        epoch: Epoch(7),
        generation: Generation(1),
    };
    let page = Event::Read {
        id: ReadId(1),
        outcome: ReadOutcome::Page {
            entries: Vec::new(),
            next: None,
            revision: Revision(3),
        },
    };
    let call = Event::Call {
        call: CallId(1),
        caller: Caller::default(),
        at: UnixMillis(5),
        request: Box::new(Request::Pause {
            job: JobId::new("none").unwrap(),
        }),
    };
    vec![(1, led), (2, page), (3, call), (4, Event::Tick)]
}

fn journal() -> Vec<String> {
    let (mut writer, mut core) = (Writer::new(), Core::new());
    let mut lines = vec![writer.begin(&Config::default())];
    for (at, event) in events() {
        let noted = Noted::new(Millis(at), &event);
        let mut actions = Actions::new();
        core.handle(Millis(at), event, &mut actions);
        lines.push(writer.event(noted, &actions));
    }
    lines.push(writer.state(&core));
    lines
        .iter()
        .map(|line| line.trim_end().to_string())
        .collect()
}

fn replayed(lines: &[String]) -> Result<Replayed, JournalError> {
    let mut replay = Replay::new();
    for line in lines {
        replay.line(line)?;
    }
    Ok(replay.end())
}

#[test]
fn a_journal_is_repeated_to_the_same_end() {
    let told = replayed(&journal()).unwrap();
    let counts = (told.lines, told.cores, told.events, told.states, told.torn);
    assert_eq!(counts, (6, 1, 4, 1, false));
    assert!(told.actions >= 3, "{told:?}");
}

#[test]
fn any_changed_lost_or_doubled_line_is_found_and_named() {
    let whole = journal();
    let sum = "its sum is another";
    for at in 0..whole.len() - 2 {
        let mut lost = whole.clone();
        lost.remove(at);
        let line = at + 1;
        let expected = Err(JournalError::Damaged { line, what: sum });
        assert_eq!(replayed(&lost), expected, "without line {at}");
        let mut doubled = whole.clone();
        doubled.insert(at, whole[at].clone());
        let line = at + 2;
        let expected = Err(JournalError::Damaged { line, what: sum });
        assert_eq!(replayed(&doubled), expected, "line {at} twice");
        let mut changed = whole.clone();
        changed[at] = changed[at].replacen("\"body\":{\"", "\"body\":{\"x", 1);
        assert!(replayed(&changed).is_err(), "line {at} changed");
    }
}

#[test]
fn a_last_line_cut_short_is_a_writer_that_was_killed() {
    let mut lines = journal();
    let last = lines.last_mut().unwrap();
    last.truncate(last.len() / 2);
    assert!(replayed(&lines).unwrap().torn);
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut writer = Writer::new();
    let line = writer.begin(&Config::default());
    let (_, body) = line.trim_end().split_once("\"body\":").unwrap();
    let body = body.strip_suffix('}').unwrap();
    let body = body.replace("\"version\":1", "\"version\":2");
    let sum = sum(FIRST_SUM, &body);
    let line = format!(
        "{{\"sum\":\"{sum}\",\"len\":{},\"body\":{body}}}",
        body.len()
    );
    let found = VERSION + 1;
    assert_eq!(
        replayed(&[line]),
        Err(JournalError::Version { line: 1, found })
    );
}

#[test]
fn a_core_that_does_something_else_is_named_with_what_it_does() {
    let mut writer = Writer::new();
    let begin = writer.begin(&Config::default());
    let noted = Noted::new(Millis(1), &events()[0].1);
    let line = writer.event(noted, &[]);
    let lines = [begin.trim_end().to_string(), line.trim_end().to_string()];
    let error = replayed(&lines).unwrap_err();
    assert!(
        matches!(&error, JournalError::Differs { line: 2, now, .. } if now.contains("Read")),
        "{error}"
    );
}

#[test]
fn every_kind_of_outcome_survives_the_way_to_text_and_back() {
    for outcome in [
        Outcome::Applied {
            revision: Revision(9),
        },
        Outcome::Refused(crate::Refusal::Epoch),
        Outcome::Refused(crate::Refusal::Key("/k".to_string())),
        Outcome::NotApplied {
            code: types::Code::StoreFull,
            cause: "full".to_string(),
        },
        Outcome::Unknown {
            cause: "silence".to_string(),
        },
    ] {
        let event = Event::Written {
            id: crate::WriteId(4),
            outcome,
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
