//! Downloads one file over HTTP. A broken connection is continued, in the same process
//! and by the next one, as long as the server has the same file.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use super::fetch::{FetchProgress, FetchStep};

/// Redirects of one request.
const REDIRECTS: usize = 8;
/// Failures in a row, without a new byte, that end a transfer.
const FAILURES: u32 = 4;
/// The wait after the first failure; each further wait is longer by it.
const WAIT: Duration = Duration::from_millis(250);

/// A file to download.
pub(super) struct Transfer {
    pub(super) url: String,
    /// Sent to the host of `url`, and to no other.
    pub(super) token: Option<String>,
    /// Receives the bytes.
    pub(super) partial: PathBuf,
    /// Holds the server's ETag of the partial file.
    pub(super) etag: PathBuf,
    /// Bytes of the whole file.
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// A property of the server's file that differs from what is wanted.
#[derive(Debug)]
pub(super) enum Stated {
    Size(u64),
    Hash(String),
}

#[derive(Debug)]
pub(super) enum TransferError {
    /// 401 or 403.
    Refused,
    /// 404 or 410.
    Missing,
    Status(StatusCode),
    Unreachable(String),
    Broken {
        received: u64,
        why: String,
    },
    Redirect(String),
    Other(Stated),
    File(PathBuf, io::Error),
}

impl TransferError {
    /// Whether the same request may succeed soon.
    fn may_pass(&self) -> bool {
        match self {
            TransferError::Unreachable(_) | TransferError::Broken { .. } => true,
            TransferError::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

impl Transfer {
    /// Downloads what the partial file lacks. The caller checks the hash.
    pub(super) fn run(&self, progress: &mut FetchProgress<'_>) -> Result<(), TransferError> {
        // It fails if a policy in this process has installed one; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unreachable = |why: &dyn Error| TransferError::Unreachable(causes(why));
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(30))
            .read_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fixfly/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| unreachable(&why))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| unreachable(&why))?;
        runtime.block_on(async {
            let (mut failures, mut best) = (0, self.received());
            loop {
                let Err(why) = self.attempt(&client, progress).await else { return Ok(()) };
                let received = self.received();
                failures = if received > best { 1 } else { failures + 1 };
                best = best.max(received);
                if !why.may_pass() || failures >= FAILURES {
                    return Err(why);
                }
                progress(FetchStep::Note("the transfer stopped; trying again"));
                tokio::time::sleep(WAIT * failures).await;
            }
        })
    }

    /// Bytes of the partial file.
    fn received(&self) -> u64 {
        fs::metadata(&self.partial).map_or(0, |file| file.len())
    }

    async fn attempt(
        &self,
        client: &Client,
        progress: &mut FetchProgress<'_>,
    ) -> Result<(), TransferError> {
        let before = self.continued();
        if before.as_ref().is_some_and(|(bytes, _)| *bytes == self.size) {
            return Ok(());
        }
        let mut response = self.request(client, before.as_ref()).await?;
        let status = response.status();
        let start = match (status, before) {
            (StatusCode::PARTIAL_CONTENT, Some((bytes, _)))
                if starts_at(&response) == Some(bytes) =>
            {
                bytes
            }
            (StatusCode::OK, _) => 0,
            // A range that the server cannot give: the next attempt begins anew.
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                let _ = fs::remove_file(&self.etag);
                return Err(self.broken("it continues at another place"));
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                return Err(TransferError::Refused);
            }
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => return Err(TransferError::Missing),
            _ => return Err(TransferError::Status(status)),
        };
        // Once the body is read, this is what is left of it.
        let stated = response.content_length();
        if let Some(bytes) = stated.filter(|bytes| start == 0 && *bytes != self.size) {
            return Err(self.other_size(bytes));
        }
        let mut file = self.open(start, strong(&response))?;
        let mut done = start;
        progress(FetchStep::Received(done));
        let unwritable = |why| TransferError::File(self.partial.clone(), why);
        while let Some(chunk) =
            response.chunk().await.map_err(|why| self.broken(&causes(&why.without_url())))?
        {
            done += chunk.len() as u64;
            if done > self.size {
                return Err(self.other_size(done));
            }
            file.write_all(&chunk).map_err(unwritable)?;
            progress(FetchStep::Received(done));
        }
        match done == self.size {
            true => Ok(()),
            false if start == 0 && stated.is_none() => Err(self.other_size(done)),
            false => Err(self.broken("it ended early")),
        }
    }

    /// Removes what was received of a file of another size.
    fn other_size(&self, bytes: u64) -> TransferError {
        let _ = fs::remove_file(&self.partial);
        let _ = fs::remove_file(&self.etag);
        TransferError::Other(Stated::Size(bytes))
    }

    fn broken(&self, why: &str) -> TransferError {
        TransferError::Broken { received: self.received(), why: why.into() }
    }

    /// The bytes that are here, and the ETag of the file that they begin.
    fn continued(&self) -> Option<(u64, String)> {
        let bytes = self.received();
        let etag = fs::read_to_string(&self.etag).ok()?;
        (bytes > 0 && bytes <= self.size && !etag.is_empty()).then_some((bytes, etag))
    }

    /// Opens the partial file at `start`, and notes which file it begins.
    fn open(&self, start: u64, etag: Option<String>) -> Result<File, TransferError> {
        let unwritable = |why| TransferError::File(self.partial.clone(), why);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.partial);
        let mut file = file.map_err(unwritable)?;
        file.set_len(start).map_err(unwritable)?;
        file.seek(SeekFrom::Start(start)).map_err(unwritable)?;
        if start == 0 {
            let noted = match etag {
                Some(etag) => fs::write(&self.etag, etag),
                None => fs::remove_file(&self.etag).or(Ok(())),
            };
            noted.map_err(|why| TransferError::File(self.etag.clone(), why))?;
        }
        Ok(file)
    }

    /// Asks for the rest of the file, and follows redirects.
    async fn request(
        &self,
        client: &Client,
        before: Option<&(u64, String)>,
    ) -> Result<Response, TransferError> {
        let redirect = |why: String| TransferError::Redirect(why);
        let first = Url::parse(&self.url)
            .map_err(|why| redirect(format!("{} is not a URL: {why}", self.url)))?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            let mut get = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(token) = self.token.as_ref().filter(|_| url.origin() == first.origin()) {
                get = get.bearer_auth(token);
            }
            if let Some((bytes, etag)) = before {
                get = get.header(RANGE, format!("bytes={bytes}-")).header(IF_RANGE, etag);
            }
            let sent = get.send().await;
            let response =
                sent.map_err(|why| TransferError::Unreachable(causes(&why.without_url())))?;
            self.check(&response)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = header(&response, LOCATION.as_str())
                .and_then(|target| url.join(target).ok())
                .ok_or_else(|| redirect(format!("{url} redirects to no URL")))?;
            if url.scheme() == "https" && target.scheme() != "https" {
                return Err(redirect("it redirects to a connection that is not encrypted".into()));
            }
            url = target;
        }
        Err(redirect(format!("it redirects more than {REDIRECTS} times")))
    }

    /// The hub states size and hash of large files before it sends them.
    fn check(&self, response: &Response) -> Result<(), TransferError> {
        let size = header(response, "x-linked-size").and_then(|size| size.parse().ok());
        if let Some(size) = size.filter(|size| *size != self.size) {
            return Err(TransferError::Other(Stated::Size(size)));
        }
        let hash = header(response, "x-linked-etag").map(|etag| etag.trim_matches('"'));
        let is_hash = |hash: &&str| hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit());
        match hash.filter(is_hash).map(str::to_ascii_lowercase) {
            Some(hash) if hash != self.sha256 => Err(TransferError::Other(Stated::Hash(hash))),
            _ => Ok(()),
        }
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The ETag, if equal ones mean equal bytes.
fn strong(response: &Response) -> Option<String> {
    header(response, ETAG.as_str()).filter(|etag| etag.starts_with('"')).map(str::to_string)
}

/// The first byte of a partial answer.
fn starts_at(response: &Response) -> Option<u64> {
    let range = header(response, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// An error with all its causes. Those of reqwest often end in the only useful one.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
