"""Every page on a phone, and under axe in light and dark: one visit for all of it."""

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


GOALS_ON_A_PHONE = ("fine-tuning", "scaling", "rlhf")


def open_on_a_phone(visit, address, name):
    page = visit(address + name, width=380)
    page.locator(SETTLED.get(name, ".lp-figure")).first.wait_for()
    if name in STAND_INS:
        page.get_by_role("button", name="Write", exact=True).click()
        page.locator("#written figcaption", has_text="seed 0").wait_for()
        page.locator("#written .lp-caret").wait_for(state="detached")
    return page


def serious_violations(page) -> list[tuple]:
    """What axe finds in the markup that we write ourselves, which is all inside `.lp`."""
    violations = Axe().run(page, context={"include": [[".lp"]]}).response["violations"]
    return [
        (violation["id"], [node["html"][:160] for node in violation["nodes"]])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_and_is_accessible_in_light_and_dark(visit, address, name):
    page = open_on_a_phone(visit, address, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    clipped = page.evaluate(
        "[...document.querySelectorAll('.lp, .lp *')].filter(e => !e.closest('.lp-scroll, svg, .lp-hidden')"
        " && e.getBoundingClientRect().right > 381).map(e => e.className)"
    )
    assert not clipped
    if name in GOALS_ON_A_PHONE:  # the table may be scrolled sideways, but not to see whether a goal was met
        table = page.get_by_role("region", name="Goals of this stage")
        table.wait_for()
        assert table.locator(".lp-pill").count() > 0
        assert table.evaluate("area => area.scrollWidth - area.clientWidth") <= 0

    page.set_viewport_size({"width": 1280, "height": 900})
    if name:
        for panel in ("Lesson", "Show the code", "Load this model", "Pictures of the run"):
            page.get_by_role("button", name=panel).click()
        page.get_by_alt_text("Picture of the run").first.wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            f"document.body.classList.contains('dark') === {str(scheme == 'dark').lower()}"
        )
        assert not serious_violations(page), scheme
