//! The adapters of several clients on one layer, in a pass over the batches of all.

use std::rc::Rc;

use tch::{TchError, Tensor};

use crate::model::ModelError;
use crate::model::delta::{Delta, ThinProduct};
use crate::model::dropout::{Masks, dropout};
use crate::model::joint::TokenPlaces;

/// The changes that clients' adapters make to one layer, each to its own client's batch: by batched
/// products where they are products of two thin matrices. Where there is one batch, the masks say
/// whose it is.
pub struct JointDelta {
    /// Of each client, by its place among those that are trained together.
    pub of_clients: Vec<Rc<dyn Delta>>,
}

impl JointDelta {
    fn of(&self, masks: &Masks) -> Result<&dyn Delta, ModelError> {
        let delta = masks
            .client()
            .and_then(|client| self.of_clients.get(client));
        delta.map(|delta| &**delta).ok_or_else(|| {
            ModelError::Refused("a batch is of none of the clients that train together".to_owned())
        })
    }

    /// The clients' thin products, in the order of a pass, if they are of one shape.
    fn thin_products(&self, masks: &Masks) -> Option<Vec<ThinProduct<'_>>> {
        let of_member = |client: Option<usize>| self.of_clients.get(client?)?.thin_product();
        let members = masks.members()?.iter();
        let products = members.map(|member| of_member(member.masks.client()));
        let products = products.collect::<Option<Vec<_>>>()?;
        let first = products.first()?;
        let alike = |other: &ThinProduct<'_>| {
            other.a.size() == first.a.size()
                && other.scaling == first.scaling
                && other.dropout == first.dropout
                && other.vectors.is_some() == first.vectors.is_some()
        };
        products.iter().all(alike).then_some(products)
    }
}

impl Delta for JointDelta {
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let Some(masks) = masks else {
            let message = "the adapters of several clients are told apart by their masks alone";
            return Err(ModelError::Refused(message.to_owned()));
        };
        let Some(products) = self.thin_products(masks) else {
            return masks.each_batch(x, |batch, own| self.of(own)?.forward(batch, Some(own)));
        };
        let x = dropout(x, products[0].dropout, Some(masks))?;
        let places = masks.places(&x)?;
        Ok(match products[0].vectors {
            Some(_) => by_shared_matrices(&x, &products, &places)?,
            None => by_own_matrices(&x, &products, &places)?,
        })
    }

    fn finish_backward(&self) -> Result<(), ModelError> {
        self.of_clients
            .iter()
            .try_for_each(|delta| delta.finish_backward())
    }
}

/// Of matrices that clients have each its own, (1, tokens of all, d_out): by two batched products.
fn by_own_matrices(
    x: &Tensor,
    products: &[ThinProduct<'_>],
    places: &TokenPlaces,
) -> Result<Tensor, TchError> {
    let stack = |of: fn(&ThinProduct<'_>) -> Tensor| {
        Tensor::f_stack(&products.iter().map(of).collect::<Vec<_>>(), 0)
    };
    let a = stack(|product| product.a.shallow_clone())?;
    let b = stack(|product| product.b.shallow_clone())?;
    let narrow = places.apart(x)?.f_matmul(&a.f_transpose(1, 2)?)?;
    let narrow = narrow.f_mul_scalar(products[0].scaling)?;
    places.side_by_side(&narrow.f_matmul(&b.f_transpose(1, 2)?)?)
}

/// Of matrices that all clients share, between vectors of their own.
fn by_shared_matrices(
    x: &Tensor,
    products: &[ThinProduct<'_>],
    places: &TokenPlaces,
) -> Result<Tensor, TchError> {
    let vectors = products.iter().filter_map(|product| product.vectors);
    let (middle, outer): (Vec<&Tensor>, Vec<&Tensor>) = vectors.unzip();
    let of_tokens = |vectors: &[&Tensor]| {
        Tensor::f_stack(vectors, 0)?.f_index_select(0, &places.batch_of_token)
    };
    let product = &products[0];
    // In the kind of what they multiply, or all that comes after would be as wide as they are.
    let middle = of_tokens(&middle)?.f_mul_scalar(product.scaling)?;
    let narrow = x.f_linear(product.a, None::<&Tensor>)?;
    let narrow = narrow.f_mul(&middle.f_to_kind(narrow.kind())?)?;
    let wide = narrow.f_linear(product.b, None::<&Tensor>)?;
    wide.f_mul(&of_tokens(&outer)?.f_to_kind(wide.kind())?)
}
