use std::path::Path;

use crate::printed;

/// The formats of the files that fixfly writes change only deliberately.
#[test]
fn the_forms_of_files_are_documented() {
    for name in ["episode", "judge", "run"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/{name}.json"));
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == printed(&["schema", name]),
            "to update it: cargo run -- schema {name} > docs/schema/{name}.json, and raise SCHEMA if a \
             reader of today cannot read the new form"
        );
    }
}
