//! Reads the tags of a page, for tests.

/// The text between `<` and `>` of each tag. A `<` that no `>` follows is a tag, too.
pub(crate) fn tags(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, next) = after.split_once('>').unwrap_or((after, ""));
        tags.push(tag.to_string());
        rest = next;
    }
    tags
}
