"""Connections to ports of the head, through a conversation with it that is made again if it broke off."""

from __future__ import annotations

import threading
from contextlib import suppress

from provisioner.engine.inquiry import Inquiry
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.transport.connect import Connector
from provisioner.transport.forward import Far


class Tunnels:
    """Makes connections as the head makes them; any thread may ask. A context manager.

    Raises:
        HostFailed, Unreachable: the head can't be talked to.
    """

    def __init__(self, connector: Connector, inventory: Inventory) -> None:
        self._connector = connector
        self._inventory = inventory
        self._lock = threading.Lock()
        self._head = Inquiry(connector, inventory, inventory.head)

    def __enter__(self) -> Tunnels:
        return self

    def __exit__(self, *_: object) -> None:
        self._head.close()

    def open(self, address: str, port: int) -> Far:
        """Return a connection to a port that the head can reach.

        Raises:
            OSError: nobody listens there, or the head can't be reached.
        """
        head = self._head
        try:
            return head.session.tunnel(address, port)
        except (PermissionError, ConnectionRefusedError):
            raise
        except OSError:
            return self._again(head).session.tunnel(address, port)

    def _again(self, broken: Inquiry) -> Inquiry:
        """Return a new conversation, in place of one that broke off; one thread makes it for all."""
        with self._lock:
            if self._head is broken:
                with suppress(ProvisionError):
                    broken.close()
                try:
                    self._head = Inquiry(self._connector, self._inventory, self._inventory.head)
                except ProvisionError as error:
                    raise OSError(error.message) from None
            return self._head
