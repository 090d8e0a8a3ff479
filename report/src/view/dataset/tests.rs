use super::super::markup::tags;
use super::super::sources::Segment;
use super::*;

/// Rows that are made when they are read.
struct Made {
    rows: usize,
    words: &'static str,
}

impl DatasetRows for Made {
    fn len(&self) -> usize {
        self.rows
    }

    fn row(&self, at: usize) -> Result<DatasetRow, String> {
        if at == 7 && self.words == "broken" {
            return Err("rows.jsonl:8 is not a row".into());
        }
        let segment = |role: &str, text: String, loss| Segment { role: role.into(), text, loss };
        Ok(DatasetRow {
            id: format!("shop/cart.py::Cart.total#{at}"),
            part: "train".into(),
            rule: self.rule(at).unwrap(),
            tokens: (at != 1).then_some(1200 + at),
            segments: vec![
                segment("user", format!("Write row {at}. {}", self.words), false),
                segment("assistant", format!("def total(self):\n    return {at}\n"), true),
            ],
            sequences: Vec::new(),
            whole: "there is no tokenizer".into(),
            origin: RowOrigin {
                run: "runs/a b".into(),
                task: "shop/cart.py::Cart.total".into(),
                sample: 2,
                turns: vec![1],
                answer: "turn 2".into(),
                answer_turn: Some(2),
            },
        })
    }

    fn rule(&self, at: usize) -> Option<String> {
        Some(if at.is_multiple_of(2) { "repaired".into() } else { "at once".into() })
    }

    fn facts(&self) -> Vec<(String, String)> {
        vec![
            ("recipe".into(), "v4".into()),
            ("rows".into(), format!("{} {}", self.rows, self.words)),
        ]
    }

    fn audit(&self) -> Vec<String> {
        vec!["0 of 120 answers leak one of the benchmark's 397 methods".into()]
    }

    fn lengths(&self) -> Vec<(usize, usize)> {
        vec![(1024, 0), (2048, self.rows)]
    }

    fn rules(&self) -> Vec<(String, usize)> {
        vec![("repaired".into(), self.rows / 2), ("at once".into(), self.rows / 2)]
    }
}

fn html(rows: &Made, query: DatasetQuery) -> String {
    let mut engine = Environment::new();
    add_templates(&mut engine).unwrap();
    let link = |origin: &RowOrigin| Some(format!("/run/x/episode/m/{}", origin.sample));
    let page =
        DatasetPage { path: Path::new("datasets/v4"), rows, query, link: &link, export: false };
    page.html(&engine).unwrap()
}

#[test]
fn a_file_has_no_filter_and_a_row_without_an_episode_no_link() {
    let mut engine = Environment::new();
    add_templates(&mut engine).unwrap();
    let (rows, link) = (Made { rows: 1, words: "" }, |_: &RowOrigin| None);
    let (path, query) = (Path::new("v4"), DatasetQuery::default());
    let page = DatasetPage { path, rows: &rows, query, link: &link, export: true };
    let html = page.html(&engine).unwrap();
    assert!(!html.contains("<form") && !html.contains("<a "), "{html}");
    assert!(html.contains("The episode is not here"), "{html}");
}

#[test]
fn a_row_that_a_student_can_read_is_marked_by_tokens() {
    let segment = |text: &str, loss| Segment { role: String::new(), text: text.into(), loss };
    let sequence = vec![segment("<|user|>x<|assistant|>", false), segment("y<|end|>", true)];
    let row = DatasetRow { sequences: vec![sequence], ..DatasetRow::default() };
    let mut engine = Environment::new();
    add_templates(&mut engine).unwrap();
    let rows = One(row);
    let page = DatasetPage {
        path: Path::new("v4"),
        rows: &rows,
        query: DatasetQuery::default(),
        link: &|_| None,
        export: false,
    };
    let html = page.html(&engine).unwrap();
    assert!(
        html.contains(r#"&lt;|assistant|&gt;<span class="loss">y&lt;|end|&gt;</span>"#),
        "{html}"
    );
    assert!(!html.contains("Whole messages are marked"), "{html}");
}

/// A dataset of one row.
struct One(DatasetRow);

impl DatasetRows for One {
    fn len(&self) -> usize {
        1
    }

    fn row(&self, _: usize) -> Result<DatasetRow, String> {
        Ok(self.0.clone())
    }

    fn rule(&self, _: usize) -> Option<String> {
        None
    }

    fn facts(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn audit(&self) -> Vec<String> {
        Vec::new()
    }

    fn lengths(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }

    fn rules(&self) -> Vec<(String, usize)> {
        Vec::new()
    }
}

fn query(page: usize, rule: &str, text: &str) -> DatasetQuery {
    DatasetQuery { page, rule: Some(rule.into()), text: Some(text.into()) }
}

#[test]
fn a_page_of_a_dataset() {
    insta::assert_snapshot!(html(&Made { rows: 2, words: "<b>" }, DatasetQuery::default()));
}

#[test]
fn rows_are_paged_and_filtered() {
    let made = Made { rows: 120, words: "" };
    let check = |query: DatasetQuery, shown: &str, links: &[&str]| {
        let html = html(&made, query);
        assert!(html.contains(shown), "{html}");
        let all = tags(&html);
        let found: Vec<&str> = all.iter().filter_map(|tag| tag.strip_prefix("a rel=")).collect();
        assert_eq!(found, links);
    };
    check(query(1, "", ""), "Rows 1 to 50 of 120.", &[r#""next" href="?page=2""#]);
    check(query(3, "", ""), "Rows 101 to 120 of 120.", &[r#""prev" href="?page=2""#]);
    check(
        query(1, "at once", "WRITE"),
        "Rows 1 to 50 of 60, out of 120 in the dataset.",
        &[r#""next" href="?page=2&amp;rule=at%20once&amp;text=WRITE""#],
    );
    check(query(9, "", "row 11."), "Rows 1 to 1 of 1, out of 120 in the dataset.", &[]);
    check(query(1, "", "nowhere"), "No row matches.", &[]);
}

#[test]
fn a_row_leads_to_its_episode() {
    let html = html(&Made { rows: 1, words: "" }, DatasetQuery::default());
    let address = "/run/x/episode/m/2";
    assert!(html.replace("&#x2f;", "/").contains(&format!("href=\"{address}#turn-2\"")), "{html}");
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let html = html(&Made { rows: 9, words: "broken" }, query(1, "", "write"));
    assert!(html.contains("rows.jsonl:8 is not a row"), "{html}");
}
