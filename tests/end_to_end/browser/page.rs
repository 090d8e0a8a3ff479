//! Chromium, driven through chromedriver, on the pages of `fixfly view`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::command;

/// The longest that a page takes until it is as expected.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A program that is killed at the end of a test.
struct Running {
    program: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> std::io::Result<Running> {
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = BufReader::new(program.stdout.take().unwrap());
        Ok(Running { program, output })
    }

    /// The part of a line of its output behind `mark`; `None` if it ends without one.
    fn behind(&mut self, mark: &str) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, rest)) = line.split_once(mark) {
                return Some(rest.trim().trim_end_matches('.').into());
            }
            line.clear();
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The driver, and its port. Of two that start at once and choose the same port, one ends.
fn chromedriver() -> (Running, String) {
    for _ in 0..5 {
        let started = Running::start(Command::new("chromedriver").arg("--port=0"));
        let mut driver = started.unwrap_or_else(|error| {
            panic!(
                "cannot start chromedriver: {error}; install Debian's packages `chromium` and \
                 `chromium-driver`, as ./check does"
            )
        });
        if let Some(port) = driver.behind("successfully on port ") {
            return (driver, port);
        }
    }
    panic!("chromedriver ended before it had a port, five times")
}

/// The page that a browser shows.
pub(crate) struct Page {
    browser: Client,
    /// The address of the server, without a path.
    pub(crate) address: String,
}

/// Opens what is under a folder with `fixfly view` in a browser, and does something there.
pub(crate) fn browse(folder: &Path, act: impl AsyncFnOnce(&Page)) {
    let (_driver, port) = chromedriver();
    let url = format!("http://127.0.0.1:{port}");
    let mut view = Running::start(&mut command(&["view", folder.to_str().unwrap()])).unwrap();
    let home = format!("http://{}", view.behind("http://").unwrap());
    let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
    let chrome = json!({ "goog:chromeOptions": { "args": arguments } });
    let chrome = chrome.as_object().unwrap().clone();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let browser = builder.capabilities(chrome).connect(&url).await.unwrap();
        let address = home.split_once("/?").unwrap().0.to_owned();
        let page = Page { browser, address };
        page.width(1280).await;
        page.browser.goto(&home).await.unwrap();
        act(&page).await;
        page.browser.close().await.unwrap();
    });
}

impl Page {
    /// Goes to a path of the server.
    pub(crate) async fn go(&self, path: &str) {
        self.browser.goto(&format!("{}{path}", self.address)).await.unwrap();
    }

    /// The path of the page, its query and its fragment.
    pub(crate) async fn path(&self) -> String {
        let url = self.browser.current_url().await.unwrap();
        url.as_str().strip_prefix(&self.address).unwrap().to_owned()
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let result = self.browser.execute(script, Vec::new()).await;
        result.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What a script passes to its function `done`.
    pub(crate) async fn run_until_done(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0];\n{script}");
        self.browser.execute_async(&script, Vec::new()).await.unwrap()
    }

    /// The visible texts of all elements that a selector selects.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let selector = json!(selector);
        let script = format!(
            "return [...document.querySelectorAll({selector})].filter(e => e.checkVisibility())\
             .map(e => e.innerText.trim().replace(/\\s+/g, ' '))"
        );
        serde_json::from_value(self.run(&script).await).unwrap()
    }

    /// The visible text of the first of them.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let texts = self.texts(selector).await;
        texts.into_iter().next().unwrap_or_else(|| panic!("nothing is {selector}"))
    }

    pub(crate) async fn count(&self, selector: &str) -> usize {
        self.texts(selector).await.len()
    }

    /// Clicks on an element as a person does: it must be visible, and nothing above it.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.browser.find(Locator::Css(selector)).await;
        let clicked = async { element?.click().await };
        clicked.await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Types into a field.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let field = self.browser.find(Locator::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let strokes = keys.chars().fold(KeyActions::new("keyboard".into()), |strokes, value| {
            strokes.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.browser.perform_actions(strokes).await.unwrap();
    }

    /// Waits until the page is loaded and a JavaScript expression is true.
    pub(crate) async fn until(&self, condition: &str) {
        let begun = Instant::now();
        let script = format!("return document.readyState === 'complete' && Boolean({condition})");
        while self.run(&script).await != true {
            if begun.elapsed() > TIMEOUT {
                let text = self.run("return document.body.innerText.slice(0, 2000)").await;
                panic!("never became true: {condition}\n{}", text.as_str().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Gives the page this width in pixels.
    pub(crate) async fn width(&self, width: u32) {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Makes the system light or dark.
    pub(crate) async fn system(&self, scheme: &str) {
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [scheme] })).await;
    }

    async fn devtools(&self, method: &str, parameters: Value) {
        let command = json!({ "cmd": method, "params": parameters });
        self.browser.issue_cmd(DevTools(command)).await.unwrap();
    }
}

/// A command of Chromium itself, which chromedriver passes on.
#[derive(Debug)]
struct DevTools(Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}
