from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Readings(_message.Message):
    __slots__ = ("version", "sequence", "interval_start_ms", "power_dw", "temperature_cc")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_START_MS_FIELD_NUMBER: _ClassVar[int]
    POWER_DW_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CC_FIELD_NUMBER: _ClassVar[int]
    version: int
    sequence: int
    interval_start_ms: int
    power_dw: _containers.RepeatedScalarFieldContainer[int]
    temperature_cc: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, version: _Optional[int] = ..., sequence: _Optional[int] = ..., interval_start_ms: _Optional[int] = ..., power_dw: _Optional[_Iterable[int]] = ..., temperature_cc: _Optional[_Iterable[int]] = ...) -> None: ...
