//! What a submission waits for: on the socket and in the engine the same.

use serde::{Deserialize, Serialize};

/// What a submission waits for. In order: each promises what those before it do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// Nothing: only errors are answered. The items are synced a little later.
    None,
    /// The items are in the kernel: they survive the daemon's death, not the machine's. They are synced a little
    /// later.
    Written,
    /// The items are on the medium: they survive a power cut.
    #[default]
    Synced,
    /// The sink has the items. They are on the medium long before that.
    Delivered,
}
