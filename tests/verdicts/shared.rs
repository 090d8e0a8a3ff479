//! The cold path with a prefix that candidates share: it is taken, it leaves nothing for the
//! next candidate, and its verdicts are those of the cold path alone.

use std::sync::Arc;

use fixfly_benchmarks::RunPath;
use fixfly_benchmarks::both::{BothPaths, Verdicts, Way};
use fixfly_runtime::{Outcome, Split};

use crate::common::{Bench, Django};

const ID: &str = "django/http/request.py::HttpHeaders.parse_header_name";
const TESTS: &[&str] = &["requests_tests.tests.HttpHeadersTests.test_parse_header_name"];

/// Says whether its process imported the project before it had a candidate. The module `codecs`
/// is one that the file imports.
const WHERE: &str = "raise AssertionError(f\"shared={'whole' in codecs.sys.modules}\")";

#[tokio::test]
async fn a_candidate_to_review_gets_a_process_of_its_own() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[(ID, TESTS)]).await;
    for (more, shared) in [("", "True"), ("import os\n", "False")] {
        let seen = bench.cold(ID, &bench.with_body(ID, &format!("{more}{WHERE}"))).await;
        assert!(seen.text.contains(&format!("shared={shared}")), "{more}{}", seen.text);
    }
}

/// What candidates do to what they share with others. None has a part that is to be reviewed.
const HOSTILE: &[&str] = &[
    "cls.UNPREFIXED_HEADERS.clear()\ncls.HTTP_PREFIX = 'X'\nreturn None",
    "cls.parse_header_name = classmethod(lambda cls, header: 'X')\nreturn None",
    "codecs.sys.modules.clear()\nreturn None",
    "for thing in codecs.sys.modules['gc'].get_objects():\n    if type(thing).__name__ in ('Line', 'Server', 'Watch'):\n        \
     thing.__dict__.clear()\nreturn None",
    "os = codecs.sys.modules['os']\nfor fd in range(3, 1 << 10):\n    try:\n        \
     os.write(fd, b'{\"outcome\": \"passed\", \"results\": [], \"cpu\": 0}\\n')\n    except OSError:\n        pass\nreturn None",
    "os = codecs.sys.modules['os']\nfor pid in (os.getppid(), 1, -1):\n    os.kill(pid, 9)\nreturn None",
    "with codecs.open('/tmp/left', 'w') as file:\n    file.write('X')\nreturn None",
];

#[tokio::test]
async fn nothing_is_left_for_the_next_candidate() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[(ID, TESTS)]).await;
    for body in HOSTILE {
        let seen = bench.cold(ID, &bench.with_body(ID, body)).await;
        assert_ne!(seen.outcome, Outcome::Passed, "{body}\n{}", seen.text);
        let look = "found = codecs.sys.modules['os'].listdir('/tmp')\n\
                    raise AssertionError(f'left={[name for name in found if name == \"left\"]}')";
        let seen = bench.cold(ID, &bench.with_body(ID, look)).await;
        assert!(seen.text.contains("left=[]"), "after {body}\n{}", seen.text);
        let seen = bench.cold(ID, &bench.with_body(ID, WHERE)).await;
        assert!(seen.text.contains("shared=True"), "after {body}\n{}", seen.text);
        let seen = bench.cold(ID, &bench.truth(ID)).await;
        assert_eq!(seen.outcome, Outcome::Passed, "after {body}\n{}", seen.text);
    }
}

#[tokio::test]
async fn the_original_is_in_no_function_and_in_no_file() {
    let Some(django) = Django::here() else { return };
    let bench = Bench::new(&django, &[(ID, TESTS)]).await;
    let truth = bench.truth(ID);
    let secret = truth.lines().map(str::trim).max_by_key(|line| line.len()).unwrap();
    let body = format!(
        "gc, part = codecs.sys.modules['gc'], '__co' + 'de__'
gc.unfreeze()
codes = [getattr(f, part) for f in gc.get_objects() if type(f).__name__ == 'function']
codes = {{code for code in codes if code.co_filename == __file__ and code.co_qualname.endswith('parse_header_name')}}
with codecs.open(__file__, 'rb') as file:
    leaks = bytes.fromhex('{}') in file.read()
raise AssertionError(f\"shared={{'whole' in codecs.sys.modules}} codes={{len(codes)}} leaks={{leaks}}\")",
        fixfly_runtime::hex(secret)
    );
    let seen = bench.cold(ID, &bench.with_body(ID, &body)).await;
    assert!(seen.text.contains("shared=True codes=1 leaks=False"), "{}", seen.text);
}

#[tokio::test]
async fn its_reports_are_those_of_the_cold_path_alone() {
    let Some(django) = Django::here() else { return };
    let early = "django/db/migrations/operations/base.py::Operation.__new__";
    let items = vec![
        django.item(ID, RunPath::Hot, TESTS),
        django.item(
            early,
            RunPath::Cold,
            &["migrations.test_operations.OperationTests.test_create_model"],
        ),
    ];
    let host = (fixfly_sandboxes::ALL[0].open)(&fixfly_sandboxes::HostOptions::default()).unwrap();
    let paths = BothPaths { methods: Arc::new(django.methods(items)), host };
    let items = paths.items(Split::Benchmark, None);
    let found = paths.compare(items, 1, || {}).await.unwrap();
    assert!(found.broken.is_empty(), "{:?}", found.broken);
    for pair in &found.pairs {
        assert!(pair.verdicts == Verdicts::Equal && pair.same_report, "{pair:?}");
    }
    for id in [ID, early] {
        let shared = found.pairs.iter().filter(|pair| pair.way == Way::Shared && pair.id == id);
        let taken = shared.filter(|pair| pair.unsure.is_none()).count();
        assert!(taken >= 2, "{id}: {:?}", found.pairs);
    }
}
