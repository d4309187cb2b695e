//! Errors of a partition.

/// Errors of a partition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PartitionError {
    /// A specification that cannot be read.
    #[error(
        "unknown partition `{found}`: expected iid, contiguous, natural:COLUMN, dirichlet(ALPHA), \
         quantity(ALPHA) with ALPHA > 0, or classes(K) with K > 0"
    )]
    Unknown {
        /// The specification as it was given.
        found: String,
    },
    /// Some client would get nothing.
    #[error("{clients} clients cannot share {examples} examples{of}: some would have none")]
    EmptyShard {
        /// The clients.
        clients: usize,
        /// The examples.
        examples: usize,
        /// Of what group the examples are, if not all.
        of: String,
    },
    /// No clients at all.
    #[error("0 clients: expected at least 1")]
    NoClients,
    /// More classes per client than there are.
    #[error("classes({per_client}): the training split has only {classes} classes")]
    TooManyClasses {
        /// Requested classes per client.
        per_client: usize,
        /// Classes there are.
        classes: usize,
    },
    /// Some class would belong to no client.
    #[error(
        "classes({per_client}) with {clients} clients covers {} of {classes} classes: use more \
         clients or more classes each", per_client * clients
    )]
    ClassLeftOver {
        /// Requested classes per client.
        per_client: usize,
        /// The clients.
        clients: usize,
        /// Classes there are.
        classes: usize,
    },
    /// A partition by label of examples without labels.
    #[error("{partition}: example {position} has no label")]
    Unlabelled {
        /// The partition.
        partition: String,
        /// The example's position.
        position: usize,
    },
    /// A natural partition by a column that was not read.
    #[error("natural:{column}: the training split has no column `{column}`")]
    NoColumn {
        /// The column's name.
        column: String,
    },
}
