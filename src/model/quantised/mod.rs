//! Frozen weights in fewer bits than float32: `--base_precision`.
//!
//! Held so are the weights of the linear layers within the transformer layers, as bitsandbytes does it.
//! Embeddings, norms, biases, heads, an output of its own and whatever is trained in full stay in
//! float32. A weight is brought to float32 where it is multiplied, by activations in float32, and once
//! more in the backward pass; no two are there at once. This is so for bfloat16 too, whether or not a
//! processor multiplies such numbers, so that all give the same bits. Where `--precision` says that
//! products are of narrower numbers, the weight is rounded to them from float32; in bfloat16 it is
//! taken as it lies.
//!
//! What aggregation adds to the base lies beside it in float32, and is added to a weight when that is
//! brought to float32: the codes never change, and nothing that aggregation adds is rounded to them.
//! Model and results are those of a float32 model that has the codes' values.
//!
//! | file | holds |
//! |---|---|
//! | [`precision`] | what a weight is held in |
//! | [`weight`] | a weight on the host |
//! | [`held`] | the same on a device, to be multiplied by |
//! | [`nf4`], [`int8`] | the codes |

pub mod held;
pub mod int8;
pub mod nf4;
pub mod precision;
#[cfg(test)]
mod tests;
pub mod weight;
