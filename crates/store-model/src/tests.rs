//! The model against a plain map, and what an etcd client relies on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::Millis;

use crate::{Change, Compacted, Compare, End, KeyRange, LeaseId, Model, Op, Revision, Txn};

fn put(key: &str, value: &str) -> Op {
    put_under(key, value, None)
}

fn put_under(key: &str, value: &str, lease: Option<LeaseId>) -> Op {
    Op::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

fn write(model: &mut Model, compares: Vec<Compare>, ops: Vec<Op>) -> End {
    model.write(&Txn { compares, ops })
}

fn keys(model: &Model, at: Option<Revision>) -> Result<Vec<String>, Compacted> {
    let range = KeyRange {
        limit: 100,
        at,
        ..KeyRange::default()
    };
    let page = model.range(&range)?;
    Ok(page.entries.into_iter().map(|entry| entry.key).collect())
}

#[test]
fn an_old_revision_is_read_as_it_stood_until_it_is_compacted() {
    let mut model = Model::new();
    write(&mut model, vec![], vec![put("a", "1"), put("b", "1")]);
    write(&mut model, vec![], vec![Op::Delete { key: "a".into() }]);
    write(&mut model, vec![], vec![put("c", "1")]);
    assert_eq!(keys(&model, Some(Revision(1))).unwrap(), ["a", "b"]);
    assert_eq!(keys(&model, None).unwrap(), ["b", "c"]);
    model.compact(Revision(2));
    let gone = Compacted(Revision(1));
    assert_eq!(keys(&model, Some(Revision(1))), Err(gone));
    assert_eq!(keys(&model, Some(Revision(2))).unwrap(), ["b"]);
    assert_eq!(keys(&model, Some(Revision(9))), Err(Compacted(Revision(9))));
}

#[test]
fn removing_what_is_absent_takes_no_revision() {
    let mut model = Model::new();
    write(&mut model, vec![], vec![put("k", "1")]);
    let revision = Revision(1);
    let absent = Op::Delete { key: "x".into() };
    let end = write(&mut model, vec![], vec![absent.clone()]);
    assert_eq!(end, End::Applied { revision });
    assert_eq!(model.changes("", revision, 9), Ok(vec![]));
    let end = write(&mut model, vec![], vec![absent, put("k", "2")]);
    assert_eq!(
        end,
        End::Applied {
            revision: Revision(2)
        }
    );
}

#[test]
fn a_key_that_was_removed_and_made_again_has_another_maker() {
    let mut model = Model::new();
    write(&mut model, vec![], vec![put("k", "1")]);
    write(&mut model, vec![], vec![put("k", "2")]);
    let entry = model.get("k").unwrap();
    assert_eq!((entry.made, entry.revision), (Revision(1), Revision(2)));
    write(&mut model, vec![], vec![Op::Delete { key: "k".into() }]);
    write(&mut model, vec![], vec![put("k", "3")]);
    assert_eq!(model.get("k").unwrap().made, Revision(4));
}

#[test]
fn the_first_compare_that_fails_is_named_and_nothing_changes() {
    let mut model = Model::new();
    write(&mut model, vec![], vec![put("k", "1")]);
    let compares = vec![
        Compare::At {
            key: "k".into(),
            revision: Revision(1),
        },
        Compare::Absent { key: "k".into() },
    ];
    let end = write(&mut model, compares, vec![put("x", "1")]);
    assert_eq!(end, End::Refused { compare: 1 });
    assert_eq!(model.revision(), Revision(1));
}

#[test]
fn keys_go_with_their_lease_and_a_put_without_it_frees_them() {
    let mut model = Model::new();
    let lease = model.grant_lease(Millis(0), Millis(10));
    let ops = vec![
        put_under("a", "1", Some(lease)),
        put_under("b", "1", Some(lease)),
    ];
    write(&mut model, vec![], ops);
    write(&mut model, vec![], vec![put("b", "2")]);
    assert!(model.keep_lease(Millis(9), lease));
    model.advance(Millis(18));
    assert!(model.get("a").is_some());
    model.advance(Millis(19));
    assert_eq!(keys(&model, None).unwrap(), ["b"]);
    assert!(!model.keep_lease(Millis(19), lease));
}

#[test]
fn each_leader_has_a_greater_epoch_and_an_ended_one_never_leads_again() {
    let mut model = Model::new();
    let first = model.lead(Millis(0), "l", "a", Millis(5)).unwrap();
    assert_eq!(
        model.lead(Millis(4), "l", "b", Millis(5)),
        Err("a".to_owned())
    );
    assert!(model.keep_leading(Millis(4), "l", first.epoch));
    let second = model.lead(Millis(9), "l", "b", Millis(5)).unwrap();
    assert!(second.epoch > first.epoch);
    assert!(!model.keep_leading(Millis(9), "l", first.epoch));
    assert!(!model.resign(Millis(9), "l", first.epoch));
    assert!(model.resign(Millis(9), "l", second.epoch));
    assert!(model.lead(Millis(9), "l", "a", Millis(5)).is_ok());
}

#[test]
fn a_parked_write_lands_when_told_and_its_second_copy_is_refused_by_its_guard() {
    let mut model = Model::new();
    let guard = Compare::Absent { key: "k".into() };
    let id = model.park(Txn {
        compares: vec![guard],
        ops: vec![put("k", "late")],
    });
    assert!(model.get("k").is_none());
    let first = model.land(id);
    let revision = Revision(1);
    assert_eq!(first, Some(End::Applied { revision }));
    assert_eq!(model.land(id), Some(End::Refused { compare: 0 }));
    model.drop_late(id);
    assert_eq!(model.land(id), None);
}

#[test]
fn watchers_see_each_change_once_in_order_or_learn_that_they_came_too_late() {
    let mut model = Model::new();
    for n in 0..5 {
        write(
            &mut model,
            vec![],
            vec![put("w/k", &n.to_string()), put("x", "1")],
        );
    }
    let seen = model.changes("w/", Revision(2), 2).unwrap();
    let values: Vec<_> = seen.iter().map(|c| c.value.clone().unwrap()).collect();
    assert_eq!(values, [b"2", b"3"]);
    model.compact(Revision(4));
    let gone = Compacted(Revision(2));
    assert_eq!(model.changes("w/", Revision(2), 9), Err(gone));
    assert_eq!(model.changes("w/", Revision(3), 9).unwrap().len(), 2);
    assert_eq!(model.changes("w/", Revision(4), 9).unwrap().len(), 1);
    let never = Compacted(Revision(6));
    assert_eq!(model.changes("w/", Revision(6), 9), Err(never));
}

#[test]
fn a_removal_at_the_revision_that_was_compacted_to_is_still_seen_and_one_before_it_is_gone() {
    let mut model = Model::new();
    let remove = || vec![Op::Delete { key: "k".into() }];
    write(&mut model, vec![], vec![put("k", "1")]);
    write(&mut model, vec![], remove());
    model.compact(Revision(2));
    assert_eq!(model.compacted(), Revision(2));
    assert_eq!(keys(&model, Some(Revision(2))), Ok(vec![]));
    let removed = Change {
        key: "k".into(),
        value: None,
        revision: Revision(2),
    };
    assert_eq!(model.changes("", Revision(1), 9), Ok(vec![removed]));
    write(&mut model, vec![], vec![put("k", "2")]);
    model.compact(Revision(3));
    let gone = Compacted(Revision(1));
    assert_eq!(model.changes("", Revision(1), 9), Err(gone));
    assert_eq!(model.changes("", Revision(2), 9).unwrap().len(), 1);
    assert_eq!(keys(&model, None).unwrap(), ["k"]);
}

proptest! {
    #[test]
    fn every_kept_revision_reads_as_a_plain_map_did(
        steps in prop::collection::vec((0u8..6, any::<bool>(), any::<u8>()), 0..60),
        compact in 0usize..40,
        limit in 1usize..4,
    ) {
        let mut model = Model::new();
        let mut plain = vec![BTreeMap::new()];
        for (key, removes, value) in steps {
            let (key, mut now) = (format!("k{key}"), plain.last().unwrap().clone());
            if removes {
                let removed = now.remove(&key).is_some();
                write(&mut model, vec![], vec![Op::Delete { key }]);
                if !removed {
                    continue;
                }
            } else {
                now.insert(key.clone(), vec![value]);
                write(&mut model, vec![], vec![Op::Put { key, value: vec![value], lease: None }]);
            }
            plain.push(now);
        }
        let kept = compact.min(plain.len() - 1);
        model.compact(Revision(kept as u64));
        for (at, plain) in plain.iter().enumerate().skip(kept) {
            let mut range = KeyRange { limit, at: Some(Revision(at as u64)), ..KeyRange::default() };
            let mut read = BTreeMap::new();
            loop {
                let page = model.range(&range).unwrap();
                read.extend(page.entries.into_iter().map(|e| (e.key, e.value)));
                match page.next {
                    Some(next) => range.after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(&read, plain);
        }
    }
}
