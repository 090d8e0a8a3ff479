//! Parts of a patch whose paths lead through a symbolic link of the same patch.

use super::{FilePatch, LeftOut, name};

/// Why a part is left out that leads through one of `links`; `None` if it leads through none,
/// if it only takes a file out of the folder whose place the link takes, or if the link is
/// deleted.
pub(super) fn behind(
    part: &FilePatch<'_>,
    links: &[&FilePatch<'_>],
    is_test: &dyn Fn(&[u8]) -> bool,
) -> Option<LeftOut> {
    for link in links.iter().filter(|link| part.is_behind(link)) {
        let is_removed = link.is_deleted && !link.is_new && link.new.is_none();
        let targets = match leaves(part, link) {
            true => Some(link.targets(b'+').unwrap_or_default()),
            false => link.targets(b'-').filter(|_| is_removed && link.removes_only()),
        };
        let Some(targets) = targets else {
            return Some(LeftOut::Unreadable("a path through a symbolic link"));
        };
        // patch(1) follows a link that it makes first, or deletes last.
        let rests = part.names.iter().flat_map(|name| {
            link.names.iter().filter_map(|link| name.strip_prefix(link.as_slice()))
        });
        let mut ends = rests.filter(|rest| rest.starts_with(b"/")).flat_map(|rest| {
            targets.iter().map(move |target| name::paths(&[target, rest].concat())[0].clone())
        });
        if let Some(test) = ends.find(|end| is_test(end)) {
            return Some(LeftOut::Test(test));
        }
    }
    None
}

/// Whether a part deletes a file, or moves it away, from a folder whose place `link` takes.
fn leaves(part: &FilePatch<'_>, link: &FilePatch<'_>) -> bool {
    let Some(old) = &part.old else { return false };
    let is_gone = match &part.new {
        Some(new) => new != old,
        None => part.is_deleted && part.removes_only(),
    };
    let behind = || part.names.iter().filter(|name| link.is_before(name));
    is_gone && link.is_new && behind().all(|name| name::paths(name).contains(old))
}

/// Leaves out links and the parts behind them together: a link cannot take the place of a
/// folder in which a file stays, and no file is deleted for a link that is not made.
pub(super) fn agree(parts: &[FilePatch<'_>], reasons: &mut [Option<LeftOut>]) {
    let links: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].is_link).collect();
    let pairs: Vec<[usize; 2]> = links
        .iter()
        .flat_map(|link| {
            let behind = (0..parts.len()).filter(|at| parts[*at].is_behind(&parts[*link]));
            behind.map(|at| [*link, at])
        })
        .collect();
    loop {
        let mut found = false;
        for [link, at] in &pairs {
            let (out, why) = match (&reasons[*link], &reasons[*at]) {
                (None, Some(_)) => (*link, "a symbolic link before a path that is left out"),
                (Some(_), None) => (*at, "a path behind a symbolic link that is left out"),
                _ => continue,
            };
            reasons[out] = Some(LeftOut::Unreadable(why));
            found = true;
        }
        if !found {
            return;
        }
    }
}
