"""The page: it loads nothing, it is well-formed, its links and labels hold, and no text of a job becomes markup."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from tests.unit.audit.audit_cases import JOB, TIME, make_run, parts_of, sealed

from almoner.audit import charts
from almoner.audit.attack_tables import MAX_LINES, MAX_ROWS, attack_tables
from almoner.audit.crosswalk import load_crosswalk
from almoner.audit.pack_build import seal_pack, site_parts
from almoner.audit.pack_verify import verify_pack
from almoner.audit.parts import SERVER_STATEMENTS
from almoner.audit.report import render_report

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}
DEMANDED = ("164.308", "164.312", "164.514", "Article 5(2)", "Article 25", "Article 30", "Article 32", "Article 35")
STANDARDS = ("CCPA", "EDPB Opinion 28/2024", "NIST Privacy Framework 1.1", "SP 800-226", "IEEE 3652.1", "IEEE 2986")


class Page(HTMLParser):
    """Collects elements, and checks that they nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return render_report(verify_pack(sealed(run, parts_of(run, tmp_path_factory.mktemp("run"))), run.root_pem))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.mark.threat("T-147")
def test_nothing_is_loaded_and_nothing_runs(html, page):
    assert not page.all("script", "link", "iframe", "img", "object", "embed", "form", "base")
    assert not re.search(r"(?:src|srcset|action)\s*=|url\(|@import", html)
    assert all(attributes["href"].startswith("#") for attributes in page.all("a"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert any("default-src 'none'" in (attributes.get("content") or "") for attributes in page.all("meta"))


def test_ids_are_unique_and_every_link_leads_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for attributes in page.all("a")} <= set(ids)
    labelled = [attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert {name for names in labelled for name in names.split()} <= set(ids)


def test_it_is_accessible(page):
    assert page.all("html")[0]["lang"] == "en"
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    assert all(attributes.get("role") == "img" and "aria-labelledby" in attributes for attributes in page.all("svg"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_becomes_cards_on_phones_or_has_two_columns(page):
    """A card's lines are labelled by what stands in `data-label`; nothing scrolls sideways."""
    assert all({"stack", "figures"} & set(attributes.get("class", "").split()) for attributes in page.all("table"))
    table, cells = "", []
    for tag, attributes in page.elements:
        table = attributes.get("class", "") if tag == "table" else table
        cells += [attributes] if tag == "td" and "stack" in table.split() else []
    assert cells
    assert all(attributes.get("data-label") for attributes in cells)


@pytest.mark.parametrize(
    ("front", "back"),
    [("1b2430", "ffffff"), ("4a5768", "f3f6f9"), ("0b5394", "ffffff"), ("1e6b3a", "ffffff"), ("8a4b00", "ffffff")],
)
def test_colours_have_contrast(front, back, html):
    assert f"#{front}" in html
    light, dark = sorted((_luminance(front), _luminance(back)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_it_shows_what_was_recomputed(run, tmp_path, page):
    verdict = verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem)
    text = " ".join(page.text)
    for account in verdict.accounts():
        assert f"{account['epsilon_spent']:.4f}" in text
    for words in ("budget.remaining: too much", "lead@site-1.example", "membership", "not checked", JOB):
        assert words in text
    assert "What the pack does not show" in text


def test_nested_attack_results_become_tables(run, tmp_path):
    findings = [{"trainer": "honest", "epsilon_shown": 0.64214}, {"trainer": "no noise", "epsilon_shown": 5.8}]
    report = {"job": "x", "audit": {"audited": {"num_steps": 40}, "findings": findings}, "seconds": 31.5}
    nested = replace(run, server=replace(run.server, redteam=json.dumps(report).encode()))
    shown = render_report(verify_pack(sealed(nested, parts_of(nested, tmp_path)), run.root_pem))
    for words in ("audit: audited", "audit: findings", "epsilon shown", "0.6421", "no noise", "31.5"):
        assert words in shown


def test_nested_fields_are_lines_and_long_lists_are_short():
    checks = {"noise": {"measured": 1.00227, "passed": True}, "clipping": {"measured": 10.0, "passed": False}}
    [table] = attack_tables([{"trainer": "honest", "checks": checks, "guesses": list(range(138, 150)), "note": None}])
    assert table.columns == ("trainer", "guesses", "note", "checks")
    honest, guesses, note, lines = table.rows[0]
    assert (honest, guesses, note) == (("honest",), ("12 values, 138 to 149",), ("none",))
    assert lines == ("noise: measured = 1.002, passed = yes", "clipping: measured = 10, passed = no")
    [long] = attack_tables([{"x": number} for number in range(MAX_ROWS + 3)])
    assert (len(long.rows), long.more) == (MAX_ROWS, 3)
    [deep] = attack_tables([{"name": "a", "all": {str(number): {"auc": 0.5} for number in range(MAX_LINES + 5)}}])
    assert len(deep.rows[0][1]) == MAX_LINES + 1
    assert deep.rows[0][1][-1] == "5 more in the part"


@pytest.mark.threat("T-147")
def test_text_of_a_job_does_not_become_markup(run, tmp_path):
    report = json.dumps({"note": "<script>alert(1)</script>", "rows": [{"<b>x</b>": "<img src=x>"}]}).encode()
    evil = replace(run, server=replace(run.server, redteam=report))
    shown = render_report(verify_pack(sealed(evil, parts_of(evil, tmp_path)), run.root_pem))
    assert not Page(shown).all("script", "img", "b")
    assert "&lt;script&gt;" in shown


def test_a_sites_own_pack_has_a_page_too(run):
    site = run.sites[0]
    data = seal_pack(site_parts(site, JOB, run.root), JOB, "site", site.kit, run.root, TIME)
    page = Page(render_report(verify_pack(data, run.root_pem)))
    assert "a pack of one site" in " ".join(page.text)


def test_the_cross_walk_has_what_was_asked_and_admits_gaps():
    frameworks = load_crosswalk()
    provisions = " ".join([f.name for f in frameworks] + [row.provision for f in frameworks for row in f.rows])
    assert [name for name in (*DEMANDED, *STANDARDS) if name not in provisions] == []
    rows = [row for framework in frameworks for row in framework.rows]
    assert all(len(row.gap) > 20 for row in rows)
    known = {*SERVER_STATEMENTS, "sites/", "index.dsse.json", "log/head.json", "log/entries.json", "job/submission.zip"}
    known |= {"authority/roster.json", "authority/manifest.json"}
    assert {name for row in rows for name in row.evidence} <= known
    assert not re.search(r"\b(complian|certified|guarantees compliance)", " ".join(row.contributes for row in rows))


def test_long_runs_are_drawn_with_few_points_and_the_last_one():
    drawn = charts.lines([("a", [number / 1000 for number in range(1, 10_001)])])
    points = drawn.lines[0].points.split()
    assert len(points) <= charts.MAX_POINTS + 2
    assert points[-1] == f"{charts.WIDTH - charts.PAD:.1f},{charts.PAD:.1f}"
    assert charts.bars([("a", 1.5, 3.0), ("b", 0.0, 6.0)])[0].cap_percent == 50
