//! `docs/durability.md` lists the recovery table; this keeps the two together.

use batchd_core::spool::recovery::table::TABLE;

#[test]
fn the_recovery_table_is_documented_row_by_row() {
    let page = include_str!("../../../docs/durability.md");
    for row in &TABLE {
        assert!(
            page.contains(&format!("| {} |", row.found)),
            "missing: {}",
            row.found
        );
    }
}
