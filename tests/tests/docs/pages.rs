//! The pages: every file of Markdown in the workspace.

use std::fs;
use std::path::Path;

use batchd_tests::workspace;

/// A page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Its path in the workspace.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// All of them, in the order of their names.
pub(crate) fn pages() -> Vec<Page> {
    let workspace = workspace().canonicalize().expect("the workspace");
    let mut pages = Vec::new();
    find(&workspace, &workspace, &mut pages);
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn find(workspace: &Path, directory: &Path, pages: &mut Vec<Page>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = !name.starts_with('.') && name != "target";
        if is_ours && path.is_dir() && !path.is_symlink() {
            find(workspace, &path, pages);
        } else if is_ours && name.ends_with(".md") {
            let name = path
                .strip_prefix(workspace)
                .expect("a path of the workspace");
            pages.push(Page {
                name: name.display().to_string(),
                text: fs::read_to_string(&path).expect("a page"),
            });
        }
    }
}
