"""The dashboard, the alerts and the page about them: every metric and label in them is one that `/metrics` has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gaia_core import Agent, ModelSpec, Toolset, tool
from gaia_core.models import EndpointConfig, OpenEndpoints, call

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
_NAME = re.compile(r"\bgaia_[a-z_]+")
_SELECTOR = re.compile(r"(gaia_[a-z_]+)\{([^}]*)\}")
_GROUPED = re.compile(r"by \(([^)]*)\)")
_OF_PROMETHEUS = {"job", "instance", "le"}


@tool(effects="read")
def look() -> str:
    """Look around."""
    return "seen"


def expressions() -> Iterator[str]:
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.fixture
async def exposed(serve, body) -> dict[str, set[str]]:
    """The names of what `/metrics` has after a turn with a tool and a failed one, each with the names of its labels."""
    away = ModelSpec("away", OpenEndpoints((EndpointConfig(url="http://127.0.0.1:9/v1", retries=0),)), context_tokens=9)
    agents = (Agent("a", model="local", tools=Toolset("t", (look,))), Agent("b", model="away"))
    server = await serve(call("look"), "done", agents=agents, models={"away": away})
    assert (await server.post(body()))[0] == 200
    assert (await server.post(body(model="b", max_tokens=1)))[0] == 502
    async with server.http.get("/metrics") as response:
        text = await response.text()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_dashboard_and_alerts_use_what_is_exposed(exposed):
    used = set()
    for expression in expressions():
        names = set(_NAME.findall(expression))
        assert names <= exposed.keys(), (names - exposed.keys(), expression)
        used |= names
        for name, selector in _SELECTOR.findall(expression):
            asked = {part.partition("=")[0].rstrip("~!") for part in selector.split(",")}
            assert asked <= exposed[name] | _OF_PROMETHEUS, (asked, expression)
        labels = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")}
        assert labels <= set().union(*(exposed[name] for name in names)) | _OF_PROMETHEUS, expression
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed if name.startswith("gaia_")}
    assert families == {re.sub(r"_bucket$", "", name) for name in used}, "the dashboard leaves a metric out"


async def test_the_page_names_what_is_exposed(exposed):
    text = (ROOT / "docs" / "monitoring.md").read_text()
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed if name.startswith("gaia_")}
    assert set(re.findall(r"`(gaia_[a-z_]+)`", text)) == families
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert f"| `{rule['alert']}` |" in text, rule["alert"]


def test_the_dashboards_panels_do_not_overlap():
    taken: dict[tuple[int, int], str] = {}
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert 0 <= x < 24
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
