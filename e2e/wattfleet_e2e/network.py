"""The network of a cluster: a bridge on the control plane's machine, a cable to each node, a route to each node's pods.

Nodes reach everything through the bridge; pods keep their addresses all the way. Services are reached from the control
plane through the first node, where kube-proxy knows them.
"""

from collections.abc import Sequence

from wattfleet_e2e.machines import Machine

GATEWAY = "10.77.0.1"
PODS = "10.88.0.0/16"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
FIRST_NODE = "n1"
_BRIDGE = "nodes"


def address(number: int) -> str:
    """Of node `number`; the first is 1."""
    return f"10.77.0.{10 + number}"


def pods(number: int) -> str:
    """The addresses of node `number`'s pods."""
    return f"10.88.{number}.0/24"


def connect(control_plane: Machine, nodes: Sequence[Machine]) -> None:
    """Lays the cables and says the routes."""
    _ip(
        control_plane,
        f"link add {_BRIDGE} type bridge",
        f"addr add {GATEWAY}/24 dev {_BRIDGE}",
        f"link set {_BRIDGE} up",
    )
    for number, node in enumerate(nodes, start=1):
        connect_node(control_plane, number, node, len(nodes))
    _ip(control_plane, f"route add {SERVICES} via {address(1)}")


def connect_node(control_plane: Machine, number: int, node: Machine, nodes: int) -> None:
    """Lays the cable of node `number` of so many, for the first time or after its machine was away."""
    _ip(control_plane, f"link add n{number} type veth peer name eth0 netns {node.pid}")
    _ip(control_plane, f"link set n{number} master {_BRIDGE} up", _route(number))
    _ip(node, f"addr add {address(number)}/24 dev eth0", "link set eth0 up", f"route add default via {GATEWAY}")
    others = [_route(other) for other in range(1, nodes + 1) if other != number]
    _ip(node, *others)


def is_connected(control_plane: Machine, number: int) -> bool:
    """Whether the cable of node `number` lies; it goes with the node's network, some time after its last process."""
    return f" n{number}@" in control_plane.run_in_network("ip", "link", "show")


def _route(number: int) -> str:
    return f"route replace {pods(number)} via {address(number)}"


def _ip(machine: Machine, *commands: str) -> None:
    for command in commands:
        machine.run_in_network("ip", *command.split())
