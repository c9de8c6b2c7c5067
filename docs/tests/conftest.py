"""A local server of the built site, and browsers that reach nothing else."""

import functools
import http.server
import shutil
import threading

import pytest
from selenium import webdriver

from docs.tools.places import SITE

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # The network is off, but for the server below.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
WINDOWS = {"desktop": (1280, 1000), "phone": (390, 844)}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that keeps no log."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def address():
    """The address of the built site, served here."""
    assert (SITE / "index.html").exists(), "build the site first: make docs"
    handler = functools.partial(_Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """A browser with a new profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as browser:
        yield browser


@pytest.fixture
def look(driver, address):
    """A function that opens a page in a window of some size, light or dark."""

    def open_page(page, window, scheme):
        driver.get("about:blank")  # a page that is open would keep its scheme
        width, height = WINDOWS[window]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        phone = {"mobile": window == "phone"}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, **phone})
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        origin = {"origin": address.rstrip("/"), "storageTypes": "all"}
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", origin)
        driver.get_log("browser")
        driver.get(address + page)
        return driver

    return open_page
