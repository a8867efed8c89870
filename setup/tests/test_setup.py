"""What the set-up reads of a machine, and what it refuses."""

import io
import os
import string
import subprocess
import sys
import tarfile
from pathlib import Path

import baseline
import bun
import debian_packages
import npm_registry
import postgresql
import pytest
import step
import uv
import victoria_metrics
from debian_sources import Source, debian_sources, sources_in_lines, sources_in_stanzas
from hypothesis import given
from hypothesis import strategies as st

SETUP = Path(step.__file__).parent
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
words = st.text(string.ascii_lowercase + string.digits + "-", min_size=1)
addresses = words.map(lambda host: f"http://{host}.example/debian")


@given(addresses, words, st.sampled_from(["", DEBIAN_KEYS]))
def test_a_source_written_for_another_suite_is_read_back(address: str, suite: str, keys: str) -> None:
    source = Source(address, "bookworm", "main", keys)
    assert list(sources_in_stanzas(source.stanza(suite))) == [Source(address, suite, "main", keys)]


@given(st.lists(addresses), words)
def test_lines_and_stanzas_say_the_same(hosts: list[str], suite: str) -> None:
    lines = "\n".join(f"deb [arch=amd64 signed-by={DEBIAN_KEYS}] {host} {suite} main # ours" for host in hosts)
    stanzas = "\n\n".join(f"Types: deb\nURIs: {host}\nSuites: {suite}\nComponents: main" for host in hosts)
    from_lines, from_stanzas = list(sources_in_lines(lines)), list(sources_in_stanzas(stanzas))
    assert [source.addresses for source in from_lines] == [source.addresses for source in from_stanzas] == hosts


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    list(sources_in_lines(text))
    list(sources_in_stanzas(text))
    victoria_metrics.numbers(text)


@pytest.mark.parametrize(
    ("address", "components", "is_debian"),
    [
        ("http://mirror.example/debian/", "main contrib", True),
        ("mirror+file:///etc/apt/mirrors/debian.list", "main", True),
        ("http://security.example/debian-security", "main", False),
        ("https://download.docker.example/linux/debian", "stable", False),
        ("http://archive.example/ubuntu", "main universe", False),
    ],
)
def test_debian_is_told_from_other_sources(address: str, components: str, is_debian: bool) -> None:
    assert Source(address, "trixie", components, "").is_debian() is is_debian


def test_the_source_with_debians_own_keys_comes_first_and_disabled_ones_not_at_all(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("# deb http://off.example/debian sid main\n")
    (parts / "a.list").write_text("deb http://other.example/debian bookworm main\n")
    (parts / "b.sources").write_text(
        f"Types: deb\n# a comment\nURIs: http://deb.example/debian\nSuites: bookworm\n bookworm-updates\n"
        f"Components: main\nSigned-By: {DEBIAN_KEYS}\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: sid\nComponents: main\n"
    )
    found = [source.addresses for source in debian_sources(tmp_path)]
    assert found == ["http://deb.example/debian", "http://other.example/debian"]


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("victoria-metrics-20260101-000000-tags-v1.150.2-0-gabc", (1, 150, 2)),
        ("victoria-metrics_1.145.0+ds1-2_amd64.deb", (1, 145, 0)),
        ("", ()),
    ],
)
def test_versions_are_read_as_numbers(said: str, understood: tuple[int, ...]) -> None:
    assert victoria_metrics.numbers(said) == understood


def test_an_old_uv_on_path_is_not_taken(tmp_path: Path) -> None:
    old = tmp_path / "uv"
    old.write_text("#!/bin/sh\necho uv 0.1.44\n")
    old.chmod(0o755)
    assert not uv.is_new_enough(old)
    assert not uv.is_new_enough(tmp_path / "missing")


def test_an_archive_other_than_the_named_one_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "bun.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/bin/bun"), io.BytesIO())
    with pytest.raises(step.StepFailedError, match="refused"):
        bun.unpack(archive, next(iter(bun.SHA512.values())), tmp_path)
    assert not (tmp_path / "bun").exists()


def test_without_npm_the_registry_is_read_as_npm_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    npmrc = tmp_path / "npmrc"
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(npmrc))
    assert npm_registry.npm_registry() == npm_registry.DEFAULT_REGISTRY
    npmrc.write_text("fund=false\nregistry = https://npm.example/mirror\n")
    assert npm_registry.npm_registry() == "https://npm.example/mirror/"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://other.example/")
    assert npm_registry.npm_registry() == "https://other.example/"


def test_a_failing_step_says_why_names_its_log_and_shows_its_end() -> None:
    command = [sys.executable, SETUP / "run.py", "Try", "fails", sys.executable, "-c", "print('the reason'); exit(3)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=dict(os.environ))
    assert done.returncode == 1
    assert "✗ Try: python" in done.stdout
    assert "ended with 3 (log: .cache/log/try.log)" in done.stdout
    assert "    the reason" in done.stdout


A_SOURCE = Source("http://deb.example/debian", "bookworm\n bookworm-updates", "main", DEBIAN_KEYS)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of apt and dpkg that log their arguments, know a few packages and download empty files."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, answer in {
        "apt-get": 'case "$3" in download) shift 3; for name; do : > "${name}_1_all.deb"; done;; esac',
        "apt-cache": "printf 'rabbitmq-server\\n  Depends: erlang-base\\nerlang-ssl\\nadduser\\nerlang-base\\n'",
        "dpkg": ":",
    }.items():
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/said\n{answer}\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def test_packages_come_through_a_private_configuration_into_one_folder(apt: Path) -> None:
    work = apt / "work"
    running = step.Step(apt / "log")
    private = debian_packages.PrivateApt(running, work, A_SOURCE, "bookworm")
    needed = private.needed_by("rabbitmq-server", "erlang-")
    assert needed == ["rabbitmq-server", "erlang-base", "erlang-ssl"]
    packages = private.download(*needed)
    debian_packages.unpack(running, packages, apt / "fresh")
    assert [package.parent for package in packages] == [work] * 3
    settings = (work / "apt.conf").read_text()
    assert 'Dir::State::Status "/dev/null"' in settings
    assert f'Dir::Cache "{work}/cache"' in settings
    said = (apt / "said").read_text().splitlines()
    assert all(f"-c {work}/apt.conf" in line for line in said if line.startswith("apt-"))
    assert [line for line in said if line.startswith("dpkg")] == [f"dpkg -x {one} {apt}/fresh" for one in packages]
    private.remove()
    assert not work.exists()


def test_the_first_source_that_has_it_is_taken_and_the_last_ones_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(source: Source) -> None:
        asked.append(source.addresses)
        if "without" in source.addresses:
            raise step.StepFailedError(f"{source.addresses} does not have it")

    def sources(*addresses: str) -> list[Source]:
        return [Source(address, "bookworm", "main", "") for address in addresses]

    monkeypatch.setattr(debian_packages, "debian_sources", lambda: sources("without-1", "with", "never-asked"))
    debian_packages.from_first_source(fetch, "no source")
    assert asked == ["without-1", "with"]
    monkeypatch.setattr(debian_packages, "debian_sources", lambda: sources("without-1", "without-2"))
    with pytest.raises(step.StepFailedError, match="without-2 does not have it"):
        debian_packages.from_first_source(fetch, "no source")
    monkeypatch.setattr(debian_packages, "debian_sources", sources)
    with pytest.raises(step.StepFailedError, match="no source"):
        debian_packages.from_first_source(fetch, "no source")


def test_without_erlang_in_the_packages_the_baseline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(step.StepFailedError, match="Erlang"):
        baseline.start_erlang(step.Step(tmp_path / "log"), tmp_path)


def test_without_apt_the_baseline_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(baseline, "HOME", tmp_path / "baseline")
    with pytest.raises(SystemExit, match="1"):
        baseline.main()
    assert "this machine has no apt" in capsys.readouterr().out


def make_server(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in postgresql.PROGRAMS:
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$LD_LIBRARY_PATH" "$@"\n')
        (folder / name).chmod(0o755)


def test_of_several_postgresql_servers_the_newest_whole_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6", "15", "17"):
        make_server(tmp_path / version / "bin")
    (tmp_path / "17" / "bin" / "initdb").unlink()
    assert postgresql.own_server(tmp_path) == tmp_path / "15" / "bin"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert postgresql.own_server(tmp_path / "none") is None


def test_an_unpacked_postgresql_finds_its_libraries_wherever_it_is_moved_to(tmp_path: Path) -> None:
    make_server(tmp_path / "new" / "usr" / "lib" / "postgresql" / "15" / "bin")
    library = tmp_path / "new" / "usr" / "lib" / "some-linux" / "libpq.so.5.15"
    library.parent.mkdir()
    library.touch()
    postgresql.write_programs(tmp_path / "new")
    place = (tmp_path / "new").rename(tmp_path / "place")
    said = subprocess.run([place / "bin" / "initdb", "a b"], capture_output=True, text=True, check=True).stdout
    name, libraries, arguments = said.strip().split(" ", 2)
    assert (name, arguments) == ("initdb", "a b")
    assert Path(libraries).resolve() == place / "usr" / "lib" / "some-linux"


@pytest.mark.parametrize(
    ("package", "is_needed"),
    [("libc6", False), ("libc-l10n", False), ("libllvm14", False), ("libjson-perl", False), ("libperl5.36", False),
     ("libpq5", True), ("libcom-err2", True), ("libcrypt1", True), ("libldap-2.5-0", True)],
)  # fmt: skip
def test_of_a_postgresqls_libraries_only_what_it_runs_with_is_fetched(package: str, is_needed: bool) -> None:
    assert (postgresql.NOT_NEEDED.fullmatch(package) is None) is is_needed


def test_without_apt_a_postgresql_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "HOME", tmp_path / "postgresql")
    monkeypatch.setattr(postgresql, "own_server", lambda: None)
    with pytest.raises(SystemExit, match="1"):
        postgresql.main()
    assert "`postgres` and `initdb` on PATH" in capsys.readouterr().out
