//! Frozen tensors that lie one below the other in one tensor. Layers that take one input are then one
//! product rather than several, and so are their gradients by it: a GPU, whose small products take less
//! time than it takes to ask for them, is asked for a third.

use tch::{TchError, Tensor};

use crate::model::linear_layer::{LinearLayer, WeightLayout};

/// Which tensors are to lie so, by their names.
#[derive(Debug, Default)]
pub struct StackedTensors {
    stacks: Vec<Vec<String>>,
}

impl StackedTensors {
    /// The weights, and the biases, of the layers of each transformer layer whose names end so, in this
    /// order.
    #[must_use]
    pub fn of_layers(layers: &[LinearLayer], ends: &[&str]) -> Self {
        let mut numbers: Vec<i64> = layers.iter().map(|layer| layer.layer).collect();
        numbers.dedup();
        let found = numbers.iter().filter_map(|number| {
            let own = || layers.iter().filter(|layer| layer.layer == *number);
            let named = |end: &&str| own().find(|layer| is_called(layer, end));
            ends.iter().map(named).collect::<Option<Vec<_>>>()
        });
        let stacks = found.flat_map(|layers| {
            let names =
                |name: fn(&LinearLayer) -> String| layers.iter().map(|it| name(it)).collect();
            [names(LinearLayer::weight), names(LinearLayer::bias)]
        });
        Self {
            stacks: stacks.collect(),
        }
    }

    /// The names of each stack's tensors, from the top down.
    pub fn iter(&self) -> impl Iterator<Item = &[String]> {
        self.stacks.iter().map(Vec::as_slice)
    }
}

/// Whether the layer has that name and its outputs are the weight's rows.
fn is_called(layer: &LinearLayer, end: &str) -> bool {
    let before = layer.module.strip_suffix(end);
    before.is_some_and(|before| before.ends_with('.')) && layer.layout == WeightLayout::OutIn
}

/// One tensor of these, and these as parts of it; `None` if they are not of one kind and width.
pub(super) fn stack(parts: &[&Tensor]) -> Result<Option<(Tensor, Vec<Tensor>)>, TchError> {
    let like = |x: &Tensor| {
        (
            x.kind(),
            x.device(),
            x.size().into_iter().skip(1).collect::<Vec<_>>(),
        )
    };
    let alike = parts.windows(2).all(|pair| like(pair[0]) == like(pair[1]));
    if !alike {
        return Ok(None);
    }
    let whole = Tensor::f_cat(parts, 0)?;
    let views = whole.f_split_with_sizes(parts.iter().map(|it| rows(it)).collect::<Vec<_>>(), 0)?;
    Ok(Some((whole, views)))
}

/// Whether these are the parts of `whole`: a tensor that has taken the place of one of them is not.
pub(super) fn is_stack_of(whole: &Tensor, parts: &[Tensor]) -> Result<bool, TchError> {
    let mut begin = 0;
    for part in parts {
        let end = begin + rows(part);
        if end > rows(whole) {
            return Ok(false);
        }
        let there = whole.f_narrow(0, begin, rows(part))?;
        let same = part.data_ptr() == there.data_ptr() && part.size() == there.size();
        if !same || part.stride() != there.stride() {
            return Ok(false);
        }
        begin = end;
    }
    Ok(begin == rows(whole))
}

fn rows(x: &Tensor) -> i64 {
    x.size().first().copied().unwrap_or(0)
}
