//! A trained model as files that other programs load.

use std::path::Path;

use crate::adapter::peft::BASE_DELTA;
use crate::adapter::peft::export::{AdapterFiles, ExportError, write_json};
use crate::base::files;
use crate::runs::export::trained::TrainedModel;
use crate::runs::export::{merge, note};

impl TrainedModel {
    /// Writes a folder that PEFT loads with the base model: the adapter as PEFT knows it, the base
    /// delta if there is one, and a note that tells how to use both.
    ///
    /// # Errors
    /// If the base model is needed and not there, or nothing can be written.
    pub fn write_adapter(&self, folder: &Path) -> Result<(), ExportError> {
        let mut files = match self.folder.config.peft_type.info().is_in_peft {
            true => AdapterFiles::from(self.folder.clone()),
            false => self.as_lora()?,
        };
        files.config.base_model_name_or_path = Some(self.base_name());
        files.write(folder)?;
        if self.changes_base() {
            self.folder.base_delta.write(&folder.join(BASE_DELTA))?;
        }
        let path = folder.join("README.md");
        let note = note::of_adapter(self);
        Ok(files::write_atomically(&path, note.as_bytes())?)
    }

    /// Writes the whole model, base and adapter and delta in one, as a Hugging Face folder.
    ///
    /// # Errors
    /// If the base model is not there, or nothing can be written.
    pub fn write_merged(&self, folder: &Path) -> Result<(), ExportError> {
        let base = self.base()?;
        let task = &self.plan.data.task;
        let mut checkpoint = self.checkpoint(&base)?;
        files::make_folder(folder)?;
        let merged = merge::merged(self, &mut checkpoint)?;
        merged.write(&folder.join("model.safetensors"))?;
        merge::copy_tokenizer(&base, self.plan.model.tokenizer.as_deref(), folder)?;
        merge::copy_generation(&base, folder)?;
        let path = folder.join("README.md");
        let note = note::of_merged(self);
        files::write_atomically(&path, note.as_bytes())?;
        let config = merge::config(&base, &*checkpoint.architecture, &**task)?;
        Ok(write_json(&folder.join("config.json"), &config)?)
    }
}
