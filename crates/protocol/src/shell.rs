//! Commands that people are told to type, which both programs give.

use std::path::Path;

/// A path as a shell takes it for one word.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_snapshot!(shell_word(Path::new("/tmp/batchd-demo-A1")), @"/tmp/batchd-demo-A1");
        assert_snapshot!(shell_word(Path::new("/it's $HOME")), @r"'/it'\''s $HOME'");
        assert_snapshot!(shell_word(Path::new("")), @"''");
    }
}
