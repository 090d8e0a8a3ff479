//! The hazards of running candidates inside Django's own test suite, each with
//! a test, on the real Django. The facts here are names of methods and tests;
//! their source always comes from the fetched copy.

use std::process::Command;

use crate::common::{Bench, Django, sandbox};
use fixfly_benchmarks::{RunPath, source};
use fixfly_runtime::{Answer, Benchmark, Evaluator, Outcome, Split, TestOutcome, hex};

type Named = (&'static str, &'static [&'static str]);

/// Calls `super()`.
const SUPER: Named = (
    "django/forms/fields.py::IntegerField.to_python",
    &["forms_tests.field_tests.test_integerfield.IntegerFieldTest.test_integerfield_1"],
);
const PROPERTY: Named = (
    "django/forms/boundfield.py::BoundField.auto_id",
    &["forms_tests.tests.test_forms.FormsTestCase.test_auto_id"],
);
const CACHED_PROPERTY: Named = (
    "django/http/request.py::HttpRequest.accepted_types",
    &["requests_tests.test_accept_header.AcceptHeaderTests.test_accept_headers"],
);
const CLASS_METHOD: Named = (
    "django/http/request.py::HttpHeaders.parse_header_name",
    &["requests_tests.tests.HttpHeadersTests.test_parse_header_name"],
);
const ASYNC: Named = (
    "django/contrib/sessions/backends/base.py::SessionBase.apop",
    &["sessions_tests.tests.CacheSessionTests.test_pop_async"],
);
const GENERATOR: Named = (
    "django/core/paginator.py::Paginator.get_elided_page_range",
    &["pagination.tests.PaginationTests.test_get_elided_page_range"],
);
/// Behind two decorators.
const DECORATED: Named = (
    "django/contrib/auth/views.py::PasswordResetConfirmView.dispatch",
    &["auth_tests.test_views.PasswordResetTest.test_confirm_valid"],
);
const MANGLED: Named = (
    "django/db/backends/sqlite3/operations.py::DatabaseOperations.__references_graph",
    &["backends.base.test_operations.SqlFlushTests.test_execute_sql_flush_statements"],
);
/// Its module is imported by the test itself.
const LAZY: Named = (
    "django/core/management/commands/sendtestemail.py::Command.handle",
    &["mail.test_sendtestemail.SendTestEmailManagementCommand.test_single_receiver"],
);
/// Other methods, and another class, stand below it.
const EARLY: Named = (
    "django/core/paginator.py::Paginator.validate_number",
    &["pagination.tests.PaginationTests.test_invalid_page_number"],
);
const FILES: Named = (
    "django/core/files/storage/filesystem.py::FileSystemStorage.listdir",
    &["file_storage.tests.FileStorageTests.test_listdir"],
);

/// Says which path runs it, and whether its module was imported for it alone.
const WHERE: &str = "import sys
names = list(sys.modules)
hot = 'hot' in names
late = hot and names.index('hot') < names.index(__name__)
raise AssertionError(f'hot={hot} late={late}')";

/// Fails unless both paths accept the original, and the hot one is taken.
async fn check_swap(django: &Django, named: Named, late: bool) {
    let id = named.0;
    let bench = Bench::new(django, &[named]).await;
    let passed = bench.both(id, &bench.truth(id)).await;
    assert_eq!(passed.outcome, Outcome::Passed, "{}", passed.text);
    let cell = if bench.truth(id).contains("super()") { "super()\n" } else { "" };
    // Another kind of function takes the cold path.
    let more = if bench.truth(id).contains("yield") { "\nyield" } else { "" };
    let seen = bench.hot(id, &bench.with_body(id, &format!("{cell}{WHERE}{more}"))).await;
    let late = if late { "True" } else { "False" };
    let expected = format!("AssertionError: hot=True late={late}");
    assert!(seen.text.contains(&expected), "{id}: {expected}\n{}", seen.text);
    let stub = bench.both(id, &bench.stub(id)).await;
    assert_eq!(stub.outcome, Outcome::Failed);
}

macro_rules! swapped {
    ($($name:ident: $named:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let Some(django) = Django::here() else { return };
            check_swap(&django, $named, false).await;
        }
    )*};
}

swapped! {
    a_method_with_a_cell_for_super_is_swapped: SUPER;
    a_property_is_swapped: PROPERTY;
    a_cached_property_is_swapped: CACHED_PROPERTY;
    a_class_method_is_swapped: CLASS_METHOD;
    an_async_method_is_swapped: ASYNC;
    a_generator_is_swapped: GENERATOR;
    a_method_behind_decorators_is_swapped: DECORATED;
    a_private_method_is_swapped: MANGLED;
}

#[tokio::test]
async fn a_module_that_only_the_test_imports_comes_from_the_candidates_file() {
    let Some(django) = Django::here() else { return };
    check_swap(&django, LAZY, true).await;
}

#[tokio::test]
async fn tracebacks_show_the_candidates_own_lines_and_numbers() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[EARLY]).await;
    let id = EARLY.0;
    let line = |text: &str| {
        let frame = text.lines().skip_while(|line| !line.contains("in __getitem__")).nth(1);
        frame.unwrap_or_default().trim().to_string()
    };
    let short = "return Page([], 1, self)['mine']";
    let mut below = Vec::new();
    for candidate in [
        bench.with_body(id, short),
        bench.with_body(id, &format!("# {}\n{short}", "\n# ".repeat(30))),
    ] {
        let seen = bench.both(id, &candidate).await;
        assert!(seen.text.contains("return Page([], 1, self)['mine']"), "{}", seen.text);
        below.push(line(&seen.text));
    }
    assert!(!below[0].is_empty());
    assert_eq!(below[0], below[1], "the line of a later method");
}

#[tokio::test]
async fn the_original_is_not_in_the_sandbox() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[DECORATED]).await;
    let id = DECORATED.0;
    let truth = bench.truth(id);
    let lines: Vec<&str> = truth.lines().map(str::trim).collect();
    let secret = lines.iter().max_by_key(|line| line.len()).unwrap();
    let secret = hex(secret);
    let body = format!(
        "import gc, glob, importlib.util, inspect, linecache, os, sys, types
super()
secret = bytes.fromhex('{secret}')
own = sys._getframe().f_code
texts = {{path: open(path, 'rb').read() for path in glob.glob('/src/**/*.py', recursive=True)}}
assert len(texts) > 1000
texts['inspect'] = inspect.getsource(sys.modules[__name__]).encode()
texts['linecache'] = ''.join(linecache.getlines(__file__)).encode()
folder, name = os.path.split(__file__)
for path in glob.glob(f'{{folder}}/**/{{name[:-3]}}.*', recursive=True):
    texts[path] = open(path, 'rb').read()
leaks = [path for path, text in texts.items() if secret in text]
cached = os.path.getsize(importlib.util.cache_from_source(__file__))
gc.unfreeze()
twins = [f for f in gc.get_objects() if type(f) is types.FunctionType and f.__code__ is not own
         and f.__code__.co_filename == __file__ and f.__code__.co_qualname == own.co_qualname]
raise AssertionError(f'leaks={{leaks}} cached={{cached}} twins={{twins}}')"
    );
    let seen = bench.both(id, &bench.with_body(id, &body)).await;
    assert!(seen.text.contains("AssertionError: leaks=[] cached=0 twins=[]"), "{}", seen.text);
}

#[tokio::test]
async fn one_candidates_files_are_gone_before_the_next() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[FILES]).await;
    let id = FILES.0;
    let poison = bench.with_body(
        id,
        "import os, shutil
for folder in ('/tmp', '/dev/shm', '/var/tmp'):
    for name in os.listdir(folder):
        shutil.rmtree(f'{folder}/{name}', ignore_errors=True)
    try:
        for number in range(100):
            with open(f'{folder}/poison{number}', 'wb') as file:
                file.write(bytes(8 << 20))
    except OSError as error:
        print(folder, error.errno)
raise AssertionError('poisoned')",
    );
    let look = bench.with_body(
        id,
        "import glob
left = [glob.glob(f'{folder}/**/poison*', recursive=True) for folder in ('/tmp', '/dev', '/var')]
raise AssertionError(f'left={left}')",
    );
    for path in ["hot", "cold"] {
        let seen = match path {
            "hot" => bench.hot(id, &poison).await,
            _ => bench.cold(id, &poison).await,
        };
        assert!(seen.text.contains("AssertionError: poisoned"), "{}", seen.text);
        let seen = bench.both(id, &look).await;
        assert!(seen.text.contains("AssertionError: left=[[], [], []]"), "{}", seen.text);
        let passed = bench.both(id, &bench.truth(id)).await;
        assert_eq!(passed.outcome, Outcome::Passed, "{}", passed.text);
    }
}

#[tokio::test]
async fn tests_that_need_a_user_who_is_not_root_pass() {
    let Some(django) = Django::here() else { return };
    let items: &[Named] = &[
        (
            "django/template/loaders/filesystem.py::Loader.get_contents",
            &["template_tests.test_loaders.FileSystemLoaderTests.test_permissions_error"],
        ),
        (
            "django/core/files/storage/filesystem.py::FileSystemStorage._save",
            &["file_uploads.tests.DirectoryCreationTests.test_readonly_root"],
        ),
        (
            "django/core/management/commands/compilemessages.py::Command.compile_messages",
            &["i18n.test_compilation.PoFileTests.test_no_write_access"],
        ),
    ];
    let bench = Bench::new(&django, items).await;
    for (id, _) in items {
        let seen = bench.cold(id, &bench.truth(id)).await;
        if id.contains("compilemessages") && Command::new("msgfmt").arg("-V").output().is_err() {
            eprintln!("skipped: {id} needs msgfmt");
            continue;
        }
        assert_eq!(seen.outcome, Outcome::Passed, "{id}\n{}", seen.text);
        assert_eq!(bench.hot(id, &bench.truth(id)).await.outcome, Outcome::Passed, "{id}");
    }
}

#[test]
fn every_module_that_compiles_has_its_bytecode() {
    let Some(django) = Django::here() else { return };
    let check = "import importlib.util, os, sys
for folder, _, names in os.walk('.'):
    for path in (os.path.join(folder, name) for name in names if name.endswith('.py')):
        try:
            head = open(importlib.util.cache_from_source(path), 'rb').read(16)
            text = open(path, 'rb').read()
            if head != importlib.util.MAGIC_NUMBER + bytes([1, 0, 0, 0]) + importlib.util.source_hash(text):
                print('stale', path)
        except FileNotFoundError:
            try:
                compile(open(path, 'rb').read(), path, 'exec')
                print('missing', path)
            except (SyntaxError, ValueError):
                pass";
    let python = django.folder.join("venv/bin/python");
    let folders = ["django", "tests"].map(|name| django.folder.join("source").join(name));
    for folder in folders {
        let output = Command::new(&python).args(["-c", check]).current_dir(folder).output();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), "");
    }
}

#[tokio::test]
async fn a_flush_on_the_hot_path_meets_its_own_groups_tables_only() {
    let Some(django) = Django::here() else { return };
    let id = "django/db/backends/sqlite3/operations.py::DatabaseOperations.sql_flush";
    let bench = Bench::new(&django, &[(id, &["transactions.tests.AtomicTests.test_commit"])]).await;
    let body = "names = self.connection.introspection.table_names()
raise AssertionError(f'{len(names)} tables, of {sorted({n.split(\"_\")[0] for n in names})}')";
    let seen = bench.both(id, &bench.with_body(id, body)).await;
    let message = seen.text.split("AssertionError: ").last().unwrap().trim();
    let count: usize = message.split(' ').next().unwrap().parse().expect(message);
    assert!(count < 20, "{message}");
    assert!(message.ends_with("of ['auth', 'django', 'transactions']"), "{message}");
}

#[tokio::test]
async fn the_same_candidate_gives_the_same_bytes_by_both_paths_and_everywhere() {
    let Some(django) = Django::here() else { return };
    let items =
        [SUPER, PROPERTY, CACHED_PROPERTY, CLASS_METHOD, ASYNC, GENERATOR, MANGLED, LAZY, FILES];
    let (one, other) = (Bench::new(&django, &items).await, Bench::new(&django, &items).await);
    for (id, _) in items {
        let (file, qualname) = id.split_once("::").unwrap();
        let text = django.text(file);
        let methods = source::methods(&text).unwrap();
        let method = methods.iter().find(|method| method.qualname == qualname).unwrap();
        let mutant = source::mutants(&text, method, 0, 1).remove(0).source;
        assert_eq!(one.both(id, &one.truth(id)).await.outcome, Outcome::Passed, "{id}");
        for candidate in [one.stub(id), mutant] {
            let first = one.both(id, &candidate).await;
            for _ in 0..2 {
                assert_eq!(one.hot(id, &candidate).await, first, "{id}: another run");
            }
            assert_eq!(other.hot(id, &candidate).await, first, "{id}: another sandbox");
        }
    }
}

#[tokio::test]
async fn a_skip_is_not_a_pass() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[SUPER]).await;
    let body = "import unittest\nraise unittest.SkipTest('not today')";
    let seen = bench.both(SUPER.0, &bench.with_body(SUPER.0, body)).await;
    assert_eq!(seen.outcome, Outcome::Failed);
    assert_eq!(seen.tests.unwrap().results[0].outcome, TestOutcome::Skipped);
    insta::assert_snapshot!(seen.text);
}

#[tokio::test]
async fn candidates_in_every_shape_are_observations() {
    let Some(django) = Django::here() else { return };
    let id = CLASS_METHOD.0;
    let bench = Bench::new(&django, &[CLASS_METHOD]).await;
    let truth = bench.truth(id);
    let indented = truth.replace('\n', "\n    ");
    let shapes = [
        ("a syntax error", "def parse_header_name(cls, header)\n    return header\n".to_string()),
        ("no method", "return header.title()\n".to_string()),
        ("another method", "def unparse(cls, header):\n    return header\n".to_string()),
        ("two methods", format!("{truth}\n\n{truth}")),
        ("a class around it", format!("class HttpHeaders:\n    {indented}\n")),
        ("fences", format!("Here it is:\n\n```python\n{truth}\n```\n\nIt parses.")),
        ("decorators", format!("@classmethod\n{truth}\n")),
        ("other decorators", format!("@staticmethod\n{truth}\n")),
        ("a helper", format!("def helper(x):\n    return x\n\n\n{truth}\n")),
        ("an import", format!("import os\n\n\n{truth}\n")),
        ("nothing", String::new()),
    ];
    let mut observations = String::new();
    for (shape, candidate) in shapes {
        let seen = bench.both(id, &candidate).await;
        observations += &format!("== {shape}: {:?}\n{}\n", seen.outcome, seen.text);
    }
    insta::assert_snapshot!(observations);
}

#[tokio::test]
async fn the_judge_confirms_the_original_and_refuses_the_stub() {
    let Some(django) = Django::here() else { return };
    let methods = django.methods(vec![django.item(SUPER.0, RunPath::Hot, SUPER.1)]);
    let task = &methods.tasks(Split::Benchmark).await.unwrap()[0];
    let (one, fresh) = (sandbox(task).await, sandbox(task).await);
    for (answer, solved) in [(Answer::Truth, true), (Answer::Stub, false)] {
        let candidate = methods.ground_truth().answer(task, answer).unwrap();
        let seen = methods.evaluate(task, &candidate, &*one).await.unwrap();
        let verdict = methods.judge(task, &seen.candidate.unwrap(), &*fresh).await.unwrap();
        assert_eq!((verdict.solved, verdict.exact_match), (solved, solved));
    }
}
