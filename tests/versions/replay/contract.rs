//! The contract: whatever the version before can say or hear, this one says and hears under the same number and in the same shape.

use std::collections::BTreeSet;

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, MessageDescriptor};

use crate::words::{method, ours, read, theirs, unknown};
use crate::{before, exchanges};

/// What of a field may not change: its number and name, its kind, and whether it may repeat or be absent.
fn shape(field: &FieldDescriptor) -> (u32, String, String, Cardinality, bool) {
    let kind = format!("{:?}", field.kind());
    let name = field.name().to_owned();
    let optional = field.supports_presence();
    (field.number(), name, kind, field.cardinality(), optional)
}

fn check_message(theirs: &MessageDescriptor, ours: &MessageDescriptor) {
    for field in theirs.fields() {
        let kept = ours.get_field(field.number());
        let kept = kept.unwrap_or_else(|| panic!("{field:?} is gone"));
        assert_eq!(shape(&kept), shape(&field));
        let of = |field: &FieldDescriptor| field.containing_oneof().map(|of| of.name().to_owned());
        assert_eq!(of(&kept), of(&field), "{field:?}");
    }
}

fn check_enum(theirs: &EnumDescriptor, ours: &EnumDescriptor) {
    for value in theirs.values() {
        let kept = ours.get_value(value.number());
        let kept = kept.unwrap_or_else(|| panic!("{value:?} is gone"));
        assert_eq!(kept.name(), value.name());
    }
}

#[test]
fn nothing_that_the_version_before_says_or_hears_has_another_number_or_shape() {
    let (theirs, ours) = (theirs(), ours());
    for message in theirs.all_messages() {
        let kept = ours.get_message_by_name(message.full_name());
        check_message(
            &message,
            &kept.unwrap_or_else(|| panic!("{message:?} is gone")),
        );
    }
    for words in theirs.all_enums() {
        let kept = ours.get_enum_by_name(words.full_name());
        check_enum(&words, &kept.unwrap_or_else(|| panic!("{words:?} is gone")));
    }
    for theirs in theirs.services().flat_map(|service| {
        let methods: Vec<_> = service.methods().collect();
        methods
    }) {
        let path = format!("/{}/{}", theirs.parent_service().full_name(), theirs.name());
        let kept = method(&ours, &path);
        let named = |method: &prost_reflect::MethodDescriptor| {
            let (asks, answers) = (method.input(), method.output());
            let streams = (method.is_client_streaming(), method.is_server_streaming());
            (
                asks.full_name().to_owned(),
                answers.full_name().to_owned(),
                streams,
            )
        };
        assert_eq!(named(&kept), named(&theirs), "{path}");
    }
}

#[test]
fn every_message_that_the_version_before_sent_is_understood_whole() {
    let ours = ours();
    for call in exchanges() {
        let method = method(&ours, &call.method);
        let asked = read(method.input(), &hex::decode(&call.request).unwrap());
        assert_eq!(unknown(&asked), [""; 0], "{}", call.method);
        for answer in &call.answers {
            let answer = read(method.output(), &hex::decode(answer).unwrap());
            assert_eq!(unknown(&answer), [""; 0], "{}", call.method);
        }
    }
}

#[test]
fn the_record_has_every_call_of_an_agent_and_of_a_small_scan() {
    let had: BTreeSet<String> = exchanges().into_iter().map(|call| call.method).collect();
    let needed = [
        "Agents/Join",
        "Agents/Pull",
        "Agents/Beat",
        "Agents/Commit",
        "Agents/Leave",
        "Catalogs/Import",
        "Jobs/SubmitJob",
        "Jobs/GetJob",
        "Jobs/WatchJob",
        "Jobs/CancelJob",
        "Results/Export",
        "Results/ListRows",
        "Results/Summarize",
        "Results/Verify",
    ];
    for method in needed {
        let path = format!("/trackscan.v1.{method}");
        assert!(had.contains(&path), "{path} in {}", before().display());
    }
}
