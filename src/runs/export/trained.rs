//! A finished run's model, ready to be written in another form.

use std::path::Path;

use tch::Device;

use crate::adapter::factors::Factors;
use crate::adapter::lora;
use crate::adapter::peft::export::{AdapterFiles, ExportError};
use crate::adapter::peft::import::PeftFolder;
use crate::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use crate::adapter::settings::AdapterPlan;
use crate::base::machine::Host;
use crate::config::load;
use crate::config::plan::Plan;
use crate::config::settings::Settings;
use crate::model::ModelError;
use crate::model::architecture::Architecture;
use crate::model::base_form::BaseForm;
use crate::model::linear_layer::LinearLayer;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::files::ModelFiles;
use crate::model::source::locate::model_dir;
use crate::model::source::location::ModelSource;
use crate::model::tensor_spec::is_inside;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;

/// What to do about a pretrained model that is not there.
const STARTED_IN: &str = "export from the directory that the run was started in";

/// An adapter that a run trained, what it changed base weights by, and how it was trained.
#[derive(Debug, Clone)]
pub struct TrainedModel {
    /// Adapter, head and base delta.
    pub folder: PeftFolder,
    /// The adapter's settings, as the folder has them.
    pub adapter: AdapterPlan,
    /// The run's plan.
    pub plan: Plan,
}

impl TrainedModel {
    /// Reads the last model of a run, or its best one.
    ///
    /// # Errors
    /// If the folder is not a run folder or the run has not ended.
    pub fn of_run(run: &Path, best: bool) -> Result<Self, ExportError> {
        let folder = RunFolder::at(run);
        let scenario = folder.path_of(Artifact::Scenario);
        if !scenario.is_file() {
            return Err(ExportError::Refused(format!(
                "{} is not a run folder: it has no scenario.toml; name one that `regatta run` made",
                run.display()
            )));
        }
        let last = folder.path_of(Artifact::Adapter);
        if !last.join("adapter_config.json").is_file() {
            return Err(ExportError::Refused(format!(
                "the run in {} has no model: it has not ended or was interrupted",
                run.display()
            )));
        }
        // Without a better one from an earlier round, the last model is the best.
        let better = folder
            .path_of(Artifact::Best)
            .join(Artifact::Adapter.name());
        let better = Some(better).filter(|path| best && path.is_dir());
        let plan = load(Some(&scenario), &Settings::default(), &Host::detect())
            .map_err(|problems| ExportError::Refused(problems.to_string()))?;
        let folder = PeftFolder::read(&better.unwrap_or(last))?;
        let plan = plan.into_plan();
        let mut adapter = plan.adapter.clone();
        folder.config.apply_to(&mut adapter);
        Ok(Self {
            folder,
            adapter,
            plan,
        })
    }

    /// Whether aggregation changed base weights.
    #[must_use]
    pub fn changes_base(&self) -> bool {
        !self.folder.base_delta.is_empty()
    }

    /// The LoRA of the same rank, and of scaling 1, that the adapter comes to.
    ///
    /// # Errors
    /// If the base model's configuration cannot be read, or a tensor is missing.
    pub fn as_lora(&self) -> Result<AdapterFiles, ExportError> {
        let architecture = self.base()?.architecture()?;
        let mut tensors = self.folder.tensors.clone();
        self.each_layer(&*architecture, |layer, suffixes, factors| {
            for suffix in suffixes {
                tensors.0.remove(&tensor_name(layer, suffix));
            }
            let host = crate::base::tensors::HostTensor::from_tensor;
            tensors.insert(tensor_name(layer, lora::A), host(&factors.right)?);
            tensors.insert(tensor_name(layer, lora::B), host(&factors.left)?);
            Ok(())
        })?;
        Ok(AdapterFiles {
            config: self.folder.config.as_lora(),
            tensors,
            projection: None,
        })
    }

    /// Visits every adapted layer with the names of its adapter's tensors and the factors of its
    /// scaled update, (d_out, r) and (r, d_in).
    pub(crate) fn each_layer(
        &self,
        architecture: &dyn Architecture,
        mut visit: impl FnMut(&LinearLayer, &[&'static str], &Factors) -> Result<(), ModelError>,
    ) -> Result<(), ExportError> {
        let fit = self.folder.fit(architecture)?;
        let mut plan = self.adapter.clone();
        fit.apply_to(&mut plan, &self.folder.config, architecture);
        let layers = fit.layers;
        let adapter = plan.build(&layers).map_err(ExportError::Refused)?;
        let tensors = &self.folder.tensors;
        let own = WeightedUpdates::of_one(tensors, &tensors, Device::Cpu);
        for group in LayerGroup::by(&layers, |layer| adapter.tensors(layer)) {
            let factors = adapter.factors(&group, &own)?;
            for (i, layer) in (0..).zip(&group.layers) {
                let factors = Factors {
                    left: factors.left.get(i),
                    right: factors.right.get(i),
                };
                let tensors = adapter.tensors(layer).into_iter();
                let suffixes: Vec<_> = tensors.map(|tensor| tensor.suffix).collect();
                visit(layer, &suffixes, &factors)?;
            }
        }
        Ok(())
    }

    /// The reason that the adapter alone cannot be loaded; `None`: the base model is available.
    #[must_use]
    pub fn base_is_nowhere(&self) -> Option<String> {
        match &self.plan.model.source {
            ModelSource::Random { .. } => Some(format!(
                "{} is not in a file that an adapter can be loaded with; use --merge to write the \
                 whole model",
                self.base_name()
            )),
            ModelSource::Local(_) | ModelSource::Hub(_) => None,
        }
    }

    /// The pretrained model.
    pub(crate) fn base(&self) -> Result<ModelFiles, ExportError> {
        match &self.plan.model.source {
            ModelSource::Local(path) if path.exists() => Ok(ModelFiles::at(path)?),
            ModelSource::Local(path) => Err(ExportError::Refused(format!(
                "there is no {}; {STARTED_IN}",
                path.display()
            ))),
            // A folder's name looks like a hub's where there is no such folder.
            ModelSource::Hub(name) => {
                let folder = model_dir(name).map_err(|error| {
                    ExportError::Refused(format!("{error}; if {name} is a folder, {STARTED_IN}"))
                })?;
                Ok(ModelFiles::at(&folder)?)
            }
            ModelSource::Random {
                architecture,
                tokenizer,
            } => Ok(ModelFiles::random(architecture, tokenizer)?),
        }
    }

    /// The pretrained model in float32, with the values that training saw: those of the codes where
    /// weights were held in fewer bits.
    ///
    /// # Errors
    /// If the model cannot be read.
    pub(crate) fn checkpoint(&self, base: &ModelFiles) -> Result<Checkpoint, ModelError> {
        let plan = &self.plan;
        let in_full = |name: &str| {
            let mut modules = plan.adapter.modules_to_save.iter();
            self.folder.tensors.get(name).is_some() || modules.any(|it| is_inside(name, it))
        };
        let form = BaseForm::new(plan.model.base_precision, &in_full);
        let mut checkpoint = base.checkpoint_as(&plan.data.task.objective(), plan.seed, &form)?;
        checkpoint.dequantise()?;
        Ok(checkpoint)
    }

    /// What transformers' `from_pretrained` takes to load the pretrained model, as Python has it.
    #[must_use]
    pub(crate) fn base_in_python(&self) -> String {
        let local = match &self.plan.model.source {
            ModelSource::Local(path) => ModelFiles::at(path).ok(),
            ModelSource::Hub(_) | ModelSource::Random { .. } => None,
        };
        let Some(ModelFiles::Gguf(file)) = local else {
            return format!("{:?}", self.base_name());
        };
        let path = file.path();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default();
        format!("{folder:?}, gguf_file={name:?}")
    }

    /// What `from_pretrained` must be told beside the model, with a comma before it.
    #[must_use]
    pub(crate) fn loading_argument(&self) -> String {
        let architecture = self.base().and_then(|base| Ok(base.architecture()?)).ok();
        let argument = architecture.and_then(|it| it.loading_argument());
        argument.map_or_else(String::new, |argument| format!(", {argument}"))
    }

    /// The pretrained model's name, or its folder or file as it is found from anywhere.
    #[must_use]
    pub fn base_name(&self) -> String {
        match &self.plan.model.source {
            ModelSource::Local(path) => path
                .canonicalize()
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            ModelSource::Hub(_) | ModelSource::Random { .. } => self.plan.model.source.to_string(),
        }
    }
}
