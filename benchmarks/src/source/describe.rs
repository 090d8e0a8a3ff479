//! What a method is said to do, from the best source there is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fixfly_runtime::DescribedBy;

use super::method::MethodDef;
use super::package::{ClassId, Package};
use super::reference::{MOST, Reference};
use super::rest::capped;

/// A module, a class of it and a member that class defines.
type Member = (String, String, String);

/// Describes the methods of a package. What their bodies and comments say is
/// never used.
#[derive(Debug)]
pub struct Describer {
    package: Package,
    /// Entries of the reference whose class is in the package.
    bound: HashMap<Member, String>,
    /// The other entries.
    unbound: Reference,
    modules: HashMap<String, String>,
}

impl Describer {
    /// Reads the modules of a package: paths relative to the root of its
    /// repository, each with its text.
    pub fn new(files: &BTreeMap<String, String>, mut reference: Reference) -> Self {
        let modules: HashMap<_, _> =
            files.keys().map(|file| (file.clone(), module_name(files, file))).collect();
        let package = Package::of(files.iter().map(|(file, text)| {
            (modules[file].clone(), file.ends_with("__init__.py"), text.as_str())
        }));
        let bound = bound(&package, &mut reference);
        Describer { package, bound, unbound: reference, modules }
    }

    /// What a method of `file` does, and who says so.
    pub fn describe(&self, file: &str, method: &MethodDef) -> (String, DescribedBy) {
        let module = self.modules.get(file).map_or("", String::as_str);
        let class = method.classes.join(".");
        let id = ClassId { module, name: &class };
        if let Some(text) = filled(method.docstring.as_deref()) {
            return (text.to_string(), DescribedBy::Docstring);
        }
        let sources = [
            (DescribedBy::Reference, self.documented(id, &method.name)),
            (DescribedBy::Overridden, self.overridden(id, &method.name)),
            (DescribedBy::Class, filled(method.class_docstring.as_deref())),
        ];
        let found = sources.into_iter().find_map(|(by, text)| Some((text?, by)));
        let (text, by) = found.unwrap_or(("", DescribedBy::Nothing));
        (capped(text, MOST).to_string(), by)
    }

    fn documented(&self, id: ClassId<'_>, name: &str) -> Option<&str> {
        let key = (id.module.to_string(), id.name.to_string(), name.to_string());
        let unbound = || self.unbound.lookup(id.module, id.name, name);
        self.bound.get(&key).map(String::as_str).or_else(unbound)
    }

    /// What is said about the nearest method of that name that the class inherits.
    fn overridden(&self, id: ClassId<'_>, name: &str) -> Option<&str> {
        self.package.ancestors(id).into_iter().find_map(|ancestor| {
            let docstring = self.package.class(ancestor)?.methods.get(name)?;
            filled(docstring.as_deref()).or_else(|| self.documented(ancestor, name))
        })
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The module of a file: folders that only lead to a package are left out.
fn module_name(files: &BTreeMap<String, String>, file: &str) -> String {
    let path = file.strip_suffix(".py").unwrap_or(file);
    let path = path.strip_suffix("/__init__").unwrap_or(path);
    let folders: BTreeSet<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    let is_package = |end: usize| files.contains_key(&format!("{}/__init__.py", &file[..end]));
    let root = folders.iter().copied().find(|&end| is_package(end));
    let start = root.and_then(|end| path[..end].rfind('/')).map_or(0, |at| at + 1);
    path[start..].replace('/', ".")
}

/// Takes from the reference what leads to a class of the package. What is said
/// of an inherited method is said of the method itself, if its own class is not
/// in the reference: otherwise it may hold for the heir alone.
fn bound(package: &Package, reference: &mut Reference) -> HashMap<Member, String> {
    let member = |id: ClassId<'_>, name: &str| (id.module.into(), id.name.into(), name.into());
    let described: BTreeSet<_> =
        reference.classes().filter_map(|class| package.find(class)).collect();
    let (mut own, mut inherited) = (HashMap::new(), HashMap::new());
    reference.take(|class, name, text| {
        let Some(id) = package.find(class) else { return false };
        let defines = |id: &ClassId<'_>| {
            package.class(*id).is_some_and(|class| class.methods.contains_key(name))
        };
        if defines(&id) {
            own.entry(member(id, name)).or_insert_with(|| text.to_string());
        } else if let Some(ancestor) = package.ancestors(id).into_iter().find(defines) {
            if !described.contains(&ancestor) {
                inherited.entry(member(ancestor, name)).or_insert_with(|| text.to_string());
            }
        }
        true
    });
    inherited.extend(own);
    inherited
}
