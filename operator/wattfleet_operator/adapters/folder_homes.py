"""Home files in one folder, `<household>.json` each, readable by their owner only."""

import logging
from pathlib import Path

from wattfleet_tenants.home_file import HomeFile, read_home_file, write_home_file
from wattfleet_tenants.household import HouseholdId, parse_household_id

from wattfleet_operator.credential import read_credential

logger = logging.getLogger(__name__)


class FolderHomes:
    """The home files below `root`, from where agents of this machine read them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, household: HouseholdId) -> Path:
        """Where a household's home file lies."""
        return self.root / f"{parse_household_id(household)}.json"

    async def read(self, household: HouseholdId) -> HomeFile | None:
        """The home file; None when there is none, or none that can be used."""
        try:
            home = read_home_file(self.path(household))
            read_credential(home.credentials)
        except FileNotFoundError:
            return None
        except ValueError as error:
            logger.warning("home file is replaced", extra={"household": household, "error": str(error)})
            return None
        return home

    async def write(self, home: HomeFile) -> None:
        """Replaces the household's home file, whole or not at all."""
        write_home_file(self.path(home.household), home)

    async def remove(self, household: HouseholdId) -> None:
        """Removes the household's home file, if there is one."""
        self.path(household).unlink(missing_ok=True)
