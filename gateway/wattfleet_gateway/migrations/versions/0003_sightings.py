"""Homes that the fleet was seen to have, and since when it has them no more."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    household = sa.ForeignKey("households.id", name=op.f("fk_sightings_household_id_households"), ondelete="CASCADE")
    op.create_table(
        "sightings",
        sa.Column("household_id", sa.String(27), household, primary_key=True, nullable=False),
        sa.Column("missed_since_s", sa.BigInteger(), nullable=True),
    )


def downgrade() -> None:
    """Removes it."""
    op.drop_table("sightings")
