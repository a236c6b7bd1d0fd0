//! Code of the program that embeds this, which may panic wherever it is called.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::codec::BoxError;

/// Calls what may panic. That what it borrows may be half-changed then is the caller's affair.
pub(super) fn catch<T>(callback: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(callback)).map_err(|panic| said(&*panic))
}

/// What was said at a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").to_owned()
}

/// What an error says.
pub(super) fn words(error: &BoxError) -> String {
    catch(|| error.to_string()).unwrap_or_else(|what| format!("an error that panicked: {what}"))
}
