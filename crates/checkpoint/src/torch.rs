//! The package's older files: a torch archive whose pickle is a dictionary of class, arguments and state.

use crate::archive::Archive;
use crate::pickle::{self, Global, Place, Value, Values};
use crate::refusal::{Refusal, shown};
use crate::stated::Stated;
use crate::tensor::TensorIn;
use serde_json::{Map, Number, Value as Json, json};

/// Deepest nesting of an argument; the class takes lists of numbers.
const DEPTH_MAX: usize = 8;
/// Most values of all arguments together; the class has about seventy.
const ARGUMENT_VALUES_MAX: usize = 10_000;
/// Marks a state of packed integers.
const QUANTISED: &str = "__quantized";

/// Reads a whole archive.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn read(bytes: &[u8]) -> Result<Stated<'_>, Refusal> {
    let archive = Archive::open(bytes)?;
    let values = pickle::run(archive.pickle()?)?;
    let root = values.entries(values.root, "the checkpoint")?;
    let part = |name: &str| {
        let found = root.iter().find(|(key, _)| *key == name);
        found
            .map(|(_, place)| *place)
            .ok_or_else(|| Refusal::Missing(name.to_owned()))
    };
    let mut left = ARGUMENT_VALUES_MAX;
    let mut arguments = |name: &str| {
        let json = json(&values, part(name)?, name, (DEPTH_MAX, &mut left))?;
        Ok::<_, Refusal>(json.to_string())
    };
    let (args, kwargs) = (arguments("args")?, arguments("kwargs")?);
    Ok(Stated {
        class: class(&values, part("klass")?)?,
        args,
        kwargs,
        tensors: state(&values, part("state")?, &archive)?,
    })
}

fn class(values: &Values<'_>, place: Place) -> Result<String, Refusal> {
    let Value::Global(Global::Class { module, name }) = values.at(place) else {
        return Err(Refusal::Kind(
            "klass".into(),
            "a class of the package".into(),
        ));
    };
    Ok(shown(&format!("{module}.{name}")))
}

fn state<'a>(
    values: &Values<'_>,
    place: Place,
    archive: &Archive<'a>,
) -> Result<Vec<(String, TensorIn<'a>)>, Refusal> {
    let entries = values.entries(place, "state")?;
    if entries.iter().any(|(name, _)| *name == QUANTISED) {
        return Err(Refusal::Quantised);
    }
    let tensor = |(name, place): (&str, Place)| {
        let Value::Tensor(tensor) = values.at(place) else {
            return Err(Refusal::Kind(shown(name), "a tensor".to_owned()));
        };
        Ok((name.to_owned(), tensor_in(name, tensor, archive)?))
    };
    entries.into_iter().map(tensor).collect()
}

fn tensor_in<'a>(
    name: &str,
    tensor: &pickle::Tensor<'_>,
    archive: &Archive<'a>,
) -> Result<TensorIn<'a>, Refusal> {
    let refuse = |what: &str| Refusal::Tensor(shown(name), what.to_owned());
    let storage = archive.storage(tensor.storage.key)?;
    let number = tensor.storage.number;
    let claimed = tensor.storage.values.checked_mul(number.bytes() as u64);
    if claimed != Some(storage.len() as u64) {
        return Err(refuse("the storage is not as long as the pickle says"));
    }
    let sizes = |counts: &[u64]| {
        let sizes = counts.iter().map(|count| usize::try_from(*count).ok());
        sizes.collect::<Option<Vec<usize>>>()
    };
    let offset = usize::try_from(tensor.offset).ok();
    let place = offset.zip(sizes(&tensor.shape).zip(sizes(&tensor.strides)));
    let (offset, place) = place.ok_or_else(|| refuse("its numbers fit no memory"))?;
    TensorIn::new(name, number, storage, offset, place)
}

/// An argument as JSON, in the package's own form. `(depth, values)` is how much more it may hold.
fn json(
    values: &Values<'_>,
    place: Place,
    name: &str,
    (depth, left): (usize, &mut usize),
) -> Result<Json, Refusal> {
    let deeper = depth
        .checked_sub(1)
        .ok_or_else(|| Refusal::Depth(shown(name)))?;
    *left = left.checked_sub(1).ok_or_else(|| {
        let what = "values of arguments".to_owned();
        Refusal::TooMany(ARGUMENT_VALUES_MAX, what)
    })?;
    match values.at(place) {
        Value::None => Ok(Json::Null),
        Value::Flag(flag) => Ok(json!(flag)),
        Value::Whole(whole) => Ok(json!(whole)),
        Value::Real(real) => Number::from_f64(*real)
            .map(Json::Number)
            .ok_or_else(|| Refusal::Kind(shown(name), "a finite number".to_owned())),
        Value::Text(text) => Ok(json!(text)),
        Value::List(items) | Value::Tuple(items) => items
            .iter()
            .map(|item| json(values, *item, name, (deeper, &mut *left)))
            .collect(),
        Value::Dict(_) => {
            let mut object = Map::new();
            for (key, value) in values.entries(place, name)? {
                let value = json(values, value, key, (deeper, &mut *left))?;
                object.insert(key.to_owned(), value);
            }
            Ok(Json::Object(object))
        }
        Value::Fraction { above, below } => {
            Ok(json!({"_type": "fraction", "numerator": above, "denominator": below}))
        }
        Value::Global(_) | Value::Storage(_) | Value::Tensor(_) => {
            let what = "a plain value".to_owned();
            Err(Refusal::Kind(shown(name), what))
        }
    }
}
