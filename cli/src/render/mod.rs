//! What goes to standard output, apart from writing it.

pub(crate) mod findings;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod table;
pub(crate) mod text;
