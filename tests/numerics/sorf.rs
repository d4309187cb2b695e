use regatta::adapter::factors::Factors;
use regatta::adapter::sorf::core::Core;
use regatta::adapter::sorf::givens::{Rotation, angles_of};
use regatta::adapter::sorf::refit::{
    ThinSvd, fit_gamma, nearest_rotation, parameters, solve_right,
};
use regatta::adapter::sorf::transform::{apply_gamma, orthogonal};
use tch::{Device, Kind, Tensor};

use crate::support::{Expected, assert_close, golden, relative_error};

fn expected() -> Expected {
    Expected::read(&golden().join("sorf/expected.safetensors"))
}

fn matrix(entries: &[f64], columns: i64) -> Tensor {
    Tensor::from_slice(entries).view([-1, columns])
}

fn list(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn golden_s_is_the_one_upstream_draws() {
    let expected = expected();
    let seed = expected.integers("sorf_seed")[0] as u64;
    let sizes: Vec<i64> = expected.under("S.").map(|n| n.parse().unwrap()).collect();
    assert!(!sizes.is_empty());
    for size in sizes {
        let ours = matrix(&orthogonal(size as usize, seed), size);
        assert_close(
            &format!("S of {size}"),
            &ours,
            expected.get(&format!("S.{size}")),
            1e-6,
        );
    }
}

#[test]
fn s_is_orthonormal_for_every_size_to_130() {
    for d in 1..=130_i64 {
        let s = matrix(&orthogonal(d as usize, 42), d);
        let identity = Tensor::eye(d, (Kind::Double, Device::Cpu));
        let error = relative_error(&s.matmul(&s.tr()), &identity);
        assert!(error < 1e-12, "size {d}: {error:e}");
    }
}

#[test]
fn golden_lambda_and_its_gradients_are_those_of_autograd() {
    let expected = expected();
    let probe = list(expected.get("grad_probe"));
    let mut client = 0;
    while expected.find(&format!("client.{client}.angles")).is_some() {
        let get = |what: &str| expected.get(&format!("client.{client}.{what}"));
        let (angles, scale) = (list(get("angles")), list(get("scale"))[0]);
        let r = get("lambda_d").size()[0];
        let rotation = Rotation::from_angles(r as usize, &angles).unwrap();
        let lambda = matrix(rotation.entries(), r) * scale;
        assert_close("lambda", &lambda, get("lambda_d"), 1e-6);
        let gradient = rotation.gradient(scale, &probe);
        let angles = Tensor::from_slice(&gradient.angles);
        assert_close("gradient of the angles", &angles, get("grad_angles"), 1e-6);
        let scale = Tensor::from_slice(&[gradient.scale]);
        assert_close(
            "gradient of the scale",
            &scale,
            &get("grad_scale").view([1]),
            1e-6,
        );
        client += 1;
    }
    assert!(client > 0);
}

#[test]
fn golden_angles_of_a_rotation_are_those_of_upstream() {
    let expected = expected();
    let o = expected.get("givens.O");
    let (angles, signs) = angles_of(o.size()[0] as usize, &list(o));
    assert_close(
        "angles",
        &Tensor::from_slice(&angles),
        expected.get("givens.angles"),
        1e-6,
    );
    let want = list(expected.get("givens.signs"));
    assert_eq!(signs, want.into_iter().map(f64::signum).collect::<Vec<_>>());
}

#[test]
fn golden_refit_is_the_one_upstream_makes_from_the_same_factors() {
    let expected = expected();
    let get = |name: &str| expected.double(name);
    let (a, b) = (get("A"), get("B"));
    let (d_out, r) = b.size2().unwrap();
    let s = get(&format!("S.{d_out}"));
    let target = s
        .tr()
        .matmul(&(get("U") * get("Sigma").unsqueeze(0)))
        .unsqueeze(0);
    let (re, im) = fit_gamma(&b, &target).unwrap();
    assert_close("b_re", &re.view([-1]), &get("fit.b_real"), 1e-6);
    assert_close("b_im", &im.view([-1]), &get("fit.b_imag"), 1e-6);
    let lambda = solve_right(&get("V").tr().unsqueeze(0), &a).unwrap();
    let polar = nearest_rotation(&lambda).unwrap();
    let scales = polar.sigma.abs().mean_dim(-1, false, Kind::Double);
    assert_close(
        "scale",
        &scales.view([-1]),
        &get("fit.scale").view([-1]),
        1e-6,
    );
    let (_, angles) = parameters(&polar.rotation, &scales).unwrap().remove(0);
    let angles = angles.to_tensor(Device::Cpu).unwrap();
    assert_close("angles", &angles, &get("fit.angles"), 1e-6);
    let lambda = Rotation::from_angles(r as usize, &list(&angles)).unwrap();
    let lambda = matrix(lambda.entries(), r) * scales;
    assert_close("lambda", &lambda, &get("fit.lambda_d"), 1e-6);
    let left = s.matmul(&apply_gamma(&b, &re, &im).unwrap().squeeze());
    assert_close(
        "delta_w",
        &left.matmul(&lambda).matmul(&a),
        &get("fit.delta_w"),
        1e-6,
    );
}

#[test]
fn the_servers_core_has_the_decomposition_of_the_whole_update() {
    let expected = expected();
    let get = |name: &str| expected.double(name);
    let (a, b, lambda) = (get("A"), get("B"), get("avg_lambda_d"));
    let core = Core::new(&a, b.shallow_clone()).unwrap();
    let svd = ThinSvd::of(&Factors {
        left: get("gamma").matmul(&b).unsqueeze(0),
        right: lambda.matmul(&core.l).unsqueeze(0),
    })
    .unwrap();
    assert_close("sigma", &svd.sigma.view([-1]), &get("Sigma"), 1e-6);
    let s = get(&format!("S.{}", b.size()[0]));
    let q = Tensor::linalg_solve(&core.l, &a, true);
    let product = (s.matmul(&svd.u) * svd.sigma.unsqueeze(1)).matmul(&svd.vt.matmul(&q));
    assert_close("product", &product.squeeze(), &get("delta_w"), 1e-6);
    let fits = |target: &Tensor, a: &Tensor| solve_right(target, a).unwrap();
    let (whole, own) = (fits(&svd.vt.matmul(&q), &a), fits(&svd.vt, &core.l));
    assert_close("lambda", &own, &whole, 1e-9);
}

#[test]
fn golden_thin_svd_gives_the_singular_values_and_the_product() {
    let expected = expected();
    let get = |name: &str| expected.double(name);
    let d_out = get("B").size()[0];
    let left = get(&format!("S.{d_out}"))
        .matmul(&get("gamma"))
        .matmul(&get("B"));
    let right = get("avg_lambda_d").matmul(&get("A"));
    let svd = ThinSvd::of(&Factors {
        left: left.unsqueeze(0),
        right: right.unsqueeze(0),
    })
    .unwrap();
    assert_close("sigma", &svd.sigma.view([-1]), &get("Sigma"), 1e-6);
    let product = (svd.u * svd.sigma.unsqueeze(1)).matmul(&svd.vt).squeeze();
    assert_close("product", &product, &get("delta_w"), 1e-6);
}

#[test]
fn a_turn_has_the_cosine_and_sine_of_its_angle() {
    for i in -5000..5000 {
        let t = f64::from(i) * 0.7;
        let rotation = Rotation::from_angles(2, &[t]).unwrap();
        let (sin, cos) = t.sin_cos();
        for (got, want) in rotation.entries().iter().zip([cos, -sin, sin, cos]) {
            assert!((got - want).abs() < 3e-16, "{t}: {got} {want}");
        }
    }
}

#[test]
fn givens_angles_survive_the_round_trip() {
    for r in [1_usize, 2, 3, 7, 32] {
        let start: Vec<f64> = (0..r * (r - 1) / 2)
            .map(|i| (i as f64 * 0.7).sin() * 3.0)
            .collect();
        let rotation = Rotation::from_angles(r, &start).unwrap();
        let (angles, signs) = angles_of(r, rotation.entries());
        let again = Rotation::from_angles(r, &angles).unwrap();
        let pairs = rotation.entries().iter().zip(again.entries());
        let worst = pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-12, "r = {r}: {worst:e}");
        assert!(signs.iter().all(|sign| *sign == 1.0));
    }
}
