use axum::body::Body;
use axum::http::{HeaderMap, Method};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::view::fixture::{self, episodes, hostile, record, shared_site, write_run};

const TOKEN: &str = "0123";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

fn runs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("a"), &record(), &episodes());
    let mut other = episodes();
    other.swap(0, 1);
    other[0] = fixture::episode("app/a.py", "A.f", Vec::new());
    other.push(hostile());
    write_run(&folder.path().join("deep/b"), &record(), &other);
    folder
}

async fn ask(request: axum::http::request::Builder) -> Answer {
    let folder = runs();
    let guard = Guard { token: TOKEN.into(), host: None, port: 7337 };
    let routes = routes(shared_site(folder.path()), guard);
    let response = routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

fn request(path: &str) -> axum::http::request::Builder {
    axum::http::Request::builder().uri(path).header("host", "127.0.0.1:7337")
}

async fn page(path: &str) -> Answer {
    ask(request(path).header("cookie", format!("a=b; fixfly_view_7337={TOKEN}"))).await
}

#[tokio::test]
async fn only_who_knows_the_token_may_read() {
    for path in ["/", "/run/a", "/assets/view.js", "/live/", "/?token=wrong", "/nothing"] {
        let answer = ask(request(path)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text.contains("open the address that it printed"), "{}", answer.text);
        assert_eq!(answer.headers["content-security-policy"], crate::view::guard::POLICY);
    }
    let wrong = ask(request("/").header("cookie", "fixfly_view_7337=4567")).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    let other_port = ask(request("/").header("cookie", format!("fixfly_view_1={TOKEN}"))).await;
    assert_eq!(other_port.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_token_moves_from_the_address_into_a_cookie() {
    let answer = ask(request("/run/a?error=T&token=0123&page=2")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.headers["location"], "/run/a?error=T&page=2");
    assert_eq!(
        answer.headers["set-cookie"],
        "fixfly_view_7337=0123; Path=/; HttpOnly; SameSite=Strict"
    );
    let elsewhere = ask(request("//evil.example/?token=0123")).await;
    assert_eq!(elsewhere.headers["location"], "/evil.example/");
}

#[tokio::test]
async fn a_name_that_was_rebound_to_this_machine_is_refused() {
    for host in ["evil.example:7337", "evil.example", "127.0.0.1:1"] {
        let request = axum::http::Request::builder().uri("/?token=0123").header("host", host);
        let answer = ask(request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host}");
        assert!(answer.text.contains("does not name this machine"));
    }
    let none = ask(axum::http::Request::builder().uri("/?token=0123")).await;
    assert_eq!(none.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nothing_is_writable() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let answer = ask(request("/run/a?token=0123").method(method)).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let head = ask(request("/").method(Method::HEAD).header("cookie", "fixfly_view_7337=0123"));
    let head = head.await;
    assert_eq!((head.status, &*head.text), (StatusCode::OK, ""));
}

#[tokio::test]
async fn pages_answer_with_a_strict_policy() {
    for path in [
        "/",
        "/run/a",
        "/run/deep%2Fb?sort=-turns",
        "/compare?a=a&b=deep%2Fb",
        "/compare?run=a&run=deep/b&cell=first",
        "/run/a/episode/app%2Fa.py%3A%3AA.f/0",
    ] {
        let answer = page(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_eq!(answer.headers["content-security-policy"], crate::view::guard::POLICY);
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        for inline in ["<style", " style=", "<script>", " onclick=", "javascript:"] {
            assert!(!answer.text.contains(inline), "{path} has {inline}");
        }
    }
    let style = page("/assets/style.css").await;
    assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
    let live = page("/live/run/a").await;
    assert!(live.text.contains("\"running\":false"), "{}", live.text);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_one_sentence() {
    #[track_caller]
    fn check(answer: &Answer, status: StatusCode, sentence: &str) {
        assert_eq!(answer.status, status);
        assert!(answer.text.contains(sentence), "{}", answer.text);
    }
    let (missing, bad) = (StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST);
    let unknown = page("/run/c").await;
    check(
        &unknown,
        missing,
        "there is no run &quot;c&quot; here; the home page lists what there is",
    );
    check(
        &page("/run/a/episode/x/0").await,
        missing,
        "the run a has no episode of &quot;x&quot;, sample 0",
    );
    check(&page("/run/a/episode/app%2Fa.py%3A%3AA.f/x").await, missing, "sample x");
    check(&page("/nowhere").await, missing, "there is no page");
    check(&page("/dataset/a").await, missing, "there is no dataset");
    check(&page("/compare?run=a").await, bad, "a comparison needs two runs");
}

#[tokio::test]
async fn texts_of_models_and_tests_are_escaped() {
    let address = Address::episode("deep/b", &hostile().task.id, 0).path();
    for path in ["/run/deep%2Fb", "/run/deep%2Fb?error=%3Cscript%3Ealert(1)%3C/script%3E", &address]
    {
        let answer = page(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.text.contains("<script>"), "{path}");
        assert!(answer.text.contains("&lt;script&gt;alert(1)&lt;"), "{path}");
        assert!(!answer.text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{path}");
        assert!(answer.text.contains("\\u202e"), "{path}");
    }
}
