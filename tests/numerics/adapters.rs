use std::path::Path;

use regatta::adapter::Adapter;
use regatta::adapter::lora::Lora;
use regatta::adapter::peft::PREFIX;
use regatta::adapter::peft::config::PeftConfig;
use regatta::adapter::peft::import::PeftFolder;
use regatta::adapter::peft::names::module_name;
use regatta::adapter::projection::Projection;
use regatta::adapter::settings::AdapterKind;
use regatta::adapter::vera::Vera;
use regatta::model::inputs::Inputs;
use regatta::model::linear_layer::{LinearLayer, WeightLayout};
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::train::optimizers::adamw::AdamW;
use regatta::train::replica::{Replica, RoundModel};
use regatta::train::schedule::LinearSchedule;
use tch::{Device, Kind};

use crate::models::golden_inputs;
use crate::support::{Expected, assert_close, cases};

fn adapter_of(peft: &PeftFolder, layers: &[LinearLayer]) -> Box<dyn Adapter> {
    let PeftConfig { r, .. } = peft.config;
    match peft.config.peft_type {
        AdapterKind::Lora => Box::new(Lora {
            r,
            alpha: peft.config.lora_alpha.unwrap(),
            own: Default::default(),
            dropout: 0.0,
            rank_stabilized: peft.config.use_rslora == Some(true),
            init_weights: true,
        }),
        AdapterKind::Vera => {
            let key = peft.config.projection_prng_key.unwrap();
            Box::new(Vera {
                r,
                d_initial: peft.config.d_initial.unwrap(),
                dropout: 0.0,
                scaling: 1.0,
                init_weights: true,
                projection: Projection::from_key(key, r, layers),
            })
        }
        AdapterKind::SorfVera => panic!("PEFT has no SORF-VeRA"),
    }
}

/// A replica with the adapter of a case, and the case's expected values.
pub fn golden_replica(case: &Path) -> (Replica, Expected) {
    let expected = Expected::read(&case.join("expected.safetensors"));
    let labels = expected.get("logits").size()[1];
    let objective = Objective::classes(labels as usize);
    let replica = golden_adapted(&case.join("base"), case, &objective);
    (replica, expected)
}

/// The model in a folder with the adapter of a case.
pub fn golden_adapted(base: &Path, case: &Path, objective: &Objective) -> Replica {
    let checkpoint = Checkpoint::read(base, objective, 0).unwrap();
    let peft = PeftFolder::read(&case.join("peft")).unwrap();
    let layers = peft.fit(&*checkpoint.architecture).unwrap().layers;
    let adapter = adapter_of(&peft, &layers);
    let frozen = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
    let shared = RoundModel::new(frozen, &peft.tensors, &*adapter, &layers, Device::Cpu).unwrap();
    let own = shared.state.clone();
    let architecture = &*checkpoint.architecture;
    Replica::new(&shared, architecture, objective, &layers, own, |_| true).unwrap()
}

#[test]
fn golden_adapters_give_the_logits_gradients_and_steps_of_peft() {
    for case in cases("adapter") {
        let name = case.display().to_string();
        let (replica, expected) = golden_replica(&case);
        let inputs = golden_inputs(&expected);
        let labels = Labels::Rows(expected.get("labels").to_kind(Kind::Float));
        check_training(&name, &replica, &expected, &inputs, &labels, 1e-3);
    }
}

/// Compares a model with what PEFT makes of it: logits at real tokens, losses, the first gradients,
/// and the adapter after three steps of AdamW at a rate that rises to `peak`.
pub fn check_training(
    name: &str,
    replica: &Replica,
    expected: &Expected,
    inputs: &Inputs,
    labels: &Labels,
    peak: f64,
) {
    let outputs = replica.model.outputs(inputs, None).unwrap();
    let logits = match replica.model.as_causal() {
        Some(model) => {
            model.logits(&outputs).unwrap() * expected.get("attention_mask").unsqueeze(-1)
        }
        None => outputs,
    };
    let want = expected.get("logits");
    assert_close(&format!("{name} logits"), &logits, want, 1e-5);
    let schedule = LinearSchedule::new(peak, 0.2, 10);
    let mut optimizer = AdamW::new(replica.leaves(), 0.01).unwrap();
    for step in 0..3 {
        let outputs = replica.model.outputs(inputs, None).unwrap();
        let loss = replica.model.loss(&outputs, labels, 0.0).unwrap();
        let want = expected.get(&format!("loss.{step}"));
        assert_close(
            &format!("{name} loss {step}"),
            &loss.mean.view([1]),
            want,
            1e-5,
        );
        replica.backward(&loss.graph).unwrap();
        if step == 0 {
            check_gradients(name, replica, expected);
        }
        let rate = schedule.rate(step);
        let want = expected.scalar(&format!("lr.{step}"));
        assert!((rate - want).abs() < 1e-9, "{name} rate");
        optimizer.step(rate).unwrap();
    }
    let update = replica.update().unwrap();
    let mut checked = 0;
    for saved in expected.under("after.") {
        let ours = module_name(saved.strip_prefix(PREFIX).unwrap()).unwrap();
        let got = update.get(&ours);
        let got = got.unwrap_or_else(|| panic!("{name}: no {ours}"));
        let got = got.to_tensor(Device::Cpu).unwrap();
        let want = expected.get(&format!("after.{saved}"));
        assert_close(
            &format!("{name} after three steps, {ours}"),
            &got,
            want,
            1e-5,
        );
        checked += 1;
    }
    let trained = replica.leaves().count();
    assert_eq!(checked, trained, "{name}: tensors compared");
}

fn check_gradients(name: &str, replica: &Replica, expected: &Expected) {
    let gradients = replica.gradients().unwrap();
    for saved in expected.under("grad.") {
        let ours = module_name(saved.strip_prefix(PREFIX).unwrap()).unwrap();
        let want = expected.get(&format!("grad.{saved}"));
        match gradients.iter().find(|(known, _)| *known == ours) {
            Some((_, got)) => assert_close(&format!("{name} gradient of {ours}"), got, want, 1e-5),
            None => panic!("{name}: no gradient of {ours}"),
        }
    }
}

#[test]
fn golden_vera_projections_are_bit_identical_to_those_of_peft() {
    let mut checked = 0;
    for case in cases("adapter") {
        let file = case.join("projection.safetensors");
        if !file.is_file() {
            continue;
        }
        let expected = Expected::read(&file);
        let (a, b) = (expected.host("vera_A"), expected.host("vera_B"));
        let peft = PeftFolder::read(&case.join("peft")).unwrap();
        let key = peft.config.projection_prng_key.unwrap();
        let layer = LinearLayer {
            module: "widest".into(),
            layer: 0,
            d_in: a.shape()[1],
            d_out: b.shape()[0],
            layout: WeightLayout::OutIn,
        };
        let ours = Projection::from_key(key, peft.config.r, &[layer]);
        assert!(ours.a == a, "A of {}", case.display());
        assert!(ours.b == b, "B of {}", case.display());
        if let Some(saved) = peft.projection {
            assert!(saved == ours, "the projection saved in {}", case.display());
        }
        checked += 1;
    }
    assert!(checked > 0, "no projection among the reference values");
}
