"""The built site in a browser without network: mathematics, pictures, search, light and dark."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from docs.tools.places import BUILD, SITE

PAGES = sorted(
    str(file.parent.relative_to(SITE)).removeprefix(".") for file in SITE.rglob("index.html")
)
TUTORIALS = [page for page in PAGES if page.startswith("tutorials/")]
SHOWN = ["", "api/harmoniums", *TUTORIALS[:1]]
SCREENSHOTS = BUILD / "screenshots"

PICTURES = """
for (const picture of document.images) { picture.loading = "eager"; }
return [...document.images].filter(p => !(p.complete && p.naturalWidth > 0)).map(p => p.src);
"""
MATHEMATICS = """
const set = [...document.querySelectorAll(".arithmatex")];
return set.filter(e => !e.querySelector(".katex")).map(e => e.textContent);
"""
# What readers see but code, of which dollars and backslashes may be a part.
PROSE = """
const copy = document.querySelector("article").cloneNode(true);
copy.querySelectorAll("pre, code, .katex, .doc-signature").forEach(e => e.remove());
return copy.textContent;
"""
# Elements that are wider than the window and can't be scrolled by themselves.
TOO_WIDE = "return document.documentElement.scrollWidth - window.innerWidth;"


def check(browser, scheme):
    """What holds of every page."""
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(PICTURES) == [])
    assert browser.execute_script(MATHEMATICS) == []
    prose = browser.execute_script(PROSE)
    assert not [mark for mark in ("$", "\\(", "\\[") if mark in prose]
    assert browser.execute_script(TOO_WIDE) <= 0
    used = browser.execute_script("return document.body.dataset.mdColorScheme")
    assert used == {"light": "default", "dark": "slate"}[scheme]
    logged = browser.get_log("browser")
    assert [entry["message"] for entry in logged if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", ["desktop", "phone"])
@pytest.mark.parametrize("page", SHOWN)
def test_pages_look_as_they_should(page, window, scheme, look):
    browser = look(page, window, scheme)
    check(browser, scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = page.replace("/", "-") or "home"
    assert browser.save_screenshot(str(SCREENSHOTS / f"{name}-{window}-{scheme}.png"))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in SHOWN])
def test_all_pages_are_set(page, look):
    check(look(page, "phone", "light"), "light")


def test_formulas_that_are_wrong_are_noticed(look):
    browser = look("", "desktop", "light")
    browser.execute_script(
        r"""
        document.querySelector("article").innerHTML += '<i class="arithmatex">\\(\\frac{1}\\)</i>';
        document.dispatchEvent(new Event("DOMContentLoaded"));
        """
    )
    assert "frac" in browser.get_log("browser")[-1]["message"]
    assert browser.execute_script(MATHEMATICS) != []


def test_search_finds_pages_offline(look):
    browser = look("", "desktop", "light")
    keys = ActionChains(browser)
    keys.key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    focus = "let e = document.activeElement; return (e.shadowRoot?.activeElement ?? e).tagName"
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(focus) == "INPUT")
    ActionChains(browser).send_keys("conjugation_parameters").perform()
    links = "return [...document.links].map(link => link.href)"
    WebDriverWait(browser, 60).until(
        lambda _: any("api/harmoniums" in link for link in browser.execute_script(links))
    )
