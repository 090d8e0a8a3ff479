//! Python source text, by exact byte spans: finds functions and methods, cuts one out, puts
//! it back, mutates and describes it. Nothing here runs Python.

mod beside;
mod candidate;
mod copies;
mod describe;
mod function;
mod joint;
mod likeness;
mod lines;
mod method;
mod mutants;
mod nested;
mod package;
mod parsed;
mod reference;
mod renamed;
mod reserved;
mod rest;
mod screen;
mod splice;

pub use candidate::{Candidate, Invalid, Wanted, candidate, candidate_for};
pub(crate) use copies::{Copies, masked};
pub use describe::Describer;
pub(crate) use function::{NoFunction, is_same_beside, top_function};
pub use joint::{InvalidJoint, JointCandidate, all_removed, all_spliced, joined, joint_candidate};
pub use likeness::{near_duplicates, normal_form, shingles, similarity, tree_hash};
pub(crate) use method::methods_by_name;
pub use method::{Accessor, MethodDef, MethodKind, methods};
pub use mutants::{Mutant, MutantKind, mutants};
pub(crate) use mutants::{edited, next, operator};
pub(crate) use nested::nested;
pub use parsed::SyntaxError;
pub(crate) use parsed::{Parsed, bytes};
pub use reference::Reference;
pub use renamed::Words;
pub use screen::review;
pub use splice::{removed, sabotaged, source_of, spliced, stub};
