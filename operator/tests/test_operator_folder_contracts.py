"""The adapters of one machine keep what their ports promise; those of a cluster are held to the same in e2e/."""

from pathlib import Path

from wattfleet_operator.adapters.folder_homes import FolderHomes
from wattfleet_operator.adapters.folder_vault import FolderVault
from wattfleet_operator.testing import contracts
from wattfleet_tenants.household import mint_household_id


async def test_the_folder_vault_keeps_its_promises(tmp_path: Path) -> None:
    await contracts.vault_keeps_its_promises(FolderVault(tmp_path))


async def test_two_vaults_of_one_folder_agree(tmp_path: Path) -> None:
    await contracts.vaults_of_one_place_agree(FolderVault(tmp_path), FolderVault(tmp_path))


async def test_home_files_keep_their_promises(tmp_path: Path) -> None:
    await contracts.homes_keep_their_promises(FolderHomes(tmp_path), mint_household_id())
