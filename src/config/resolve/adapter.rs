//! The adapter and the aggregation method, and which goes with which.

use std::collections::BTreeMap;

use crate::adapter::pattern::Pattern;
use crate::adapter::settings::{AdapterKind, AdapterPlan};
use crate::adapter::target_modules::TargetModules;
use crate::aggregate::methods::METHODS;
use crate::aggregate::settings::{AggregationPlan, MethodName};
use crate::config::resolve::Resolver;
use crate::config::settings::{ALL, SETTINGS};
use crate::model::objective::Objective;

impl Resolver<'_> {
    /// Decides both together, since each may imply the other.
    pub(crate) fn adapter(
        &mut self,
        num_clients: u32,
        objective: &Objective,
    ) -> (AdapterPlan, AggregationPlan) {
        let kind = self.kind();
        let method = self.method(kind);
        let known = self.problems.readable(&["adapter", "vera", "agg_type"]);
        if known {
            self.report_meaningless(kind, method);
        }
        let (r, ranks) = self.ranks(num_clients);
        let rank_stabilised =
            self.value_with(kind, &SETTINGS.rslora) || self.value_with(kind, &SETTINGS.rsvera);
        let adapter = AdapterPlan {
            kind,
            r,
            ranks,
            layer_ranks: BTreeMap::new(),
            lora_alpha: self.alpha(kind, rank_stabilised, known),
            dropout: self.dropout(kind),
            rank_stabilised,
            d_initial: self.d_initial(kind),
            projection_prng_key: self.value_with(kind, &SETTINGS.projection_prng_key),
            save_projection: self.value_with(kind, &SETTINGS.save_projection),
            sorf_seed: self.value_with(kind, &SETTINGS.sorf_seed),
            init_weights: self.value(&SETTINGS.init_weights),
            target_modules: self.target_modules(objective),
            layers_to_transform: self.layers(),
            layers_pattern: self.settings.layers_pattern.clone(),
            fan_in_fan_out: self.fan_in_fan_out(objective),
            bias: self.value(&SETTINGS.bias),
            modules_to_save: self.value(&SETTINGS.modules_to_save),
        };
        (adapter, self.aggregation(method))
    }

    /// The kind that was asked for, or that the other flags imply.
    fn kind(&mut self) -> AdapterKind {
        // A method for LoRA alone implies nothing beside --vera, so that the method is refused.
        let implied = match self.settings.agg_type.map(|method| method.info().adapters) {
            Some(&[only]) if only != AdapterKind::Lora => Some(only),
            _ => None,
        };
        let by_vera = self.unrecorded(&SETTINGS.vera).then_some(AdapterKind::Vera);
        let kind = self
            .settings
            .adapter
            .or(implied)
            .or(by_vera)
            .unwrap_or(AdapterKind::Lora);
        let is_vera = kind != AdapterKind::Lora;
        let readable = self.problems.readable(&["adapter", "vera", "agg_type"]);
        if readable && self.settings.vera.is_some_and(|vera| vera != is_vera) {
            let wrong = format_args!("the other settings imply the adapter {}", kind.title());
            let right = if is_vera {
                "omit it or give --vera"
            } else {
                "give --adapter=vera"
            };
            self.problems.report("vera", wrong, right);
        }
        self.settings.adapter = Some(kind);
        self.settings.vera = None;
        kind
    }

    fn method(&mut self, kind: AdapterKind) -> MethodName {
        let default = MethodName::default_for(kind);
        let method = *self.settings.agg_type.get_or_insert(default);
        let info = method.info();
        if self.problems.readable(&["adapter", "vera"]) && !info.adapters.contains(&kind) {
            let why = info.why_these_adapters;
            let wrong = format_args!("does not go with {}: {why}", kind.title());
            self.problems
                .report("agg_type", wrong, format_args!("use {default}"));
        }
        method
    }

    fn report_meaningless(&mut self, kind: AdapterKind, method: MethodName) {
        for facts in ALL.iter().map(|setting| setting.facts()) {
            if !facts.goes_with(kind) {
                self.reject_unused(facts.key, kind.title());
            }
        }
        if !method.info().mixed_ranks && kind == AdapterKind::Lora {
            let takers = METHODS.iter().filter(|info| info.mixed_ranks);
            let takers: Vec<_> = takers.map(|info| info.name).collect();
            let takers = takers.join(" or ");
            let with = format_args!("{method}; several ranks need {takers}");
            self.reject_unused("ranks", with);
        }
        if !method.info().vera_scale {
            let with = format_args!("{method}, which merges no VeRA residual");
            self.reject_unused("vera_scale", with);
        }
        if !method.info().merges_residual {
            let with = format_args!("{method}, which merges no residual");
            self.reject_unused("residual_scale", with);
        }
        if self.settings.vera_scale == Some(true) && self.settings.residual_scale.is_some() {
            let wrong = "vera_scale scales the residual too";
            self.problems
                .report("residual_scale", wrong, "give one of the two");
        }
    }

    /// The server's rank, and each client's.
    fn ranks(&mut self, num_clients: u32) -> (u32, Vec<u32>) {
        let clients = num_clients as usize;
        let Some(ranks) = self.settings.ranks.clone() else {
            let r = self.value(&SETTINGS.r);
            return (r, vec![r; clients]);
        };
        if self.settings.r.is_some() {
            self.problems
                .report("r", "ranks are given too", "give one of the two");
        }
        self.problems.require(
            !ranks.is_empty() && ranks.len() <= clients && !ranks.contains(&0),
            "ranks",
            format_args!("not ranks for {num_clients} clients"),
            format_args!("give 1 to {num_clients} ranks, each 1 or more"),
        );
        let largest = ranks.iter().copied().max().unwrap_or(1);
        let range = &SETTINGS.r.range;
        self.problems.require(
            largest == 0 || range.contains(largest),
            "ranks",
            "out of range",
            range.right(),
        );
        (
            range.nearest(largest),
            ranks.into_iter().cycle().take(clients).collect(),
        )
    }

    fn alpha(&mut self, kind: AdapterKind, rank_stabilised: bool, known: bool) -> f64 {
        if kind != AdapterKind::Lora && !rank_stabilised {
            if known {
                let hint = if kind == AdapterKind::Vera {
                    " unless --rsvera is given"
                } else {
                    ""
                };
                let with = format_args!("{}, whose scaling is 1{hint}", kind.title());
                self.reject_unused("lora_alpha", with);
            }
            return SETTINGS.lora_alpha.default_value();
        }
        self.value(&SETTINGS.lora_alpha)
    }

    fn dropout(&mut self, kind: AdapterKind) -> f64 {
        match kind {
            AdapterKind::Lora => self.value(&SETTINGS.lora_dropout),
            AdapterKind::Vera | AdapterKind::SorfVera => self.value(&SETTINGS.vera_dropout),
        }
    }

    fn d_initial(&mut self, kind: AdapterKind) -> f64 {
        let d_initial = self.value_with(kind, &SETTINGS.d_initial);
        self.problems.require(
            d_initial.is_finite() && d_initial != 0.0,
            "d_initial",
            "training could not leave its starting point",
            "give a number other than 0",
        );
        d_initial
    }

    /// The layers by name. Which those of a language model are unless they are given, the model
    /// decides.
    fn target_modules(&mut self, objective: &Objective) -> Option<TargetModules> {
        if *objective != Objective::NextToken {
            let default = || TargetModules::names(&["query", "value"]);
            self.settings.target_modules.get_or_insert_with(default);
        }
        let modules = self.settings.target_modules.clone();
        let key = "target_modules";
        match &modules {
            Some(TargetModules::Names(names)) => {
                let right = "give names such as query,value";
                self.problems
                    .require(!names.is_empty(), key, "nothing to adapt", right);
            }
            Some(TargetModules::Regex(source)) => {
                if let Err(error) = Pattern::whole(source) {
                    self.problems.report_error(key, error);
                }
                let with = "a regular expression, which says itself which layers it means";
                self.reject_unused("layers_to_transform", with);
            }
            Some(TargetModules::AllLinear) | None => {}
        }
        modules
    }

    fn layers(&mut self) -> Option<Vec<u32>> {
        let layers = self.settings.layers_to_transform.clone();
        let none = layers.as_ref().is_some_and(Vec::is_empty);
        let right = "give the layers' numbers, or omit it for all";
        self.problems
            .require(!none, "layers_to_transform", "nothing to adapt", right);
        if layers.is_none() {
            self.reject_unused(
                "layers_pattern",
                "all layers; it goes with --layers_to_transform",
            );
        }
        layers
    }

    /// What is given for a language model is compared with the model, once that is known.
    fn fan_in_fan_out(&mut self, objective: &Objective) -> bool {
        if *objective == Objective::NextToken {
            return self.settings.fan_in_fan_out.unwrap_or(false);
        }
        let value = *self.settings.fan_in_fan_out.get_or_insert(false);
        self.problems.require(
            !value,
            "fan_in_fan_out",
            "encoders store the weights of their layers as (out, in)",
            "omit it",
        );
        value
    }

    fn aggregation(&mut self, method: MethodName) -> AggregationPlan {
        AggregationPlan {
            method,
            vera_scale: method.info().vera_scale && self.value(&SETTINGS.vera_scale),
            residual_scale: self.settings.residual_scale.unwrap_or(1.0),
            weighting: self.value(&SETTINGS.weighting),
            max_update_norm: self.settings.max_update_norm,
        }
    }
}
