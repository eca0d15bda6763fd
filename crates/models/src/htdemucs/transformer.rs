//! The transformer between encoders and decoders: two branches of rows, one for frequencies and one for time, whose layers
//! look within their branch and across in turn.

use super::attention::{Layer, Looks, Norm};
use super::position;
use bundle::separator::{Config, Positions, TransformerConfig};
use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

/// Factor between the stored tensor of places and the embedding.
const STORED_SCALE: f64 = 3.0;

/// One branch.
#[derive(Debug)]
struct Branch {
    norm_in: Option<Norm>,
    places: Places,
    layers: Vec<Layer>,
}

/// What is added to a branch's rows before the first layer.
#[derive(Debug)]
enum Places {
    /// `[1, places, width]`, weight included.
    Fixed(Tensor),
    /// The tensor `[stored, width]`, the number of its places in use, and the factor.
    Stored {
        tensor: Tensor,
        used: i64,
        factor: f64,
    },
}

impl Places {
    fn add_to(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let places = match self {
            Self::Fixed(places) => places.shallow_clone(),
            Self::Stored {
                tensor,
                used,
                factor,
            } => tensor.f_narrow(0, 0, *used)?.f_mul_scalar(*factor)?,
        };
        rows.f_add(&places.f_to_kind(rows.kind())?)
    }
}

impl Branch {
    fn new(
        path: &Path<'_>,
        suffix: &str,
        width: i64,
        config: &TransformerConfig,
        places: Places,
    ) -> Result<Self, TchError> {
        let norm_in = path / format!("norm_in{suffix}");
        let layers = path / format!("layers{suffix}");
        let norm_in = config.norm_in.map(|kind| Norm::new(&norm_in, kind, width));
        let layer = |at| Layer::new(&(&layers / at), config, width, looks(config, at));
        Ok(Self {
            norm_in: norm_in.transpose()?,
            places,
            layers: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
        })
    }

    fn begin(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        match &self.norm_in {
            Some(norm) => self.places.add_to(&norm.forward(rows)?),
            None => self.places.add_to(rows),
        }
    }
}

/// Layers look within and across in turn.
fn looks(config: &TransformerConfig, layer: usize) -> Looks {
    if layer % 2 == usize::from(config.cross_first) {
        Looks::Within
    } else {
        Looks::Across
    }
}

/// Both branches.
#[derive(Debug)]
pub(super) struct Transformer {
    frequency: Branch,
    time: Branch,
}

impl Transformer {
    pub(super) fn new(path: &Path<'_>, config: &Config) -> Result<Self, TchError> {
        let width = config.transformer_width();
        let transformer = &config.transformer;
        let of_maps = position::sines_of_maps(
            config.frequencies(config.depth),
            config.frames(),
            width,
            transformer.max_period,
        )?;
        let fixed = |places: Tensor| -> Result<Places, TchError> {
            let places = places.f_mul_scalar(transformer.position_weight)?;
            Ok(Places::Fixed(places.f_to_device(path.device())?))
        };
        let places = config.places(config.depth);
        let of_time = match transformer.positions {
            Positions::Sines => fixed(position::sines(places, width, transformer.max_period)?)?,
            Positions::Stored(stored) => Places::Stored {
                tensor: (path / "position_embeddings" / "embedding").f_var(
                    "weight",
                    &[stored, width],
                    Init::Randn {
                        mean: 0.0,
                        stdev: 0.2 / STORED_SCALE,
                    },
                )?,
                used: places,
                factor: STORED_SCALE * transformer.position_weight,
            },
        };
        Ok(Self {
            frequency: Branch::new(path, "", width, transformer, fixed(of_maps)?)?,
            time: Branch::new(path, "_t", width, transformer, of_time)?,
        })
    }

    /// Maps `[B, C, bins, frames]` and `[B, C, places]` to the same.
    pub(super) fn forward(
        &self,
        map: &Tensor,
        line: &Tensor,
    ) -> Result<(Tensor, Tensor), TchError> {
        let size = map.size();
        let rows = map
            .f_permute([0, 3, 2, 1])?
            .f_reshape([size[0], -1, size[1]])?;
        let mut frequency = self.frequency.begin(&rows)?;
        let mut time = self.time.begin(&line.f_transpose(1, 2)?)?;
        for (one, other) in self.frequency.layers.iter().zip(&self.time.layers) {
            let next = one.forward(&frequency, &time)?;
            time = other.forward(&time, &frequency)?;
            frequency = next;
        }
        let map = frequency
            .f_view([size[0], size[3], size[2], size[1]])?
            .f_permute([0, 3, 2, 1])?;
        Ok((map, time.f_transpose(1, 2)?))
    }
}
