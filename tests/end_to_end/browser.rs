//! `fixfly view` in headless Chromium, as a person uses it.

mod accessibility;
mod page;
mod runs;

use std::time::Instant;

use fixfly_runtime::{RunDirectory, thousands};
use page::{Page, browse};

const EPISODE: &str = "/run/second/episode/shop%2Fcart.py%3A%3ACart.add/0";
const ROWS: &str = "#list tbody tr";

#[test]
fn episodes_are_filtered_and_a_link_shows_the_same_rows() {
    browse(runs::two().path(), async |page| {
        assert_eq!(page.text("h1").await, "Runs");
        assert_eq!(page.texts("#runs th[scope=row]").await, ["first", "second"]);
        // The token is in a cookie now, and in no address.
        page.click("#runs tbody tr:first-child a.row").await;
        assert_eq!((page.path().await.as_str(), page.count(ROWS).await), ("/run/first", 4));
        page.go("/run/second").await;
        assert_eq!(page.text("#facts div:first-child").await, "Solved 1 of 3: 33.3 % (6.1–79.2)");

        page.fill("#filter", "CART add").await;
        page.click(".filter button").await;
        page.until("location.search.includes('text=CART+add')").await;
        assert_eq!(page.texts(&format!("{ROWS} th")).await, ["shop/cart.py::Cart.add"]);
        page.go("/run/second?error=ValueError&solved=no").await;
        assert_eq!(page.texts(&format!("{ROWS} th")).await, ["shop/cart.py::Cart.total"]);
        let chosen = page.run("return document.querySelector('select[name=error]').value").await;
        assert_eq!(chosen, "ValueError");
        page.click(&format!("{ROWS} a.row")).await;
        let up = page.text(".pages").await;
        assert!(up.starts_with("1 of 1 in the filtered list"), "{up}");
        assert_eq!(page.text("h1").await, "shop/cart.py::Cart.total");
        page.click("a[rel=up]").await;
        assert_eq!(page.path().await, "/run/second?error=ValueError&solved=no#episodes");

        page.go("/run/second?sort=-turns").await;
        assert_eq!(page.texts("th[aria-sort]").await, ["Turns ▾"]);
        page.click("th[aria-sort] a").await;
        let first = page.texts(&format!("{ROWS} th")).await.swap_remove(0);
        assert_eq!(first, "shop/cart.py::Cart.names");
    });
}

#[test]
fn a_link_to_a_turn_shows_that_turn() {
    browse(runs::two().path(), async |page| {
        page.go(&format!("{EPISODE}#turn-2")).await;
        assert_eq!(page.text(":target h2").await, "Turn 2 failed submit_method");
        let top = page.run("return document.querySelector(':target').getBoundingClientRect().top");
        let top = top.await.as_f64().unwrap();
        assert!((0.0..900.0).contains(&top), "{top}");
        page.click(".outcomes a").await;
        page.until("document.querySelector(':target').id === 'turn-1'").await;
        page.go("/run/second/episode/none/0").await;
        let sentence = page.text("[role=alert]").await;
        assert!(sentence.contains("none"), "{sentence}");
    });
}

#[test]
fn a_page_shows_new_episodes_while_a_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (episodes, run) = (runs::solved(), folder.path().join("run"));
    let (mut directory, _) = RunDirectory::open(&run, &runs::record()).unwrap();
    directory.append(&episodes[0]).unwrap();
    browse(folder.path(), async |page| {
        assert_eq!(page.texts("#runs [data-label=episodes]").await, ["1 of 6"]);
        page.run("window.loaded = 'once'").await;
        directory.append(&episodes[1]).unwrap();
        page.until("document.querySelector('#runs').innerText.includes('2 of 6')").await;
        assert_eq!(page.run("return window.loaded").await, "once");

        page.go("/run/run").await;
        page.run("window.loaded = 'once'").await;
        assert_eq!((page.text("#state").await.as_str(), page.count(ROWS).await), ("running", 2));
        // The focus stays where it is.
        page.run("document.querySelector('#list a.row').focus()").await;
        directory.append(&episodes[2]).unwrap();
        page.until("document.querySelector('#facts').innerText.includes('3 of 6')").await;
        page.until("document.querySelectorAll('#list tbody tr').length === 3").await;
        assert_eq!(page.run("return document.activeElement.matches('#list a.row')").await, true);
        directory.append(&episodes[3]).unwrap();
        page.until("document.querySelectorAll('#list tbody tr').length === 4").await;
        drop(directory);
        page.until("document.querySelector('#state').innerText === 'stopped'").await;
        assert_eq!(page.run("return window.loaded").await, "once");
    });
}

#[test]
fn two_runs_are_compared() {
    browse(runs::two().path(), async |page| {
        page.click("#runs tbody tr:nth-child(2) input").await;
        page.click("#runs tbody tr:nth-child(1) input").await;
        page.click("form button").await;
        page.until("location.pathname === '/compare'").await;
        // Both, the first only, the second only, neither.
        assert_eq!(page.texts(".square td").await, ["1", "2", "0", "0"]);
        page.click(".square tbody tr:first-child td:last-child a").await;
        assert_eq!(page.count("#list tbody tr").await, 2);
        page.click("#list a.row").await;
        assert_eq!(page.texts(".sides > section > h2").await, ["first", "second"]);
        assert_eq!(page.count(".sides .turn").await, 3);
        let twice = "const ids = [...document.querySelectorAll('[id]')].map(one => one.id);\
                     return ids.length - new Set(ids).size";
        assert_eq!(page.run(twice).await, 0);
        page.click("a[rel=next]").await;
        assert_eq!(page.text("h1").await, "shop/cart.py::Cart.total");
    });
}

#[test]
fn keys_move_through_rows_and_pages() {
    browse(runs::two().path(), async |page| {
        let here = "document.querySelector('.here')?.rowIndex";
        page.press("j").await;
        page.until(&format!("{here} === 1")).await;
        page.press("jk").await;
        page.until(&format!("{here} === 1")).await;
        page.press("\u{e007}").await;
        page.until("location.pathname === '/run/first'").await;
        page.press("jj\u{e007}").await;
        page.until("document.querySelector('h1').innerText.endsWith('Cart.names')").await;
        // Without rows they go to the next and the previous episode.
        page.press("j").await;
        page.until("document.querySelector('h1').innerText.endsWith('Cart.total')").await;
        page.press("k").await;
        page.until("document.querySelector('h1').innerText.endsWith('Cart.names')").await;
        page.press("gu").await;
        page.until("location.pathname === '/run/first'").await;
        page.press("/j").await;
        page.until("document.activeElement.id === 'filter'").await;
        let typed = page.run("return document.activeElement.value").await;
        assert_eq!(typed, "j", "a key is a letter in a field");
        page.press("\u{e00c}gh").await;
        page.until("location.pathname === '/'").await;
        page.press("?").await;
        page.until("document.querySelector('#keys').open").await;
        page.press("\u{e00c}").await;
        page.until("!document.querySelector('#keys').open").await;
    });
}

/// The background of the page.
async fn background(page: &Page) -> String {
    let color = page.run("return getComputedStyle(document.body).backgroundColor").await;
    color.as_str().unwrap().to_owned()
}

#[test]
fn a_page_is_light_or_dark_as_the_system_until_it_is_chosen() {
    const LIGHT: &str = "rgb(255, 255, 255)";
    const DARK: &str = "rgb(21, 23, 26)";
    browse(runs::two().path(), async |page| {
        page.system("light").await;
        assert_eq!(background(page).await, LIGHT);
        page.system("dark").await;
        assert_eq!(background(page).await, DARK);
        page.press("t").await;
        page.until("document.documentElement.dataset.theme === 'light'").await;
        assert_eq!(background(page).await, LIGHT);
        page.go("/run/first").await;
        assert_eq!(background(page).await, LIGHT);
        page.click("#theme").await;
        page.system("light").await;
        assert_eq!(
            (background(page).await.as_str(), &*page.text("#theme").await),
            (DARK, "Theme: dark")
        );
    });
}

#[test]
fn a_phone_shows_every_page_without_scrolling_sideways() {
    browse(runs::everything().path(), async |page| {
        page.width(360).await;
        for path in [
            "/",
            "/run/second",
            EPISODE,
            "/compare?a=first&b=second",
            "/compare?a=first&b=second&task=shop%2Fcart.py%3A%3ACart.add&sample=0",
            "/dataset/taught%2Fdataset",
            "/training/student",
        ] {
            page.go(path).await;
            page.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
                .await;
            let wide = page.run("return document.documentElement.scrollWidth").await;
            assert!(wide.as_u64().unwrap() <= 360, "{path}: {wide} pixels wide");
        }
        page.go("/").await;
        // Rows that are shown as blocks are rows of a table still.
        assert_eq!(page.count("#runs table[role=table] tbody tr[role=row]").await, 3);
        assert_eq!(page.count("#runs td[role=cell]").await, page.count("#runs td").await);
        let texts = page.texts("#runs tbody tr:nth-child(2) > *").await;
        assert!(texts.contains(&"first".into()) && texts.contains(&"4 of 6".into()), "{texts:?}");
    });
}

/// The whole text of the page, where nothing of it acts.
async fn harmless(page: &Page) -> String {
    assert_eq!(page.run("return window.attacked === undefined").await, true);
    let elements = "return document.querySelectorAll('main script, main img').length";
    assert_eq!(page.run(elements).await, 0);
    let text = page.run("return document.documentElement.textContent").await;
    let text = text.as_str().unwrap();
    let acts =
        |letter: &char| (letter.is_control() && !"\n\t".contains(*letter)) || *letter == '\u{202e}';
    assert_eq!(text.chars().find(acts), None);
    text.to_owned()
}

#[test]
fn texts_of_models_and_tests_do_nothing() {
    browse(runs::hostile().path(), async |page| {
        harmless(page).await;
        page.click("#runs a.row").await;
        let run = harmless(page).await;
        assert!(run.contains("<script>window.attacked = 1</script>"), "{run}");
        page.click("#errors a").await;
        page.until("location.search.startsWith('?error=')").await;
        page.click(&format!("{ROWS} a.row")).await;
        let episode = harmless(page).await;
        for shown in [
            "<script>window.attacked = 1</script>",
            "<img src=x onerror=",
            "]52;c;eA==",
            "characters are not shown",
        ] {
            assert!(episode.contains(shown), "{shown}");
        }
        assert!(episode.len() < 1_000_000, "{} bytes", episode.len());
    });
}

/// Opens a run of this many episodes: the first page, the last one, and one episode.
/// Returns the milliseconds of the first page.
fn long_run(count: usize) -> u128 {
    let mut milliseconds = 0;
    browse(runs::many(count).path(), async |page| {
        let begun = Instant::now();
        page.go("/run/run").await;
        milliseconds = begun.elapsed().as_millis();
        assert_eq!(page.count(ROWS).await, 100);
        let [all, last] = [count, count - 99].map(|n| thousands(n as u64));
        assert_eq!(page.text(".pages span").await, format!("1–100 of {all} episodes"));
        page.go(&format!("/run/run?page={}", count / 100)).await;
        assert_eq!(page.text(".pages span").await, format!("{last}–{all} of {all} episodes"));
        let task = format!("shop/cart.py::Cart.m{}", count - 1);
        page.click(&format!("{ROWS}:last-child a.row")).await;
        assert_eq!(page.text("h1").await, task);
        page.go(&format!("/run/run?text=m{}&sort=-seconds", count - 1)).await;
        assert_eq!(page.texts(&format!("{ROWS} th")).await, [task]);
    });
    milliseconds
}

#[test]
fn a_run_of_20_000_episodes_has_pages() {
    long_run(20_000);
}

#[test]
#[ignore = "takes half a minute"]
#[allow(clippy::print_stderr, reason = "it is a measurement")]
fn a_run_of_100_000_episodes_has_pages() {
    eprintln!("the first page of 100,000 episodes took {} ms", long_run(100_000));
}
