//! Weights against bitsandbytes' formulas in float64, and products against those of the codes' values.

mod codes;

use rand::{RngExt, SeedableRng};
use regatta_actors::random::Stream;
use tch::{Device, Kind, Tensor};

use crate::base::tensors::HostTensor;
use crate::base::torch::device::Autocast;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::quantised::held::HeldWeight;
use crate::model::quantised::precision::BasePrecision;
use crate::model::quantised::weight::QuantisedWeight;

/// NF4's values and the thresholds between them, as bitsandbytes has them.
const VALUES: [f64; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];
const THRESHOLDS: [f64; 15] = [
    -0.8480964004993439,
    -0.6106329262256622,
    -0.4599952697753906,
    -0.33967943489551544,
    -0.23460740596055984,
    -0.13791173323988914,
    -0.045525018125772476,
    0.03979014977812767,
    0.1202552504837513,
    0.2035212516784668,
    0.2920137718319893,
    0.3893125355243683,
    0.5016634166240692,
    0.6427869200706482,
    0.8614784181118011,
];

const NARROW: [BasePrecision; 3] = [
    BasePrecision::Bfloat16,
    BasePrecision::Int8,
    BasePrecision::Nf4,
];

fn layer(d_out: i64, d_in: i64, layout: WeightLayout) -> LinearLayer {
    LinearLayer {
        module: "h.0.attn.c_attn".to_owned(),
        layer: 0,
        d_in,
        d_out,
        layout,
    }
}

fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut stream = Stream::seed_from_u64(seed);
    (0..len).map(|_| stream.random_range(-1.0..1.0)).collect()
}

/// A weight of random values as its file has it, and held in a precision.
fn held(layer: &LinearLayer, precision: BasePrecision, seed: u64) -> (HostTensor, QuantisedWeight) {
    let shape = layer.weight_shape().to_vec();
    let values = random(seed, shape.iter().product::<i64>() as usize);
    let weight = HostTensor::new(shape, values).unwrap();
    let quantised = QuantisedWeight::new(&weight, layer, precision).unwrap();
    (weight, quantised)
}

#[test]
fn weights_have_the_values_of_their_codes_on_every_kind_of_device() {
    for precision in NARROW {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for (d_out, d_in) in [(1, 1), (3, 7), (5, 13), (64, 2), (70, 130)] {
                let layer = layer(d_out, d_in, layout);
                let (weight, quantised) = held(&layer, precision, 7);
                let name = format!("{precision:?} {layer:?}");
                assert_eq!(quantised.shape(), layer.weight_shape(), "{name}");
                assert_eq!(quantised.bytes(), precision.bytes(d_out, d_in), "{name}");
                let values = quantised.to_host().unwrap();
                assert_eq!(values.shape(), weight.shape(), "{name}");
                // Rows are outputs, however the file has them.
                let turned = layer.as_weight(&weight.to_tensor(Device::Cpu).unwrap());
                let turned = turned.unwrap();
                let rows: Vec<f32> = Vec::try_from(turned.flatten(0, -1)).unwrap();
                let of = |at: usize| expected(precision, &rows, d_in as usize, at);
                let got = quantised.on(Device::Cpu).unwrap();
                let dense = got.dense().unwrap();
                let dense: Vec<f32> = Vec::try_from(dense.flatten(0, -1)).unwrap();
                for (at, value) in dense.iter().enumerate() {
                    let [one, other] = of(at).map(|it| (f64::from(*value) - it).abs());
                    assert!(
                        one.min(other) < 1e-6,
                        "{name}: {value} at {at}: {:?}",
                        of(at)
                    );
                }
                let others: Vec<f32> =
                    Vec::try_from(got.coded().by_operations().unwrap().flatten(0, -1)).unwrap();
                assert_eq!(others, dense, "{name}");
            }
        }
    }
}

/// A value as the formulas have it in float64; or as it may be too, where float32 cannot tell which of
/// two codes is nearer.
fn expected(precision: BasePrecision, values: &[f32], columns: usize, at: usize) -> [f64; 2] {
    let of = |shift| expected_near(precision, values, columns, at, shift);
    [of(1e-6), of(-1e-6)]
}

/// The value by its formula, of a number that is off by a share of the largest one.
fn expected_near(
    precision: BasePrecision,
    values: &[f32],
    columns: usize,
    at: usize,
    shift: f64,
) -> f64 {
    let largest = |part: &[f32]| part.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    match precision {
        BasePrecision::Float32 => f64::from(values[at]),
        BasePrecision::Bfloat16 => {
            let step = 2_f64.powi(f64::from(values[at].abs()).log2().floor() as i32 - 7);
            (f64::from(values[at]) / step).round_ties_even() * step
        }
        BasePrecision::Int8 => {
            let largest = largest(&values[at / columns * columns..][..columns]);
            let scaled = (f64::from(values[at]) / largest + shift) * 127.0;
            scaled.round_ties_even() * largest / 127.0
        }
        BasePrecision::Nf4 => {
            let block = values.chunks(64).nth(at / 64).unwrap();
            let largest = largest(block);
            let scaled = f64::from(values[at]) / largest + shift;
            let code = THRESHOLDS.iter().filter(|least| scaled > **least).count();
            VALUES[code] * largest
        }
    }
}

#[test]
fn what_a_precision_cannot_hold_is_refused() {
    let layer = layer(1, 2, WeightLayout::OutIn);
    let huge = HostTensor::new(vec![1, 2], vec![1.0, f32::MAX]).unwrap();
    let error = QuantisedWeight::new(&huge, &layer, BasePrecision::Bfloat16).unwrap_err();
    assert!(error.contains("too large for bfloat16"), "{error}");
    for precision in [BasePrecision::Int8, BasePrecision::Nf4] {
        let held = QuantisedWeight::new(&huge, &layer, precision).unwrap();
        let values = held.to_host().unwrap();
        let error = (f64::from(values.values()[1]) / f64::from(f32::MAX) - 1.0).abs();
        assert!(error < 1e-6, "{precision:?}: {values:?}");
    }
}

/// Outputs, and the gradients of the input and of a bias that is trained, for a product.
fn results(x: &Tensor, bias: &Tensor, product: impl Fn(&Tensor, &Tensor) -> Tensor) -> [Tensor; 3] {
    let x = x.detach().copy().set_requires_grad(true);
    let bias = bias.detach().copy().set_requires_grad(true);
    let y = product(&x, &bias);
    let count = Tensor::arange(y.numel() as i64, (Kind::Float, Device::Cpu));
    (&y * count.sin().view_as(&y)).sum(Kind::Float).backward();
    [y.detach(), x.grad(), bias.grad()]
}

fn assert_near(name: &str, got: &[Tensor; 3], want: &[Tensor; 3], tolerance: f64) {
    for (got, want) in got.iter().zip(want) {
        let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
        let error = (&got - &want).norm().double_value(&[]) / want.norm().double_value(&[]);
        assert!(error < tolerance, "{name}: {error}");
    }
}

/// What aggregation added, as the layer's weight lies, and the weight with it.
fn with_change(layer: &LinearLayer, weight: &QuantisedWeight) -> (HeldWeight, Tensor) {
    let values = random(11, (layer.d_in * layer.d_out) as usize);
    let change = Tensor::from_slice(&values).view(layer.weight_shape()) * 1e-3;
    let held = weight.on(Device::Cpu).unwrap();
    let turned = layer.as_weight(&change).unwrap();
    (held.with(&change).unwrap(), held.dense().unwrap() + turned)
}

#[test]
fn products_and_gradients_are_those_of_the_codes_values_and_of_what_was_added() {
    // Few rows, and as many as oneDNN multiplies.
    for rows in [3, 300] {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for precision in NARROW {
                let layer = layer(24, 40, layout);
                let (_, quantised) = held(&layer, precision, 9);
                let (held, dense) = with_change(&layer, &quantised);
                assert_eq!(held.dense().unwrap(), dense);
                let x = Tensor::from_slice(&random(10, rows * 40)).view([1, rows as i64, 40]);
                let bias = Tensor::from_slice(&random(12, 24));
                let name = format!("{precision:?} {layout:?} {rows} rows");
                let own = |x: &Tensor, bias: &Tensor| held.linear(x, Some(bias)).unwrap();
                let wide = |x: &Tensor, bias: &Tensor| x.linear(&dense, Some(bias));
                let want = results(&x, &bias, wide);
                assert_near(&name, &results(&x, &bias, own), &want, 1e-6);
                let frozen = own(&x, &bias);
                assert!(!frozen.requires_grad(), "{name}");
                assert_near(
                    &name,
                    &[frozen, want[1].copy(), want[2].copy()],
                    &want,
                    1e-6,
                );
            }
        }
    }
}

#[test]
fn a_base_in_bfloat16_gives_the_bits_of_one_in_float32_where_products_are_in_bfloat16() {
    let layer = layer(24, 40, WeightLayout::OutIn);
    let (weight, quantised) = held(&layer, BasePrecision::Bfloat16, 13);
    let (held, weight) = (
        quantised.on(Device::Cpu).unwrap(),
        weight.to_tensor(Device::Cpu).unwrap(),
    );
    let x = Tensor::from_slice(&random(14, 5 * 40)).view([5, 40]);
    let bias = Tensor::from_slice(&random(15, 24)).set_requires_grad(false);
    let mixed = |product: &dyn Fn(&Tensor) -> Tensor| {
        let _autocast = Autocast::enter(Device::Cpu, Kind::BFloat16).unwrap();
        results(&x, &bias, |x, bias| product(x) + bias)
    };
    let own = mixed(&|x| held.linear(x, None).unwrap());
    let wide = mixed(&|x| x.linear(&weight, None::<&Tensor>));
    assert_eq!(own, wide);
}

#[test]
fn a_weight_whose_parts_do_not_fit_is_refused() {
    let layer = layer(4, 8, WeightLayout::OutIn);
    let (_, quantised) = held(&layer, BasePrecision::Nf4, 16);
    let held = quantised.on(Device::Cpu).unwrap();
    let change = Tensor::zeros([8, 4], (Kind::Float, Device::Cpu));
    assert!(held.with(&change).is_err());
    let x = Tensor::zeros([2, 7], (Kind::Float, Device::Cpu));
    assert!(held.linear(&x, None).is_err());
    let mut coded = held.coded();
    coded.columns = 9;
    let error = coded.dense().unwrap_err().to_string();
    assert!(error.contains("16 codes"), "{error}");
    let mut coded = held.coded();
    coded.scales = None;
    let error = coded.dense().unwrap_err().to_string();
    assert!(error.contains("0 scales"), "{error}");
}
