//! HTDemucs against the package that published it. Expected values, weights and the tolerance's reason are in
//! `golden/htdemucs.py`; the full-size comparison is `make parity`, which also prints what these tests measure.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is their failure message"
)]

use bundle::{TensorData, Tensors};
use models::htdemucs::apply::{Overlap, separate};
use models::htdemucs::{self, ArgumentError, Config, HtDemucs, config_of};
use models::params::ParamError;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use std::num::{NonZeroU32, NonZeroUsize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// Largest difference over largest reference value.
const TOLERANCE: f64 = 1e-4;
/// As above in bfloat16, whose values have eight bits: a hundred operations in a row leave a few steps of 1/256.
const ROUNDED: f64 = 0.1;
/// An altered tensor must break parity, and not by a hair.
const BROKEN: f64 = 2.0 * TOLERANCE;
/// Largest difference between a segment alone and in a batch: the products are the same, their order may differ.
const SAME: f64 = 1e-5;

const CASES: [&str; 3] = ["published", "variant", "norms_last"];
const GOLDEN: &[u8] = include_bytes!("../golden/htdemucs.safetensors");

/// A network of the golden file and what belongs to it.
struct Case {
    name: &'static str,
    config: Config,
    weights: Tensors,
    all: Tensors,
}

impl Case {
    fn of(name: &'static str) -> Self {
        // Tests run beside each other already; threads that wait for each other's cores would take ten times the time.
        models::device::set_threads(Some(NonZeroU32::MIN));
        let all = Tensors::parse(GOLDEN).unwrap();
        let prefix = format!("{name}.weights.");
        let named = |tensor: &TensorData| {
            let own = tensor.name.strip_prefix(&prefix)?.to_owned();
            Some(TensorData {
                name: own,
                ..tensor.clone()
            })
        };
        Self {
            name,
            config: config_of(&[], &arguments(name)).unwrap(),
            weights: Tensors(all.0.iter().filter_map(named).collect()),
            all,
        }
    }

    fn tensor(&self, part: &str) -> Tensor {
        let data = self.all.get(&format!("{}.{part}", self.name)).unwrap();
        let shape: Vec<i64> = data.shape.iter().map(|size| *size as i64).collect();
        Tensor::from_slice(&data.values).view(shape.as_slice())
    }

    fn net(&self) -> (VarStore, HtDemucs) {
        htdemucs::load(&self.config, &self.weights, Device::Cpu, Kind::Float).unwrap()
    }
}

fn arguments(case: &str) -> Map<String, Value> {
    let (_, header) = SafeTensors::read_metadata(GOLDEN).unwrap();
    let texts = header.metadata().as_ref().unwrap();
    serde_json::from_str(&texts[case]).unwrap()
}

fn infer(net: &HtDemucs, mix: &Tensor) -> Tensor {
    tch::no_grad(|| net.forward(mix).unwrap())
}

/// Largest difference over largest reference value.
fn difference(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.size(), reference.size());
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    largest(&(ours - reference)) / largest(reference)
}

#[test]
fn stems_of_a_segment_are_the_package_s() {
    for name in CASES {
        let case = Case::of(name);
        let (_store, net) = case.net();
        let ours = infer(&net, &case.tensor("mix").unsqueeze(0)).squeeze_dim(0);
        let found = difference(&ours, &case.tensor("stems"));
        println!("golden, {name}: {found:.1e}");
        assert!(found <= TOLERANCE, "{name}: {found:e}");
    }
}

#[test]
fn a_network_in_half_precision_rounds_and_does_nothing_else() {
    for name in CASES {
        let case = Case::of(name);
        let kind = Kind::BFloat16;
        let (_store, net) = htdemucs::load(&case.config, &case.weights, Device::Cpu, kind).unwrap();
        let ours = infer(&net, &case.tensor("mix").unsqueeze(0));
        assert_eq!(ours.kind(), Kind::Float, "{name}");
        let found = difference(&ours.squeeze_dim(0), &case.tensor("stems"));
        println!("golden, {name}, bf16: {found:.1e}");
        assert!((TOLERANCE..ROUNDED).contains(&found), "{name}: {found:e}");
    }
}

#[test]
fn stems_of_a_track_are_the_package_s_whatever_the_batch() {
    let case = Case::of("published");
    let (_store, net) = case.net();
    for batch in [1, 3, 16] {
        let tracks = [case.tensor("track"), case.tensor("mix")];
        let batch = NonZeroUsize::new(batch).unwrap();
        let ours = separate(&net, &tracks, batch, Overlap::default()).unwrap();
        let found = difference(&ours[0], &case.tensor("separated"));
        println!("golden, a track in batches of {batch}: {found:.1e}");
        assert!(found <= TOLERANCE, "batches of {batch}: {found:e}");
    }
}

#[test]
fn an_empty_track_has_empty_stems() {
    let case = Case::of("variant");
    let (_store, net) = case.net();
    let empty = Tensor::zeros([1, 0], (Kind::Float, Device::Cpu));
    let stems = separate(&net, &[empty], NonZeroUsize::MIN, Overlap::default()).unwrap();
    assert_eq!(stems[0].size(), [2, 1, 0]);
}

#[test]
fn a_segment_knows_nothing_of_others_in_its_batch() {
    for name in CASES {
        let case = Case::of(name);
        let (_store, net) = case.net();
        let mix = case.tensor("mix");
        let loud = &mix * 50.0 + 1.0;
        let silent = mix.zeros_like();
        let batch = infer(&net, &Tensor::stack(&[&loud, &mix, &silent], 0));
        let alone = infer(&net, &mix.unsqueeze(0));
        let found = difference(&batch.get(1), &alone.get(0));
        assert!(found <= SAME, "{name}: {found:e}");
        let silence = batch.get(2).isfinite().all().int64_value(&[]);
        assert_eq!(silence, 1, "{name}: silence has finite stems");
    }
}

#[test]
fn parity_breaks_with_every_single_tensor_that_is_altered() {
    for name in CASES {
        let case = Case::of(name);
        let mix = case.tensor("mix").unsqueeze(0);
        let reference = case.tensor("stems");
        let mut least = (f64::INFINITY, String::new());
        for at in 0..case.weights.0.len() {
            let mut weights = case.weights.clone();
            alter(&mut weights.0[at]);
            let altered = &weights.0[at].name;
            let (_store, net) =
                htdemucs::load(&case.config, &weights, Device::Cpu, Kind::Float).unwrap();
            let found = difference(&infer(&net, &mix).squeeze_dim(0), &reference);
            if is_read_by_nobody(name, altered) {
                assert!(found <= TOLERANCE, "{name}: `{altered}` is read: {found:e}");
                continue;
            }
            assert!(found >= BROKEN, "{name}: `{altered}` altered: {found:e}");
            if found < least.0 {
                least = (found, altered.clone());
            }
        }
        println!(
            "altered, {name}: {} tensors, least difference {:.1e} (`{}`)",
            case.weights.0.len(),
            least.0,
            least.1
        );
    }
}

/// Another value at every place, up here and down there: what is equal everywhere, a norm takes away again.
fn alter(tensor: &mut TensorData) {
    for (at, value) in tensor.values.iter_mut().enumerate() {
        *value += if (at * 7) % 11 < 5 { 0.25 } else { -0.25 };
    }
}

/// Layers that look across have a third norm, which nothing reads where norms stand last.
fn is_read_by_nobody(case: &str, tensor: &str) -> bool {
    case == "norms_last" && tensor.contains(".norm3.")
}

/// The tensors of a network by name and shape.
fn shapes_of(config: &Config) -> bundle::separator::Shapes {
    let store = VarStore::new(Device::Cpu);
    let _net = HtDemucs::new(&store.root(), config).unwrap();
    let shape = |tensor: &Tensor| -> Vec<usize> {
        let sizes = tensor.size().into_iter();
        sizes.map(|size| size as usize).collect()
    };
    let places = store.variables().into_iter();
    places.map(|(name, place)| (name, shape(&place))).collect()
}

#[test]
fn a_network_has_the_tensors_that_its_description_lists() {
    let check = |case: &str, change: &dyn Fn(&mut Config)| {
        let mut config = Case::of("variant").config;
        change(&mut config);
        config.check().unwrap();
        assert_eq!(shapes_of(&config), config.shapes(), "{case}");
    };
    for name in CASES {
        check(name, &|config| *config = Case::of(name).config);
    }
    check("the sample", &|config| {
        *config = bundle::sample::separator()
    });
    let sample = |change: &dyn Fn(&mut Config)| {
        check("a changed sample", &|config| {
            *config = bundle::sample::separator();
            change(config);
        });
    };
    sample(&|config| config.rewrite = false);
    sample(&|config| config.norm_starts = 0);
    sample(&|config| config.frequency_embedding = None);
    sample(&|config| config.bottom_channels = None);
    sample(&|config| config.dconv.encoders = false);
    sample(&|config| config.dconv.decoders = false);
    sample(&|config| config.context_encoder = 1);
    let stored = bundle::separator::Positions::Stored(500);
    sample(&|config| config.transformer.positions = stored);
    sample(&|config| config.transformer.cross_first = true);
    sample(&|config| config.transformer.norm_in = None);
    sample(&|config| config.transformer.order = bundle::separator::Order::Last);
    sample(&|config| config.transformer.layer_scale = false);
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let case = Case::of("variant");
    let check = |change: &dyn Fn(&mut Vec<TensorData>), expected: &dyn Fn(&ParamError) -> bool| {
        let mut weights = case.weights.clone();
        change(&mut weights.0);
        let refused = htdemucs::load(&case.config, &weights, Device::Cpu, Kind::Float).unwrap_err();
        assert!(expected(&refused), "{refused}");
    };
    let first = case.weights.0[0].name.clone();
    let named = |name: &String| *name == first;
    check(
        &|tensors| drop(tensors.remove(0)),
        &|error| matches!(error, ParamError::Missing(name) if named(name)),
    );
    check(
        &|tensors| tensors[0].name.push('x'),
        &|error| matches!(error, ParamError::Unexpected(name) if name.ends_with('x')),
    );
    check(
        &|tensors| tensors[0].shape.push(1),
        &|error| matches!(error, ParamError::Shape { name, .. } if named(name)),
    );
    check(
        &|tensors| tensors[0].values[0] = f32::NAN,
        &|error| matches!(error, ParamError::NotFinite(name) if named(name)),
    );
}

/// Changes arguments of the case `published`, and gives what reading them says.
fn read(changes: &[(&str, Option<Value>)]) -> Result<Config, ArgumentError> {
    let mut named = arguments("published");
    for (name, value) in changes {
        match value {
            Some(value) => drop(named.insert((*name).to_owned(), value.clone())),
            None => drop(named.remove(*name)),
        }
    }
    config_of(&[], &named)
}

#[test]
fn arguments_that_ask_for_what_is_not_built_are_refused_by_name() {
    let check = |name: &str, value: Value| match read(&[(name, Some(value.clone()))]) {
        Err(ArgumentError::Value { argument, .. }) => assert_eq!(argument, name),
        other => panic!("{name} = {value}: {other:?}"),
    };
    check("cac", json!(false));
    check("channels_time", json!(24));
    check("multi_freqs", json!([0.5]));
    check("t_sparse_self_attn", json!(true));
    check("t_sparse_cross_attn", json!(true));
    check("t_auto_sparsity", json!(true));
    check("t_sin_random_shift", json!(3));
    check("use_train_segment", json!(false));
    check("t_emb", json!("cape"));
    check("t_norm_out", json!(2));
    check("depth", json!(0));
    check("growth", json!(2.5));
    check("channels", json!(1_000_000));
    check("nfft", json!("4096"));
    check("sources", json!([]));
    check("segment", json!(-1));
    check(
        "segment",
        json!({"_type": "fraction", "numerator": 1, "denominator": 0}),
    );
    check(
        "segment",
        json!({"_type": "date", "numerator": 1, "denominator": 1}),
    );
    check("segment", json!(1e300));
}

#[test]
fn arguments_that_do_not_fit_each_other_are_refused() {
    let check = |changes: &[(&str, Value)]| {
        let changes: Vec<_> = changes
            .iter()
            .map(|(name, value)| (*name, Some(value.clone())))
            .collect();
        let found = read(&changes);
        assert!(
            matches!(found, Err(ArgumentError::Conflict(_))),
            "{found:?}"
        );
    };
    check(&[("kernel_size", json!(6))]);
    check(&[("stride", json!(2))]);
    check(&[("nfft", json!(500))]);
    check(&[("depth", json!(4))]);
    check(&[("segment", json!(0.005))]);
    check(&[("channels", json!(1_024))]);
    check(&[("norm_starts", json!(0)), ("norm_groups", json!(5))]);
    check(&[("t_heads", json!(5))]);
    check(&[("bottom_channels", json!(18)), ("t_heads", json!(2))]);
    check(&[("t_group_norm", json!(3))]);
    check(&[("t_emb", json!("scaled")), ("t_max_positions", json!(4))]);
    check(&[("dconv_comp", json!(64.0))]);
}

#[test]
fn an_argument_that_is_missing_or_unknown_is_named() {
    let shapes = arguments("published");
    for name in shapes.keys() {
        match read(&[(name, None)]) {
            Err(ArgumentError::Missing(missing)) => assert_eq!(missing, name),
            // Without any effect on the output, and so nobody asks for it.
            Ok(config) => assert_eq!(config, Case::of("published").config, "{name}"),
            Err(other) => panic!("{name}: {other}"),
        }
    }
    let unknown = read(&[("t_new", Some(json!(1)))]);
    assert_eq!(unknown, Err(ArgumentError::Unknown("t_new".to_owned())));
}

#[test]
fn the_stems_names_may_come_by_place_and_a_segment_as_a_fraction() {
    let mut named = arguments("published");
    let sources = named.remove("sources").unwrap();
    let fraction = json!({"_type": "fraction", "numerator": 3, "denominator": 100});
    named.insert("segment".to_owned(), fraction);
    let config = config_of(&[sources], &named).unwrap();
    assert_eq!(config, Case::of("published").config);
    assert_eq!(config.segment, 1_323);
}
