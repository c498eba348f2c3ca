"""The firmware that a machine boots with. Pure."""

from enum import StrEnum


class BootMode(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"
