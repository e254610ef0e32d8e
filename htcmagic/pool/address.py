"""A pool's address: where, with which configuration, and who said so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """An address, not a connection; picklable, cheap, comparable.

    Parameters
    ----------
    schedd : str
        Name of the schedd as the collector knows it; empty: the one that the configuration names.
    collector : str
        Host, ``host:port`` or sinful string; empty: the one that the configuration names.
    config : str
        Path of the root HTCondor configuration file to use; empty: HTCondor's usual search.
    origin : str
        Where the choice came from, for people: ``"--schedd"``, ``"$_CONDOR_SCHEDD_HOST"``, ``"personal pool"``.
    personal : bool
        Whether it is this user's personal pool on this machine.
    """

    schedd: str = ""
    collector: str = ""
    config: str = ""
    origin: str = ""
    personal: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells two pools apart, whoever named them."""
        return (self.schedd, self.collector, self.config)

    @property
    def its_schedd(self) -> str:
        """Name the schedd in a sentence."""
        if self.personal:
            return "the personal pool's schedd"
        if self.schedd:
            return f"the schedd {self.schedd}"
        return f"the schedd of {self.collector}" if self.collector else f"the schedd that {self.origin} names"

    def __str__(self) -> str:
        if self.personal:
            return "personal pool"
        return self.schedd or (f"schedd of {self.collector}" if self.collector else "configured schedd")


@dataclass(frozen=True, slots=True)
class Schedd:
    """A schedd that has answered.

    Attributes
    ----------
    name, address, version, machine : str
        As its ad says; `address` is a sinful string.
    label : str
        How ``condor_q`` names it in its header.
    user : str
        Who we are there, ``name@domain``; empty when it was not asked.
    method : str
        How it authenticated us (``FS``, ``IDTOKENS``, …).
    collector : str
        The collector that was asked.
    local : bool
        Whether it runs on this machine, so that its event logs can be read here.
    """

    name: str
    address: str
    version: str
    machine: str
    label: str
    user: str = ""
    method: str = ""
    collector: str = ""
    local: bool = False

    @property
    def me(self) -> str:
        """The user's name without the domain."""
        return self.user.partition("@")[0]
