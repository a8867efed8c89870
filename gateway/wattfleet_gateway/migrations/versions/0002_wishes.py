"""Homes that people add: what the fleet has yet to be told of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    household = sa.ForeignKey("households.id", name=op.f("fk_wishes_household_id_households"), ondelete="CASCADE")
    op.create_table(
        "wishes",
        sa.Column("household_id", sa.String(27), household, primary_key=True, nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("wished_at_s", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Removes it."""
    op.drop_table("wishes")
