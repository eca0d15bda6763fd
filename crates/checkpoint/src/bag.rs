//! The bag: the YAML file beside the package's checkpoints that says which of them make up a named separator. Only bags of
//! one are built here; of several, each stem costs as many passes.

use serde::{Deserialize, Serialize};

/// Longest accepted file, bytes. The package's longest has about 200.
const BAG_BYTES_MAX: usize = 1 << 16;

/// Why a bag is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum BagError {
    /// Longer than any bag.
    #[error("the bag has {0} bytes; the bound is {BAG_BYTES_MAX}")]
    TooLarge(usize),
    /// Not YAML of this form.
    #[error("the bag is not read: {0}")]
    Form(String),
    /// Several models, or none.
    #[error("the bag has {0} models; bags of one are read")]
    Models(usize),
    /// Weights that change a stem's share of itself, which is all of it.
    #[error("the bag's weights are not one finite number above zero for each stem")]
    Weights,
    /// Another segment length than the checkpoint's own.
    #[error("the bag sets a segment of {0} seconds; the checkpoint's own is built")]
    Segment(f64),
}

/// A bag of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bag {
    /// The signature of its checkpoint, which is the beginning of its file's name.
    pub model: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    models: Vec<String>,
    weights: Option<Vec<Vec<f64>>>,
    segment: Option<f64>,
}

impl Bag {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`BagError`].
    pub fn parse(text: &str) -> Result<Self, BagError> {
        if text.len() > BAG_BYTES_MAX {
            return Err(BagError::TooLarge(text.len()));
        }
        let form: Form =
            serde_saphyr::from_str(text).map_err(|error| BagError::Form(error.to_string()))?;
        let [model] = form.models.as_slice() else {
            return Err(BagError::Models(form.models.len()));
        };
        let sound = |weight: &f64| weight.is_finite() && *weight > 0.0;
        let rows = form.weights.unwrap_or_default();
        if rows.len() > 1 || !rows.iter().flatten().all(sound) {
            return Err(BagError::Weights);
        }
        match form.segment {
            Some(seconds) => Err(BagError::Segment(seconds)),
            None => Ok(Self {
                model: model.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bags_of_one_are_read_and_all_others_are_refused_by_what_they_ask_for() {
        let check = |text: &str, expected: Result<&str, fn(&BagError) -> bool>| match (
            Bag::parse(text),
            expected,
        ) {
            (Ok(bag), Ok(model)) => assert_eq!(bag.model, model, "{text}"),
            (Err(error), Err(fits)) => assert!(fits(&error), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
        check("models: ['955717e8']\n", Ok("955717e8"));
        check("models: ['a']\nweights: [[1., 1., 0.5]]\n", Ok("a"));
        check("models: [a, b]\n", Err(|e| *e == BagError::Models(2)));
        check("models: []\n", Err(|e| *e == BagError::Models(0)));
        check(
            "models: [a]\nsegment: 44\n",
            Err(|e| *e == BagError::Segment(44.0)),
        );
        check(
            "models: [a]\nweights: [[1., 0.]]\n",
            Err(|e| *e == BagError::Weights),
        );
        check(
            "models: [a]\nweights: [[.nan]]\n",
            Err(|e| *e == BagError::Weights),
        );
        check(
            "models: [a]\nshifts: 3\n",
            Err(|e| matches!(e, BagError::Form(_))),
        );
        check("- a\n", Err(|e| matches!(e, BagError::Form(_))));
        check("models: [", Err(|e| matches!(e, BagError::Form(_))));
        check(
            &" ".repeat(BAG_BYTES_MAX + 1),
            Err(|e| matches!(e, BagError::TooLarge(_))),
        );
    }
}
