"""The adapters of one machine keep what their ports promise; those of a cluster are held to the same in e2e/."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from operator_fakes import S1, shard
from wattfleet_operator.adapters.folder_homes import FolderHomes
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.adapters.nats_broker import NatsBroker
from wattfleet_operator.adapters.nats_identities import NatsIdentities
from wattfleet_operator.adapters.processes import ProcessWorkloads
from wattfleet_operator.adapters.victoria_metrics import VictoriaMetricsStore
from wattfleet_operator.embedded.free_ports import FreePorts
from wattfleet_operator.embedded.nats_server import nats_process
from wattfleet_operator.embedded.supervisor import Supervisor
from wattfleet_operator.signing_keys import ensure_signing_keys
from wattfleet_operator.testing import contracts
from wattfleet_tenants.household import HouseholdId, mint_household_id
from wattfleet_tenants.testing.programs import find_program


@dataclass
class Machine:
    """A supervisor with a NATS server, and what runs beside it."""

    home: Path
    supervisor: Supervisor
    ports: FreePorts
    vault: FolderVault

    @property
    def nats_urls(self) -> tuple[str, ...]:
        return (f"nats://127.0.0.1:{self.ports.port('nats')}",)

    @property
    def store(self) -> VictoriaMetricsStore:
        program = find_program("victoria-metrics", "victoria-metrics-prod")
        return VictoriaMetricsStore(self.supervisor, self.ports, self.home / "store", program)

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[NatsBroker]:
        broker = NatsBroker(self.nats_urls, self.vault)
        yield broker
        await broker.close()

    def shows(self) -> dict[str, int]:
        """What runs beside NATS."""
        listed = json.loads((self.home / "processes.json").read_text())
        return {one["name"]: one["pid"] for one in listed if one["name"] != "nats"}


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with Supervisor(tmp_path) as supervisor:
        machine = Machine(tmp_path, supervisor, FreePorts(tmp_path / "ports.json"), FolderVault(tmp_path / "vault"))
        port = machine.ports.port("nats")
        await supervisor.ensure(await nats_process(NatsIdentities(machine.vault), port, tmp_path / "nats"))
        await supervisor.ready("nats", 20)
        yield machine


async def test_the_folder_vault_keeps_its_promises(tmp_path: Path) -> None:
    await contracts.vault_keeps_its_promises(FolderVault(tmp_path))


async def test_two_vaults_of_one_folder_agree(tmp_path: Path) -> None:
    await contracts.vaults_of_one_place_agree(FolderVault(tmp_path), FolderVault(tmp_path))


async def test_home_files_keep_their_promises(tmp_path: Path) -> None:
    await contracts.homes_keep_their_promises(FolderHomes(tmp_path), mint_household_id())


async def test_nats_with_its_keys_in_a_folder_keeps_its_promises(machine: Machine, household: HouseholdId) -> None:
    await contracts.broker_keeps_its_promises(machine.broker, S1, household)


async def test_a_store_as_a_process_keeps_its_promises(machine: Machine) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        await contracts.store_keeps_its_promises(machine.store, shard(), http, machine.shows)


async def test_workloads_as_processes_keep_their_promises(machine: Machine) -> None:
    await ensure_signing_keys(machine.vault)
    async with machine.broker() as broker:
        await broker.ensure_accounts(S1)
        await broker.ensure_streams(S1)
    store = await machine.store.ensure(shard())
    workloads = ProcessWorkloads(machine.supervisor, machine.ports, machine.vault, machine.nats_urls)
    await contracts.workloads_keep_their_promises(workloads, shard(), store, machine.shows)
