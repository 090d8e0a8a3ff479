//! What the flags of several verbs share.

use std::sync::Arc;

use fixfly_runtime::{Entry, Host, Split, find};
use fixfly_sandboxes::HostOptions;

use crate::failure::Usage;

/// The help text of a flag that takes a plug-in's name.
pub(crate) fn choices<F>(what: &str, all: &[Entry<F>]) -> String {
    let names = all.iter().map(|entry| format!("\n- {}: {}", entry.name, entry.about));
    format!("{what}:{}", names.collect::<String>())
}

/// The split of that name.
pub(crate) fn split(name: &str) -> Result<Split, String> {
    Split::ALL
        .into_iter()
        .find(|split| split.name() == name)
        .ok_or_else(|| format!("expected one of: {}", Split::ALL.map(Split::name).join(", ")))
}

/// The plug-in of that name.
pub(crate) fn named<'a, F>(
    kind: &str,
    all: &'a [Entry<F>],
    name: &str,
) -> Result<&'a Entry<F>, Usage> {
    find(kind, all, name).map_err(Usage)
}

/// Opens the sandboxes of that name, on these Docker engines if any are given.
pub(crate) fn host(name: &str, docker_hosts: &[String]) -> anyhow::Result<Arc<dyn Host>> {
    host_with(name, &HostOptions { docker_hosts: docker_hosts.into(), ..HostOptions::default() })
}

/// Opens the sandboxes of that name with these options.
pub(crate) fn host_with(name: &str, options: &HostOptions) -> anyhow::Result<Arc<dyn Host>> {
    named("sandbox", fixfly_sandboxes::ALL, name)?;
    options.check(name).map_err(Usage)?;
    Ok(fixfly_sandboxes::open_with(name, options)?)
}

/// The number of parallel jobs: as given, or one per CPU.
pub(crate) fn cpus(asked: Option<u32>) -> usize {
    asked.map_or_else(fixfly_runtime::cpus, |jobs| jobs as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sandbox_takes_is_an_error_of_usage() {
        let error = |name, engines: &[String]| host(name, engines).err().unwrap();
        let local = error("local", &["unix:///x".to_string()]);
        assert_eq!(local.to_string(), "--docker-host needs --sandbox docker, not local");
        assert!(local.is::<Usage>() && error("none", &[]).is::<Usage>());
    }
}
