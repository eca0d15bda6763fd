//! The words of a version: its `.proto` files, and messages read by them alone. Tests compare and read by it; it knows no message.

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor,
    ReflectMessage, Value,
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
    let stray = stray.map(|field| format!("{name} field {}", field.number()));
    let below = message
        .fields()
        .flat_map(|(field, value)| in_value(&field, value, unknown));
    stray.chain(below).collect()
}

/// The same, but of enums' values alone: fields that a version does not know it passes over.
pub(crate) fn unknown_values(message: &DynamicMessage) -> Vec<String> {
    let fields = message.fields();
    let below = fields.flat_map(|(field, value)| in_value(&field, value, unknown_values));
    below.collect()
}

/// What of a field's value is unknown, a message's by `look`.
fn in_value(
    field: &FieldDescriptor,
    value: &Value,
    look: fn(&DynamicMessage) -> Vec<String>,
) -> Vec<String> {
    if let Some(message) = value.as_message() {
        return look(message);
    }
    if let Some(values) = value.as_list() {
        let of_each = values.iter().flat_map(|value| in_value(field, value, look));
        return of_each.collect();
    }
    let kind = field.kind();
    let words = value.as_enum_number().zip(kind.as_enum());
    let strange = words.filter(|(number, words)| words.get_value(*number).is_none());
    let told = strange.map(|(number, _)| format!("{} {number}", field.full_name()));
    told.into_iter().collect()
}

/// What a message tells: the paths of its fields that are set, those of a list's entries together.
pub(crate) fn told(message: &DynamicMessage) -> BTreeSet<String> {
    let fields = message.fields();
    let each = fields.flat_map(|(field, value)| {
        let below = told_by(value);
        let name = field.name().to_owned();
        let below = below.iter().map(|path| format!("{name}.{path}"));
        let below: Vec<String> = below.collect();
        std::iter::once(name).chain(below)
    });
    each.collect()
}

fn told_by(value: &Value) -> BTreeSet<String> {
    if let Some(message) = value.as_message() {
        return told(message);
    }
    let entries = value.as_list().into_iter().flatten();
    entries.flat_map(told_by).collect()
}
