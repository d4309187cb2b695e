//! Where reference values lie, and how they are compared.

use std::path::{Path, PathBuf};

use regatta::base::tensors::HostTensor;
use tch::{Device, Kind, Tensor};

/// The folder of reference values: `REGATTA_GOLDEN`, the one beside the project, or the copy.
pub fn golden() -> PathBuf {
    if let Some(folder) = std::env::var_os("REGATTA_GOLDEN") {
        return folder.into();
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = project.join("../shared/golden");
    if beside.is_dir() {
        beside
    } else {
        project.join("tests/golden")
    }
}

/// The sub-folders of one kind of reference values; at least one.
pub fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = golden().join(kind);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} is empty", folder.display());
    cases
}

/// A file of expected tensors, with the types they were written in.
pub struct Expected(Vec<(String, Tensor)>);

impl Expected {
    pub fn read(path: &Path) -> Self {
        Self(Tensor::read_safetensors(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, tensor)| tensor)
    }

    pub fn get(&self, name: &str) -> &Tensor {
        self.find(name)
            .unwrap_or_else(|| panic!("no {name} among the expected values"))
    }

    pub fn double(&self, name: &str) -> Tensor {
        self.get(name).to_kind(Kind::Double)
    }

    pub fn host(&self, name: &str) -> HostTensor {
        HostTensor::from_tensor(self.get(name)).unwrap()
    }

    pub fn scalar(&self, name: &str) -> f64 {
        self.double(name).view([-1]).double_value(&[0])
    }

    pub fn integers(&self, name: &str) -> Vec<i64> {
        Vec::try_from(self.get(name).to_kind(Kind::Int64).flatten(0, -1)).unwrap()
    }

    /// Names that begin with a prefix, without it.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(move |(name, _)| name.strip_prefix(prefix))
    }
}

/// ‖got − want‖ / ‖want‖ in float64.
pub fn relative_error(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.size(), want.size());
    let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
    let norm = |x: &Tensor| (x * x).sum(Kind::Double).sqrt().double_value(&[]);
    norm(&(&got - &want)) / norm(&want).max(1e-12)
}

/// Fails unless the two are as near as the tolerance says.
pub fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    let error = relative_error(&got.to_device(Device::Cpu).detach(), want);
    assert!(
        error <= tolerance,
        "{what}: relative error {error:e}, allowed {tolerance:e}"
    );
}
