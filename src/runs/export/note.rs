//! The README of an exported folder: what it is and how to use it.

use crate::adapter::peft::BASE_DELTA;
use crate::model::objective::Objective;
use crate::model::quantised::precision::BasePrecision;
use crate::runs::export::trained::TrainedModel;

/// The note that accompanies an adapter.
#[must_use]
pub fn of_adapter(trained: &TrainedModel) -> String {
    let info = trained.folder.config.peft_type.info();
    let kind = match info.is_in_peft {
        true => format!("A {} adapter", info.title),
        false => format!(
            "The {} adapter, which PEFT does not know, as the LoRA that it comes to",
            info.title
        ),
    };
    let head = match objective(trained) {
        Objective::Classes(_) | Objective::Multilabel(_) | Objective::Score => {
            ", with the classification head"
        }
        Objective::NextToken => "",
    };
    let mut note = format!(
        "# Adapter of the run `{}`\n\n{kind}{head}, {}.\n\n",
        trained.plan.name,
        origin(trained)
    );
    if trained.changes_base() {
        note.push_str(&format!(
            "**It is not the whole model.** Aggregation changed base weights too, and {missed}. \
             The change is in `{BASE_DELTA}`, one tensor per weight under the weight's name; add \
             it to the base model before the adapter is attached:\n\n",
            missed = trained.plan.aggregation.method.info().without_delta,
        ));
    } else {
        note.push_str("It changes nothing in the base model. To load it:\n\n");
    }
    note.push_str(&usage(trained));
    if trained.plan.model.base_precision != BasePrecision::Float32 {
        note.push_str(&format!(
            "\nIn training the base {}. Over float32 weights, as loaded above, the adapter gives \
             slightly other outputs; `regatta export --merge` writes the model that was trained.\n",
            held(trained)
        ));
    }
    note.push_str(&sources(trained));
    note
}

/// How the base was held in training.
fn held(trained: &TrainedModel) -> &'static str {
    match trained.plan.model.base_precision {
        BasePrecision::Float32 => "was held in float32",
        BasePrecision::Bfloat16 => "was held in bfloat16",
        BasePrecision::Int8 => {
            "was held in int8, each output's weights with a scale, as bitsandbytes quantises them"
        }
        BasePrecision::Nf4 => {
            "was held in nf4 with a scale for each 64 weights, as bitsandbytes quantises them \
             without `bnb_4bit_use_double_quant`"
        }
    }
}

/// The note that accompanies a merged model.
#[must_use]
pub fn of_merged(trained: &TrainedModel) -> String {
    let class = auto_class(trained);
    let parts = match objective(trained) {
        Objective::Classes(_) | Objective::Multilabel(_) | Objective::Score => {
            "The whole classifier: base weights, what aggregation added to them, the adapter and \
             the head in one"
        }
        Objective::NextToken => {
            "The whole language model: base weights, what aggregation added to them and the \
             adapter in one"
        }
    };
    let values = match trained.plan.model.base_precision {
        BasePrecision::Float32 => String::new(),
        _ => format!(
            " The base {}: this model has the values of those codes, and is in float32.",
            held(trained)
        ),
    };
    format!(
        "# Model of the run `{}`\n\n{parts}, {}.{values} To load it:\n\n\
         ```python\n\
         from transformers import {class}\n\n\
         model = {class}.from_pretrained(\".\"{}).eval()\n\
         ```\n{}",
        trained.plan.name,
        origin(trained),
        trained.loading_argument(),
        sources(trained)
    )
}

fn objective(trained: &TrainedModel) -> Objective {
    trained.plan.data.task.objective()
}

/// The class of transformers that loads such models.
fn auto_class(trained: &TrainedModel) -> &'static str {
    match objective(trained) {
        Objective::Classes(_) | Objective::Multilabel(_) | Objective::Score => {
            "AutoModelForSequenceClassification"
        }
        Objective::NextToken => "AutoModelForCausalLM",
    }
}

fn origin(trained: &TrainedModel) -> String {
    let plan = &trained.plan;
    format!(
        "trained on {} by {} clients with `{}` and written by Regatta {}",
        plan.data.task,
        plan.data.num_clients,
        plan.aggregation.method,
        env!("CARGO_PKG_VERSION")
    )
}

/// What to cite.
fn sources(trained: &TrainedModel) -> String {
    let adapter = trained.folder.config.peft_type.info();
    let method = trained.plan.aggregation.method.info();
    format!(
        "\nSources:\n\n- {}: {}\n- {}: {}\n",
        adapter.title, adapter.paper, method.title, method.paper
    )
}

fn usage(trained: &TrainedModel) -> String {
    let delta = format!(
        "for name, delta in load_file(\"{BASE_DELTA}\").items():\n    \
         model.get_parameter(name).data += delta\n"
    );
    let (import, delta) = if trained.changes_base() {
        ("from safetensors.torch import load_file\n", delta.as_str())
    } else {
        ("", "")
    };
    let class = auto_class(trained);
    let outputs = match objective(trained) {
        Objective::NextToken => String::new(),
        Objective::Multilabel(names) => format!(
            "num_labels={}, problem_type=\"multi_label_classification\", ",
            names.len()
        ),
        head => format!("num_labels={}, ", head.outputs()),
    };
    format!(
        "```python\n\
         from peft import PeftModel\n\
         {import}\
         from transformers import {class}\n\n\
         model = {class}.from_pretrained(\n    {}, {outputs}torch_dtype=\"float32\"{}\n)\n\
         {delta}\
         model = PeftModel.from_pretrained(model, \".\").eval()\n\
         ```\n",
        trained.base_in_python(),
        trained.loading_argument(),
    )
}
