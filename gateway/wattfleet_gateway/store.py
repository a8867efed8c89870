"""What the gateway remembers: people, their sessions, whose home is whose, and what people call things.

People are known by the provider's `issuer` and `subject`, never by a name or an address, which may be given to somebody
else. Of a session's cookie only a hash is kept. Readings are not here; they live in the shards. Calls are synchronous
and short, so endpoints that use them are plain functions, which the framework runs in threads.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Engine, ForeignKey, MetaData, UniqueConstraint, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Column, Field, Session, SQLModel, col, delete, func, select, update
from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.socket import SocketNumber

Outcome = TypeVar("Outcome")

# Constraints get names from this, so that a later migration can change them on every database.
_NAMES = {"ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}
_NAMES["fk"] = "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s"


class _Table(SQLModel):
    metadata = MetaData(naming_convention=_NAMES)


def _reference(target: str, primary: bool = False) -> Column[Any]:
    return Column(ForeignKey(target, ondelete="CASCADE"), primary_key=primary, nullable=False, index=not primary)


class User(_Table, table=True):
    """A person, as the identity provider `issuer` knows one. name: as last told by the provider."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)
    id: int | None = Field(default=None, primary_key=True)
    issuer: str
    subject: str
    name: str = ""


class SessionRow(_Table, table=True):
    """A signed-in browser. id: SHA-256 of the cookie, in hex. Times in Unix seconds."""

    __tablename__ = "sessions"
    id: str = Field(primary_key=True, max_length=64)
    user_id: int = Field(sa_column=_reference("users.id"))
    id_token: str
    seen_at_s: int = Field(sa_type=BigInteger)
    expires_at_s: int = Field(sa_type=BigInteger, index=True)


class HouseholdRow(_Table, table=True):
    """A home and the name that its people gave it."""

    __tablename__ = "households"
    id: str = Field(primary_key=True, max_length=27)
    name: str


class Membership(_Table, table=True):
    """This person may see this household."""

    __tablename__ = "memberships"
    user_id: int = Field(sa_column=_reference("users.id", primary=True))
    household_id: str = Field(sa_column=_reference("households.id", primary=True))


class SocketRow(_Table, table=True):
    """What a household calls one of its sockets."""

    __tablename__ = "sockets"
    household_id: str = Field(sa_column=_reference("households.id", primary=True))
    number: int = Field(primary_key=True)
    name: str


class Wish(_Table, table=True):
    """A household that the fleet was not heard to have yet. wished_at_s: Unix time."""

    __tablename__ = "wishes"
    household_id: str = Field(sa_column=_reference("households.id", primary=True))
    time_zone: str
    wished_at_s: int = Field(sa_type=BigInteger)


class Sighting(_Table, table=True):
    """A household that the fleet has, or had until `missed_since_s` (Unix time)."""

    __tablename__ = "sightings"
    household_id: str = Field(sa_column=_reference("households.id", primary=True))
    missed_since_s: int | None = Field(default=None, sa_type=BigInteger)


METADATA = _Table.metadata


class Store:
    """Questions and changes about people and homes, one transaction each."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def answer(self) -> None:
        """Returns when the database answers; raises SQLAlchemyError when it does not."""
        with Session(self.engine) as session:
            session.scalar(text("SELECT 1"))

    def ensure_user(self, issuer: str, subject: str, name: str = "") -> int:
        """The number of that person, who is remembered from now on; a name that is given replaces the old one."""
        return _again_when_beaten(lambda: self._ensured_user(issuer, subject, name))

    def _ensured_user(self, issuer: str, subject: str, name: str) -> int:
        with Session(self.engine) as session:
            user = session.exec(select(User).where(User.issuer == issuer, User.subject == subject)).one_or_none()
            user = user or User(issuer=issuer, subject=subject)
            user.name = name or user.name
            session.add(user)
            session.commit()
            if user.id is None:
                raise RuntimeError("the database gave a person no number")
            return user.id

    def households_of(self, user_id: int) -> Sequence[HouseholdRow]:
        """The households that this person may see, by name."""
        wanted = (
            select(HouseholdRow)
            .join(Membership, col(Membership.household_id) == col(HouseholdRow.id))
            .where(Membership.user_id == user_id)
            .order_by(HouseholdRow.name, HouseholdRow.id)
        )
        with Session(self.engine) as session:
            return session.exec(wanted).all()

    def household_of(self, user_id: int, household: HouseholdId) -> HouseholdRow | None:
        """That household, when this person may see it."""
        with Session(self.engine) as session:
            if session.get(Membership, (user_id, household)) is None:
                return None
            return session.get(HouseholdRow, household)

    def ensure_household(self, household: HouseholdId, name: str, owner: int) -> None:
        """Remembers or renames a household, and lets `owner` see it."""
        _again_when_beaten(lambda: self._ensure_household(household, name, owner))

    def _ensure_household(self, household: HouseholdId, name: str, owner: int) -> None:
        with Session(self.engine) as session:
            session.merge(HouseholdRow(id=household, name=name))
            session.flush()
            session.merge(Membership(user_id=owner, household_id=household))
            session.commit()

    def household_count(self, user_id: int) -> int:
        """How many households this person may see, without those that the fleet has no more."""
        with Session(self.engine) as session:
            return _household_count(session, user_id)

    def wish_household(
        self, household: HouseholdId, name: str, owner: int, time_zone: str, now_s: int, most: int
    ) -> bool:
        """Remembers a new household of `owner`, and that the fleet has yet to be told.

        False, and nothing is remembered, when the owner has `most` already.
        """
        with Session(self.engine) as session:
            # The row is locked by being written: what one person wishes at once is counted one after the other.
            session.exec(update(User).where(col(User.id) == owner).values(name=User.name))
            if _household_count(session, owner) >= most:
                return False
            session.add(HouseholdRow(id=household, name=name))
            session.flush()
            session.add(Membership(user_id=owner, household_id=household))
            session.add(Wish(household_id=household, time_zone=time_zone, wished_at_s=now_s))
            session.commit()
            return True

    def wishes(self, until_s: int) -> Sequence[Wish]:
        """What the fleet was not heard to have, of all that was wished until then (Unix time, s)."""
        with Session(self.engine) as session:
            return session.exec(select(Wish).where(col(Wish.wished_at_s) <= until_s)).all()

    def forget_wish(self, household: HouseholdId) -> None:
        """The fleet has it."""
        self.saw(household)
        with Session(self.engine) as session:
            session.exec(delete(Wish).where(col(Wish.household_id) == household))
            session.commit()

    def take_back(self, household: HouseholdId) -> None:
        """Forgets a household that was never made, and whose it was to be."""
        with Session(self.engine) as session:
            session.exec(delete(HouseholdRow).where(col(HouseholdRow.id) == household))
            session.commit()

    def sightings(self) -> dict[HouseholdId, Sighting | None]:
        """All households, and what was last seen of each in the fleet; None if it was never there."""
        same = col(Sighting.household_id) == col(HouseholdRow.id)
        wanted = select(HouseholdRow.id, Sighting).outerjoin(Sighting, same)
        with Session(self.engine) as session:
            return {parse_household_id(household): sighting for household, sighting in session.exec(wanted)}

    def saw(self, household: HouseholdId) -> None:
        """The fleet has it; nothing is remembered of one that nobody owns."""
        _again_when_beaten(lambda: self._saw(household))

    def _saw(self, household: HouseholdId) -> None:
        with Session(self.engine) as session:
            if session.get(HouseholdRow, household) is not None:
                session.merge(Sighting(household_id=household))
                session.commit()

    def missed(self, household: HouseholdId, now_s: int) -> None:
        """The fleet, which had it, has it no more; the first time counts."""
        first = (col(Sighting.household_id) == household) & col(Sighting.missed_since_s).is_(None)
        with Session(self.engine) as session:
            session.exec(update(Sighting).where(first).values(missed_since_s=now_s))
            session.commit()

    def is_missed(self, household: HouseholdId) -> bool:
        """Whether the fleet had it and has it no more."""
        with Session(self.engine) as session:
            sighting = session.get(Sighting, household)
            return sighting is not None and sighting.missed_since_s is not None

    def forget_missed(self, household: HouseholdId, until_s: int) -> None:
        """Forgets it, its name and whose it was, if the fleet has not had it since `until_s` (Unix time, s)."""
        gone = select(Sighting.household_id).where(col(Sighting.missed_since_s) <= until_s)
        with Session(self.engine) as session:
            wanted = (col(HouseholdRow.id) == household) & col(HouseholdRow.id).in_(gone)
            session.exec(delete(HouseholdRow).where(wanted))
            session.commit()

    def socket_names(self, household: HouseholdId) -> dict[int, str]:
        """What the household calls its sockets, by number, in order."""
        wanted = select(SocketRow).where(SocketRow.household_id == household).order_by(col(SocketRow.number))
        with Session(self.engine) as session:
            return {row.number: row.name for row in session.exec(wanted)}

    def name_socket(self, household: HouseholdId, number: SocketNumber, name: str) -> None:
        """From now on the household calls that socket `name`."""
        _again_when_beaten(lambda: self._name_socket(household, number, name))

    def _name_socket(self, household: HouseholdId, number: SocketNumber, name: str) -> None:
        with Session(self.engine) as session:
            session.merge(SocketRow(household_id=household, number=number, name=name))
            session.commit()

    def forget_sessions(self, expired_by_s: int) -> None:
        """Removes the sessions that ended before `expired_by_s` (Unix time, s)."""
        with Session(self.engine) as session:
            session.exec(delete(SessionRow).where(col(SessionRow.expires_at_s) <= expired_by_s))
            session.commit()


def _again_when_beaten(change: Callable[[], Outcome]) -> Outcome:
    """Two that add the same row at once: the slower one finds it there and goes on from it."""
    try:
        return change()
    except IntegrityError:
        return change()


def _household_count(session: Session, user_id: int) -> int:
    missed = select(Sighting.household_id).where(col(Sighting.missed_since_s).is_not(None))
    kept = (col(Membership.user_id) == user_id) & col(Membership.household_id).not_in(missed)
    return session.exec(select(func.count()).select_from(Membership).where(kept)).one()
