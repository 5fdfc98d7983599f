"""Every page on a phone, in the dark, and under axe."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from hf_llmpath.stages import all_stages
from tests.ui.standin import STAND_INS

PAGES = ["", *(stage.slug for stage in all_stages())]
SETTLED = {
    "": ".lp-card",
    "sequences": "#forecasts figure",
    "rnn": "#gradient-by-lag figure",
    "lstm-gru": "#memory figure",
    "embeddings": "#contexts figure",
    "fine-tuning": "#answers figure",
    "inference": "#tree figure",
    "rlhf": "#transcript figure",
    "scaling": "#agreement figure",
    "architectures": "#heads figure",
}


def settled(visit, address, name, **options):
    page = visit(address + name, **options)
    page.locator(SETTLED.get(name, ".lp-figure")).first.wait_for()
    if name in STAND_INS:
        page.get_by_role("button", name="Write", exact=True).click()
        page.locator("#written figcaption", has_text="seed 0").wait_for()
        page.locator("#written .lp-caret").wait_for(state="detached")
    return page


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(visit, address, name):
    page = settled(visit, address, name, width=380)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    clipped = page.evaluate(
        "[...document.querySelectorAll('.lp, .lp *')].filter(e => !e.closest('.lp-scroll, svg, .lp-hidden')"
        " && e.getBoundingClientRect().right > 381).map(e => e.className)"
    )
    assert not clipped


@pytest.mark.parametrize("name", ["fine-tuning", "scaling", "rlhf"])
def test_the_verdicts_on_the_goals_are_in_sight_on_a_phone(visit, address, name):
    """The numbers of the run may be scrolled sideways, but whether a goal was met is seen without that."""
    page = settled(visit, address, name, width=380)
    table = page.get_by_role("region", name="Goals of this stage")
    table.wait_for()
    assert table.locator(".lp-pill").count() > 0
    assert table.evaluate("area => area.scrollWidth - area.clientWidth") <= 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_in_our_markup(visit, address, name, dark):
    page = settled(visit, address, name, dark=dark)
    assert page.evaluate("document.body.classList.contains('dark')") == dark
    if name:
        for panel in ("Lesson", "Show the code", "Load this model", "Pictures of the run"):
            page.get_by_role("button", name=panel).click()
        page.get_by_alt_text("Picture of the run").first.wait_for()
    # Found by selector: the markup that we write ourselves is all inside .lp.
    found = Axe().run(page, context={"include": [[".lp"]]}).response["violations"]
    serious = [
        (violation["id"], [node["html"][:160] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
    assert not serious
