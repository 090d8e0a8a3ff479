//! Python source text, by exact byte spans: where methods are, how one is cut
//! out, put back, damaged and described. Nothing here runs Python.

mod candidate;
mod lines;
mod method;
mod mutants;
mod parsed;
mod splice;

pub use candidate::{Candidate, Invalid, candidate};
pub use method::{MethodDef, MethodKind, methods};
pub use mutants::{Mutant, MutantKind, mutants};
pub use parsed::SyntaxError;
pub use splice::{removed, sabotaged, source_of, spliced, stub};
