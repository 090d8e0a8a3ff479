//! Finds the best available description of a function or method.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fixfly_runtime::DescribedBy;

use super::method::MethodDef;
use super::package::{ClassId, Package};
use super::reference::{MOST, Reference};
use super::rest::capped;

/// A module, one of its classes, and a member that the class defines.
type Member = (String, String, String);

/// Describes the functions and methods of a package. It never uses their bodies and comments.
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
    /// Reads the modules of a package: their text by path, relative to the root of the
    /// repository.
    pub fn new(files: &BTreeMap<String, String>, mut reference: Reference) -> Self {
        let modules: HashMap<_, _> =
            files.keys().map(|file| (file.clone(), module_name(files, file))).collect();
        let package = Package::of(files.iter().map(|(file, text)| {
            (modules[file].clone(), file.ends_with("__init__.py"), text.as_str())
        }));
        let bound = bound(&package, &mut reference);
        Describer { package, bound, unbound: reference, modules }
    }

    /// The description of a function or method of `file`, and its source.
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
        if id.name.is_empty() {
            return self.unbound.function(id.module, name);
        }
        let key = (id.module.to_string(), id.name.to_string(), name.to_string());
        let unbound = || self.unbound.lookup(id.module, id.name, name);
        self.bound.get(&key).map(String::as_str).or_else(unbound)
    }

    /// The description of the nearest inherited method of that name.
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

/// The dotted name of a file's module, without folders that only lead to a package.
fn module_name(files: &BTreeMap<String, String>, file: &str) -> String {
    let is_package = |end: &usize| files.contains_key(&format!("{}/__init__.py", &file[..*end]));
    let package = file.match_indices('/').map(|(at, _)| at).find(is_package);
    let start = package.and_then(|end| file[..end].rfind('/')).map_or(0, |at| at + 1);
    let path = file[start..].strip_suffix(".py").unwrap_or(&file[start..]);
    path.strip_suffix("/__init__").unwrap_or(path).replace('/', ".")
}

/// Takes from the reference the entries of the package's classes. The description of an
/// inherited method describes the method itself only if the method's own class is not in
/// the reference: otherwise it may hold only for the subclass.
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
        } else if let Some(ancestor) = package.ancestors(id).into_iter().find(defines)
            && !described.contains(&ancestor)
        {
            inherited.entry(member(ancestor, name)).or_insert_with(|| text.to_string());
        }
        true
    });
    inherited.extend(own);
    inherited
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::super::method::methods;
    use super::*;

    const FILES: &[(&str, &str)] = &[
        ("src/birds/__init__.py", "from .base import Bird\n"),
        (
            "src/birds/base.py",
            "class Flyer:\n    def land(self): return 1\n    def dive(self): return 2\n\n\
             class Bird(Flyer):\n    'A bird.'\n    def sing(self):\n        'Sings.'\n\
             \x20   def fly(self): return 3\n    def hide(self): return 4  # secret\n\
             def count(flock): return 5\ndef feed(flock):\n    'Feeds.'\n\
             def clip(flock): return 6\n",
        ),
        (
            "src/birds/water.py",
            "from birds import Bird\n\nclass Duck(Bird):\n    def sing(self): pass\n    \
             def fly(self): pass\n    def swim(self): pass\n\n\
             class Flyer:\n    def land(self): pass\n",
        ),
    ];

    const DOCUMENT: &str = "\
.. currentmodule:: birds

.. function:: count(flock)

    Counts.

.. class:: Bird

    .. method:: sing()

        Not read.

    .. method:: fly()

        Flies.

    .. method:: land()

        Lands.
";

    #[test]
    fn the_best_source_describes() {
        #[track_caller]
        fn check(file: &str, qualname: &str, text: &str, by: DescribedBy) {
            let files: BTreeMap<_, _> =
                FILES.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect();
            let mut reference = Reference::default();
            reference.add(DOCUMENT);
            let describer = Describer::new(&files, reference);
            let found = methods(&files[file]).unwrap();
            let method = found.iter().find(|method| method.qualname == qualname).unwrap();
            assert_eq!(describer.describe(file, method), (text.to_string(), by));
        }
        let (base, water) = ("src/birds/base.py", "src/birds/water.py");
        check(base, "Bird.sing", "Sings.", DescribedBy::Docstring);
        check(base, "Bird.fly", "Flies.", DescribedBy::Reference);
        check(base, "Flyer.land", "Lands.", DescribedBy::Reference);
        check(water, "Duck.sing", "Sings.", DescribedBy::Overridden);
        check(water, "Duck.fly", "Flies.", DescribedBy::Overridden);
        check(base, "Bird.hide", "A bird.", DescribedBy::Class);
        check(water, "Duck.swim", "", DescribedBy::Nothing);
        check(water, "Flyer.land", "", DescribedBy::Nothing);
        check(base, "Flyer.dive", "", DescribedBy::Nothing);
        check(base, "count", "Counts.", DescribedBy::Reference);
        check(base, "feed", "Feeds.", DescribedBy::Docstring);
        check(base, "clip", "", DescribedBy::Nothing);
    }
}
