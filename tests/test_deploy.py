"""The dashboard and the alert rules ask for metrics that exist, by labels that they have."""

import importlib
import json
import pkgutil
import re
from pathlib import Path

import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import remit.authz
import remit.telemetry
from remit.authz.delivery_counters import DeliveryCounters

DEPLOY = Path(__file__).parent.parent / "deploy"
_SUFFIX = re.compile(r"_(total|bucket|count|sum)$")
_METRIC = re.compile(r"\b((?:remit|task|authorization)_[a-z_]+)(?:\{([a-z_]+)(?:=~?)\"[^\"]*\"\})?")


def metrics() -> dict[str, set[str]]:
    """The labels of every metric, by its name without suffix."""
    DeliveryCounters()
    for package in (remit.authz, remit.telemetry):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    known = {}
    for collector in set(REGISTRY._names_to_collectors.values()):
        if isinstance(collector, MetricWrapperBase):
            known[collector._name] = set(collector._labelnames)
    return known


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    return asked + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def unknown(expression: str, known: dict[str, set[str]]) -> list[str]:
    wrong = []
    for name, label in _METRIC.findall(expression):
        labels = known.get(_SUFFIX.sub("", name))
        if labels is None or (label and label not in labels):
            wrong.append(f"{name}{{{label}}}" if label else name)
    for grouped in re.findall(r"by \(([a-z_, ]+)\)", expression):
        names = {_SUFFIX.sub("", name) for name, _ in _METRIC.findall(expression)}
        for label in set(grouped.split(", ")) - {"le"}:
            wrong += [f"by ({label})" for name in names if label not in known.get(name, {label})]
    return wrong


def test_what_is_asked_for_exists() -> None:
    known = metrics()
    asked = expressions()
    assert len(asked) > 15
    assert {expression: wrong for expression in asked if (wrong := unknown(expression, known))} == {}


def test_a_metric_that_is_not_there_is_found() -> None:
    known = metrics()
    assert unknown("sum(rate(remit_nothing_total[5m]))", known) == ["remit_nothing_total"]
    assert unknown('max(remit_outbox_oldest_seconds{sort="any"})', known) == ["remit_outbox_oldest_seconds{sort}"]
    assert unknown("sum by (color) (remit_open_streams)", known) == ["by (color)"]
