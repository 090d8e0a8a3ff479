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
    DatasetPage { path: Path::new("datasets/v4"), rows, query }.html(&engine).unwrap()
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
    let address = "/run/a%20b/episode/shop%2Fcart.py%3A%3ACart.total/2";
    assert!(html.replace("&#x2f;", "/").contains(&format!("href=\"{address}#turn-2\"")), "{html}");
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let html = html(&Made { rows: 9, words: "broken" }, query(1, "", "write"));
    assert!(html.contains("rows.jsonl:8 is not a row"), "{html}");
}
