//! The words of a version: its `.proto` files, and messages read by them alone. Tests compare and read by it; it knows no message.

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, MessageDescriptor, MethodDescriptor, Value,
};

/// The words of this version.
pub(crate) fn ours() -> DescriptorPool {
    DescriptorPool::decode(proto::v1::DESCRIPTORS).unwrap()
}

/// The words of the version before.
pub(crate) fn theirs() -> DescriptorPool {
    DescriptorPool::decode(versions::WORDS_BEFORE).unwrap()
}

/// A method by its path on the wire.
pub(crate) fn method(pool: &DescriptorPool, path: &str) -> MethodDescriptor {
    let (service, name) = path.trim_start_matches('/').split_once('/').unwrap();
    let service = pool.get_service_by_name(service).unwrap();
    let found = service.methods().find(|method| method.name() == name);
    found.unwrap_or_else(|| panic!("there is no method `{path}`"))
}

/// A message read by one version's words.
#[track_caller]
pub(crate) fn read(words: MessageDescriptor, bytes: &[u8]) -> DynamicMessage {
    let name = words.full_name().to_owned();
    DynamicMessage::decode(words, bytes).unwrap_or_else(|why| panic!("read a {name}: {why}"))
}

/// Words in a message that those who read it do not know: fields, and values of their enums.
pub(crate) fn unknown(message: &DynamicMessage) -> Vec<String> {
    let name = message.descriptor().full_name().to_owned();
    let stray = message.unknown_fields();
    let mut found: Vec<String> = stray
        .map(|field| format!("{name} field {}", field.number()))
        .collect();
    found.extend(unknown_values(message));
    found
}

/// The same, but of enums' values alone: fields that a version does not know it passes over.
pub(crate) fn unknown_values(message: &DynamicMessage) -> Vec<String> {
    let fields = message.fields();
    let of_field = fields.flat_map(|(field, value)| {
        let words = field.kind().as_enum().cloned();
        in_value(words.as_ref(), value)
    });
    of_field.collect()
}

fn in_value(words: Option<&EnumDescriptor>, value: &Value) -> Vec<String> {
    match (value, words) {
        (Value::EnumNumber(number), Some(words)) if words.get_value(*number).is_none() => {
            vec![format!("{} value {number}", words.full_name())]
        }
        (Value::List(values), words) => {
            let of_each = values.iter().flat_map(|value| in_value(words, value));
            of_each.collect()
        }
        (Value::Message(message), _) => unknown_values(message),
        _ => Vec::new(),
    }
}

/// Fields of one message that another one lacks, by their paths; lists are compared by their first entries.
pub(crate) fn lacks(wanted: &DynamicMessage, found: &DynamicMessage, at: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for (field, value) in wanted.fields() {
        let path = format!("{at}.{}", field.name());
        match (value, found.has_field_by_number(field.number())) {
            (_, false) => missing.push(path),
            (value, true) => {
                let there = found.get_field_by_number(field.number()).unwrap();
                missing.extend(lacks_value(value, &there, &path));
            }
        }
    }
    missing
}

fn lacks_value(wanted: &Value, found: &Value, at: &str) -> Vec<String> {
    match (wanted, found) {
        (Value::Message(wanted), Value::Message(found)) => lacks(wanted, found, at),
        (Value::List(wanted), Value::List(found)) => match (wanted.first(), found.first()) {
            (Some(wanted), Some(found)) => lacks_value(wanted, found, at),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
