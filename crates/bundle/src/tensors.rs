//! Weights from safetensors bytes, refused before anything is allocated by them: a header above its bound, offsets
//! that overlap or leave gaps, sizes that do not follow from shape and dtype, values that are not finite.

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

/// Longest accepted header. A network of a thousand tensors needs 100 kB; a header of 100 MB is an attack.
pub const TENSORS_HEADER_BYTES_MAX: u64 = 1 << 20;

/// Why weights are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorsError {
    /// The header is above [`TENSORS_HEADER_BYTES_MAX`].
    #[error("the header claims {claimed} bytes; the bound is {TENSORS_HEADER_BYTES_MAX}")]
    HeaderTooLarge {
        /// As claimed.
        claimed: u64,
    },
    /// Offsets overlap, run backwards, leave a gap or end elsewhere than the file.
    #[error("the offsets of `{tensor}` overlap others, leave a gap or leave the file")]
    Offsets {
        /// The first offender, or `the last tensor`.
        tensor: String,
    },
    /// Not a safetensors file in some other way.
    #[error("not a safetensors file: {detail}")]
    Form {
        /// What is wrong.
        detail: String,
    },
    /// A dtype that is not read here.
    #[error("`{tensor}` is {dtype}, which is not read here; F32 is")]
    Dtype {
        /// Its name.
        tensor: String,
        /// As found.
        dtype: String,
    },
    /// A value is infinite or not a number.
    #[error("`{tensor}` holds a value that is not finite")]
    NotFinite {
        /// Its name.
        tensor: String,
    },
}

/// One tensor: row-major single-precision values.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData {
    /// Its name in the network.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// All tensors of a file, in order of name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors(pub Vec<TensorData>);

impl Tensors {
    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// [`TensorsError`]; nothing is allocated from a claim of the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, TensorsError> {
        Self::read(bytes, single)
    }

    /// As [`Tensors::parse`], of a file that was not made here: values of half precision are widened, which loses nothing.
    ///
    /// # Errors
    /// As there.
    pub fn parse_widened(bytes: &[u8]) -> Result<Self, TensorsError> {
        Self::read(bytes, widened)
    }

    fn read(bytes: &[u8], values: Values) -> Result<Self, TensorsError> {
        check_header_length(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(refusal)?;
        let mut tensors = file
            .iter()
            .map(|(name, view)| tensor(name, &view, values))
            .collect::<Result<Vec<_>, _>>()?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self(tensors))
    }

    /// The bytes of a file that [`Tensors::parse`] reads back.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let data: Vec<Vec<u8>> = self
            .0
            .iter()
            .map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views = self.0.iter().zip(&data).map(|(t, data)| {
            let view = TensorView::new(Dtype::F32, t.shape.clone(), data);
            (
                t.name.as_str(),
                view.expect("a tensor has as many values as its shape says"),
            )
        });
        safetensors::serialize(views, None).expect("views of sound tensors serialise")
    }

    /// The tensor of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorData> {
        self.0.iter().find(|tensor| tensor.name == name)
    }
}

/// Refuses a header above its bound before anything of it is read.
///
/// # Errors
/// [`TensorsError`].
pub fn check_header_length(bytes: &[u8]) -> Result<(), TensorsError> {
    let Some(length) = bytes.first_chunk::<8>() else {
        return Err(TensorsError::Form {
            detail: "shorter than a header's length".to_owned(),
        });
    };
    let claimed = u64::from_le_bytes(*length);
    if claimed > TENSORS_HEADER_BYTES_MAX {
        Err(TensorsError::HeaderTooLarge { claimed })
    } else {
        Ok(())
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, all of whose other variants are one refusal here"
)]
fn refusal(error: SafeTensorError) -> TensorsError {
    match error {
        SafeTensorError::InvalidOffset(tensor) => TensorsError::Offsets { tensor },
        SafeTensorError::MetadataIncompleteBuffer => TensorsError::Offsets {
            tensor: "the last tensor".to_owned(),
        },
        other => TensorsError::Form {
            detail: other.to_string(),
        },
    }
}

/// The values of a tensor, where its dtype is read.
type Values = fn(&TensorView<'_>) -> Option<Vec<f32>>;

fn single(view: &TensorView<'_>) -> Option<Vec<f32>> {
    (view.dtype() == Dtype::F32).then(|| numbers(view, f32::from_le_bytes))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, all of whose other variants are one refusal here"
)]
fn widened(view: &TensorView<'_>) -> Option<Vec<f32>> {
    match view.dtype() {
        Dtype::F16 => Some(numbers(view, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(numbers(view, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        _ => single(view),
    }
}

fn numbers<const N: usize>(view: &TensorView<'_>, number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = view.data().as_chunks::<N>();
    chunks.iter().map(|bytes| number(*bytes)).collect()
}

fn tensor(name: &str, view: &TensorView<'_>, values: Values) -> Result<TensorData, TensorsError> {
    let Some(values) = values(view) else {
        return Err(TensorsError::Dtype {
            tensor: name.to_owned(),
            dtype: format!("{:?}", view.dtype()),
        });
    };
    if values.iter().any(|value| !value.is_finite()) {
        return Err(TensorsError::NotFinite {
            tensor: name.to_owned(),
        });
    }
    Ok(TensorData {
        name: name.to_owned(),
        shape: view.shape().to_vec(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn tensors_survive_their_bytes() {
        let tensors = Tensors(vec![
            TensorData {
                name: "a.bias".into(),
                shape: vec![2],
                values: vec![1.0, -2.5],
            },
            TensorData {
                name: "b.weight".into(),
                shape: vec![1, 3],
                values: vec![0.0, 1e-20, 3.0],
            },
        ]);
        assert_eq!(Tensors::parse(&tensors.to_bytes()).unwrap(), tensors);
    }

    #[test]
    fn halves_are_widened_only_where_that_is_asked_for() {
        let check = |dtype: &str, data: &[u8], expected: &[f32]| {
            let header =
                format!(r#"{{"a":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,4]}}}}"#);
            let bytes = file(&header, data);
            let found = Tensors::parse_widened(&bytes).unwrap();
            assert_eq!(found.0[0].values, expected, "{dtype}");
            let refused = Tensors::parse(&bytes).expect_err(dtype);
            assert!(matches!(refused, TensorsError::Dtype { .. }), "{refused}");
        };
        check("F16", &[0x00, 0x3c, 0x00, 0xc1], &[1.0, -2.5]);
        check("BF16", &[0x80, 0x3f, 0x20, 0xc0], &[1.0, -2.5]);
        let whole = r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#;
        let refused = Tensors::parse_widened(&file(whole, &[0; 4])).unwrap_err();
        assert!(matches!(refused, TensorsError::Dtype { .. }), "{refused}");
        let endless = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        let refused = Tensors::parse_widened(&file(endless, &[0, 0, 0, 0x7c])).unwrap_err();
        assert!(
            matches!(refused, TensorsError::NotFinite { .. }),
            "{refused}"
        );
    }

    #[test]
    fn hostile_files_are_refused_by_name() {
        let check = |bytes: &[u8], expected: fn(&TensorsError) -> bool, case: &str| {
            let refused = Tensors::parse(bytes).expect_err(case);
            assert!(expected(&refused), "{case}: {refused}");
        };
        let huge = [&100_000_000u64.to_le_bytes()[..], b"{}"].concat();
        check(
            &huge,
            |e| {
                matches!(
                    e,
                    TensorsError::HeaderTooLarge {
                        claimed: 100_000_000
                    }
                )
            },
            "100 MB header",
        );
        let endless = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        check(
            &endless,
            |e| matches!(e, TensorsError::HeaderTooLarge { .. }),
            "endless header",
        );
        let one = |name: &str, from: usize, to: usize| {
            format!(r#""{name}":{{"dtype":"F32","shape":[2],"data_offsets":[{from},{to}]}}"#)
        };
        let two = |a: String, b: String| file(&format!("{{{a},{b}}}"), &[0; 16]);
        let offsets = |e: &TensorsError| matches!(e, TensorsError::Offsets { .. });
        check(&two(one("a", 0, 8), one("b", 4, 12)), offsets, "overlap");
        check(
            &two(one("a", 0, 8), one("b", 0, 8)),
            offsets,
            "same bytes twice",
        );
        check(&two(one("a", 0, 8), one("b", 12, 20)), offsets, "gap");
        check(
            &file(&format!("{{{}}}", one("a", 0, 8)), &[0; 16]),
            offsets,
            "bytes left over",
        );
        let form = |e: &TensorsError| matches!(e, TensorsError::Form { .. });
        check(b"", form, "empty");
        check(&file("{", &[]), form, "broken JSON");
        let wide =
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#;
        check(&file(wide, &[0; 8]), form, "a shape beyond all memory");
        let half = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        check(
            &file(half, &[0; 4]),
            |e| matches!(e, TensorsError::Dtype { .. }),
            "another dtype",
        );
        let nan = f32::NAN.to_le_bytes().repeat(2);
        let finite = |e: &TensorsError| matches!(e, TensorsError::NotFinite { .. });
        check(
            &file(&format!("{{{}}}", one("a", 0, 8)), &nan),
            finite,
            "not a number",
        );
    }
}
