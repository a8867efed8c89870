"""How the database came to its present shape, step by step; `migrate` takes it there.

The steps are shipped in the package and applied when the gateway starts, so that nobody can forget them. A new step:
`alembic revision --autogenerate` with this folder as its script location; a test compares the steps with the tables.
"""

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, text

LOCK = 7_392_001
"""Any number will do, as long as nothing else in the database locks it."""


def migrate(engine: Engine) -> None:
    """Applies the steps that are missing, one gateway at a time, all or none.

    Raises ValueError when there are steps that this gateway does not know.
    """
    config = Config()
    config.set_main_option("script_location", "wattfleet_gateway:migrations")
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        else:
            # Python's driver begins nothing before a table is made: each would stay if the next one could not be made.
            connection.execute(text("BEGIN IMMEDIATE"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ValueError(f"the database was brought up to date by a newer Wattfleet: {error}") from error
