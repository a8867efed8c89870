from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PackedReadings(_message.Message):
    __slots__ = ("version", "run", "number", "messages_before", "household", "message", "households", "lengths", "messages")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    HOUSEHOLD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HOUSEHOLDS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    version: int
    run: str
    number: int
    messages_before: int
    household: _containers.RepeatedScalarFieldContainer[bytes]
    message: _containers.RepeatedScalarFieldContainer[bytes]
    households: bytes
    lengths: bytes
    messages: bytes
    def __init__(self, version: _Optional[int] = ..., run: _Optional[str] = ..., number: _Optional[int] = ..., messages_before: _Optional[int] = ..., household: _Optional[_Iterable[bytes]] = ..., message: _Optional[_Iterable[bytes]] = ..., households: _Optional[bytes] = ..., lengths: _Optional[bytes] = ..., messages: _Optional[bytes] = ...) -> None: ...
