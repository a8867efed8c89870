"""Where this machine gets Debian's packages from: its own sources, mirrors and keys, read from apt's files.

Only what is needed to ask the same place for another suite: both of apt's formats, no apt library (python3-apt is a
system package and belongs to the system's own Python).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

APT = Path("/etc/apt")


@dataclass(frozen=True)
class Source:
    """One source of packages of this machine: where, which suites and parts of it, signed by whom."""

    addresses: str
    suites: str
    components: str
    signed_by: str

    def is_debian(self) -> bool:
        """Whether this is the Debian archive or a mirror of it, neither its security updates nor somebody else's."""
        last_part = self.addresses.rstrip("/").rpartition("/")[2]
        return "main" in self.components.split() and "debian" in last_part and "security" not in last_part

    def stanza(self, suite: str) -> str:
        """The same source for another suite, its list of packages only."""
        signed = f"Signed-By: {self.signed_by}\n" if self.signed_by else ""
        where = f"Types: deb\nURIs: {self.addresses}\nSuites: {suite}\nComponents: main\n"
        return f"{where}{signed}Targets: Packages\n"


def sources_in_stanzas(text: str) -> Iterator[Source]:
    """The sources of a deb822 file (`*.sources`): stanzas of fields, which read like the header of a mail."""
    uncommented = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", uncommented.strip()):
        fields = message_from_string(stanza)
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").lower() != "no":
            yield Source(*(fields.get(name, "") for name in ("URIs", "Suites", "Components", "Signed-By")))


def sources_in_lines(text: str) -> Iterator[Source]:
    """The sources of a one-line file (`sources.list`): deb [options] address suite component…"""
    for line in text.splitlines():
        if found := re.match(
            r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<where>\S+)\s+(?P<suite>\S+)\s+(?P<parts>[^#]+)", line
        ):
            signed = re.search(r"signed-by=(\S+)", found["options"] or "", re.IGNORECASE)
            yield Source(found["where"], found["suite"], found["parts"], signed[1] if signed else "")


def debian_sources(apt: Path = APT) -> list[Source]:
    """This machine's sources of Debian packages, those signed with Debian's own keyring first."""
    folder = apt / "sources.list.d"
    found: list[Source] = []
    for file in sorted(folder.glob("*.sources")):
        found += sources_in_stanzas(file.read_text(encoding="utf-8"))
    for file in (apt / "sources.list", *sorted(folder.glob("*.list"))):
        found += sources_in_lines(file.read_text(encoding="utf-8")) if file.exists() else ()
    debian = [source for source in found if source.is_debian()]
    return sorted(debian, key=lambda source: "debian-archive" not in source.signed_by)
