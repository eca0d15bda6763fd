//! Parameters between a bundle and a network: every tensor of the file has exactly one place of the same name and shape,
//! and every place gets one. Nothing is renamed, cast, broadcast or left at its random start.

use bundle::{TensorData, Tensors};
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Kind, TchError, Tensor};

/// Why parameters do not fit a network.
#[derive(Debug, thiserror::Error)]
pub enum ParamError {
    /// The network has a place that the file has no tensor for.
    #[error("the weights have no tensor `{0}`")]
    Missing(String),
    /// The file has a tensor that the network has no place for.
    #[error("the weights have a tensor `{0}` that the network does not know")]
    Unexpected(String),
    /// Same name, other shape.
    #[error("tensor `{name}` has shape {found:?}; the network needs {needed:?}")]
    Shape {
        /// Its name.
        name: String,
        /// In the file.
        found: Vec<i64>,
        /// In the network.
        needed: Vec<i64>,
    },
    /// A value is infinite or not a number.
    #[error("tensor `{0}` holds a value that is not finite")]
    NotFinite(String),
    /// libtorch refused.
    #[error("moving parameters")]
    Torch(#[from] TchError),
}

/// Copies the tensors of a file into the places of a network, after checking that they fit exactly.
///
/// # Errors
/// [`ParamError`]; the network is unchanged unless libtorch itself failed.
pub fn load(store: &VarStore, tensors: &Tensors) -> Result<(), ParamError> {
    let places: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
    if let Some(extra) = tensors
        .0
        .iter()
        .find(|tensor| !places.contains_key(&tensor.name))
    {
        return Err(ParamError::Unexpected(extra.name.clone()));
    }
    let pairs = places.iter().map(|(name, place)| match tensors.get(name) {
        Some(tensor) => fits(place, tensor).map(|()| (place, tensor)),
        None => Err(ParamError::Missing(name.clone())),
    });
    for (place, tensor) in pairs.collect::<Result<Vec<_>, _>>()? {
        copy(place, tensor)?;
    }
    Ok(())
}

fn fits(place: &Tensor, tensor: &TensorData) -> Result<(), ParamError> {
    let found = shape(tensor);
    if place.size() != found {
        return Err(ParamError::Shape {
            name: tensor.name.clone(),
            found,
            needed: place.size(),
        });
    }
    if tensor.values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(ParamError::NotFinite(tensor.name.clone()))
    }
}

fn shape(tensor: &TensorData) -> Vec<i64> {
    tensor
        .shape
        .iter()
        .map(|size| i64::try_from(*size).unwrap_or(i64::MAX))
        .collect()
}

fn copy(place: &Tensor, tensor: &TensorData) -> Result<(), TchError> {
    let values = Tensor::f_from_slice(&tensor.values)?.f_view(shape(tensor).as_slice())?;
    let mut place = place.shallow_clone();
    tch::no_grad(|| place.f_copy_(&values))
}

/// Brings every parameter to a number format, where it lies, and ends its training.
///
/// # Errors
/// When libtorch refuses.
pub fn freeze(store: &VarStore, kind: Kind) -> Result<(), TchError> {
    for place in store.variables().into_values() {
        let mut place = place.f_set_requires_grad(false)?;
        place.f_set_data(&place.f_to_kind(kind)?)?;
    }
    Ok(())
}

/// Every parameter and running value of a network, in single precision and in order of name.
///
/// # Errors
/// When libtorch refuses.
pub fn save(store: &VarStore) -> Result<Tensors, TchError> {
    let places: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
    let tensors = places.into_iter().map(|(name, place)| data(name, &place));
    Ok(Tensors(tensors.collect::<Result<_, _>>()?))
}

fn data(name: String, place: &Tensor) -> Result<TensorData, TchError> {
    let shape = place
        .size()
        .iter()
        .map(|size| usize::try_from(*size).unwrap_or(0))
        .collect();
    let values = tch::no_grad(|| values(place))?;
    Ok(TensorData {
        name,
        shape,
        values,
    })
}

/// The values of a tensor, row by row, in single precision.
///
/// # Errors
/// When libtorch refuses.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let flat = tensor
        .f_to_device(tch::Device::Cpu)?
        .f_to_kind(Kind::Float)?
        .f_contiguous()?
        .f_view([-1])?;
    Vec::<f32>::try_from(&flat)
}
