"""People, their sessions, their homes and their sockets' names."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_users_issuer")),
    )
    op.create_table(
        "households",
        sa.Column("id", sa.String(27), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
    )
    op.create_table("memberships", _reference("memberships", "user_id", "users"), _home_of("memberships"))
    op.create_table(
        "sockets",
        _home_of("sockets"),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        _reference("sessions", "user_id", "users", primary=False),
        sa.Column("id_token", sa.String(), nullable=False),
        sa.Column("seen_at_s", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_s", sa.BigInteger(), nullable=False),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_index(op.f("ix_sessions_expires_at_s"), "sessions", ["expires_at_s"])


def downgrade() -> None:
    """Removes all of it."""
    for table in ("sessions", "sockets", "memberships", "households", "users"):
        op.drop_table(table)


def _reference(table: str, column: str, target: str, primary: bool = True) -> sa.Column[Any]:
    kind: sa.types.TypeEngine[Any] = sa.String(27) if target == "households" else sa.Integer()
    name = op.f(f"fk_{table}_{column}_{target}")
    foreign_key = sa.ForeignKey(f"{target}.id", name=name, ondelete="CASCADE")
    return sa.Column(column, kind, foreign_key, primary_key=primary, nullable=False)


def _home_of(table: str) -> sa.Column[Any]:
    return _reference(table, "household_id", "households")
