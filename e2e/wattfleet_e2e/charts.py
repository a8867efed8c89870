"""Where the charts and Helm's own folders are, and values that several stories render with."""

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".cache" / "helm"
"""Helm, and what checks manifests."""
HELM = PROGRAMS / "helm"
CHARTS = ROOT / "charts"
PLATFORM, AGENT, DEFINITIONS = CHARTS / "wattfleet", CHARTS / "wattfleet-agent", CHARTS / "wattfleet-crds"
IDLE = (PLATFORM, "--set=images.registry=nowhere.invalid,images.pullPolicy=Never")
"""Of this platform nothing of ours runs, even where there are nodes that have its images."""
VALUES = sorted((ROOT / "e2e" / "values").glob("*.yaml"))
PAGE = ROOT / "e2e" / "values" / "platform-page.yaml"

Object = dict[str, Any]


def environment_of(container: Object) -> dict[str, str]:
    """The environment variables that a container gets, those from Secrets as empty texts."""
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def named(objects: list[Object], kind: str, name: str) -> Object:
    """That one of the objects which a chart was rendered to."""
    return next(found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, name))
