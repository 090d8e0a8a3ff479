//! Names to which Python itself gives a meaning.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::renamed::parts;

const KEYWORDS: &str = "False None True and as assert async await break class continue def del \
    elif else except finally for from global if import in is lambda nonlocal not or pass raise \
    return try while with yield _ case match type";

/// What the module `builtins` of CPython 3.14 and `site` define.
const BUILTINS: &str = "ArithmeticError AssertionError AttributeError BaseException \
    BaseExceptionGroup BlockingIOError BrokenPipeError BufferError BytesWarning ChildProcessError \
    ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError \
    DeprecationWarning EOFError Ellipsis EncodingWarning EnvironmentError Exception \
    ExceptionGroup FileExistsError FileNotFoundError FloatingPointError FutureWarning \
    GeneratorExit IOError ImportError ImportWarning IndentationError IndexError InterruptedError \
    IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError \
    NameError NotADirectoryError NotImplemented NotImplementedError OSError OverflowError \
    PendingDeprecationWarning PermissionError ProcessLookupError PythonFinalizationError \
    RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration \
    StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError \
    TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError \
    UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning WindowsError \
    ZeroDivisionError abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable \
    chr classmethod compile complex copyright credits delattr dict dir divmod enumerate eval \
    exec exit filter float format frozenset getattr globals hasattr hash help hex id input int \
    isinstance issubclass iter len license list locals map max memoryview min next object oct \
    open ord pow print property quit range repr reversed round set setattr slice sorted \
    staticmethod str sum super tuple type vars zip";

/// The first parameters of methods, by convention.
const RECEIVERS: &str = "self cls";

static NAMES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| [KEYWORDS, BUILTINS, RECEIVERS].iter().flat_map(|l| l.split(' ')).collect());

/// In lower case, the words that are a reserved name or the end of one.
static ENDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let ends = NAMES.iter().filter_map(|name| parts(name).last().copied());
    NAMES.iter().copied().chain(ends).map(str::to_lowercase).collect()
});

/// Whether a name is a keyword, a builtin, `self`, `cls` or has two underscores on both
/// sides.
pub(super) fn is_reserved(name: &str) -> bool {
    NAMES.contains(name) || (name.starts_with("__") && name.ends_with("__"))
}

/// Whether a reserved name can end with this word, in whatever case.
pub(super) fn ends_reserved(word: &str) -> bool {
    ENDS.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_builtins_and_special_names_are_reserved() {
        #[track_caller]
        fn check(name: &str, reserved: bool) {
            assert_eq!(is_reserved(name), reserved, "{name}");
        }
        check("None", true);
        check("match", true);
        check("ValueError", true);
        check("self", true);
        check("__init__", true);
        check("_init_", false);
        check("", false);
        check("value", false);
    }

    #[test]
    fn words_that_complete_a_reserved_name_are_found_in_any_case() {
        #[track_caller]
        fn check(word: &str, ends: bool) {
            assert_eq!(ends_reserved(word), ends, "{word}");
        }
        check("error", true);
        check("none", true);
        check("iteration", true);
        check("value", false);
    }
}
