"""Addresses that are asked for without a name: seen in a namespace, over IPv4, IPv6, TCP and UDP."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_cache.base import python
from opencode_cache.sandbox import address_logger, netns, own_network

INSIDE = """
import json, socket as s, subprocess, sys, threading, time
from opencode_cache.sandbox import netns, own_network
from opencode_cache.sandbox.address_logger import AddressLogger
netns.enter()
said = {}

def lane(name, asked):
    own_network.enter()
    with AddressLogger() as log:
        subprocess.run([sys.executable, "-c", sys.argv[1], json.dumps(asked)], check=True)
        time.sleep(0.3)
    said[name] = [[[one.address, one.port] for one in log.asked], list(log.unseen)]

threads = [threading.Thread(target=lane, args=one) for one in json.loads(sys.argv[2]).items()]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps(said))
"""
ASK = """
import json, socket as s, sys
for kind, address, port in json.loads(sys.argv[1]):
    family = s.AF_INET6 if ":" in address else s.AF_INET
    with s.socket(family, s.SOCK_STREAM if kind == "tcp" else s.SOCK_DGRAM) as one:
        one.settimeout(5)
        try:
            one.connect((address, port))
            one.send(b"x")
        except ConnectionRefusedError:
            pass
"""


@pytest.fixture(scope="module")
def possible():
    can = netns.available()
    if not can.ok:
        pytest.skip(f"needs a network namespace of its own: {can.why}")


def test_what_each_lane_asks_for_is_seen_in_that_lane_alone(possible):
    first = [
        ["tcp", "169.254.169.254", 80],
        ["tcp", "fd00:ec2::254", 80],
        ["udp", "192.0.2.1", 53],
        ["udp", "2001:db8::1", 443],
        ["udp", "224.0.0.251", 5353],
        ["tcp", "127.0.0.1", 9],
        ["tcp", "::1", 9],
        ["udp", "127.0.0.53", 53],
    ]
    second = [["tcp", "::ffff:198.51.100.7", 443]]
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, ASK, json.dumps({"first": first, "second": second})],
        env=os.environ | python.path(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "first": [[[address, f"{kind}/{port}"] for kind, address, port in first[:5]], []],
        "second": [[["198.51.100.7", "tcp/443"]], []],
    }


def test_where_the_kernel_allows_no_packet_socket_that_is_said(monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(own_network, "lead_everything_back", lambda: iter(["one kind is not seen"]))
    monkeypatch.setattr(address_logger.socket, "socket", refused)
    with address_logger.AddressLogger() as log:
        assert log.asked == ()
        (said,) = log.unseen
    assert said.startswith("addresses that were asked for without a name are not seen: ")
    assert said.endswith("the kernel refuses a packet socket (Operation not permitted)")


def test_where_the_kernel_allows_no_route_that_is_said(monkeypatch):
    def refused(what, *_):
        raise own_network.RefusedError(f"the kernel refuses {what}")

    monkeypatch.setattr(own_network, "_ask", refused)
    monkeypatch.setattr(own_network, "_speaks_ipv6", lambda: True)
    said = list(own_network.lead_everything_back())
    assert [text.partition(" ")[0] for text in said] == ["addresses", "addresses", "IPv6"]
    assert said[2].endswith("are not seen: the kernel refuses a route for ::/0")
    monkeypatch.setattr(own_network, "_speaks_ipv6", lambda: False)
    assert len(list(own_network.lead_everything_back())) == 2


@given(st.binary(max_size=160))
def test_no_packet_is_too_odd(packet):
    address_logger._read(packet)


def test_answers_are_not_questions():
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([1, 1, 1, 1]), bytes([2, 2, 2, 2]))
    tcp = struct.pack("!HHIIBBHHH", 80, 40000, 0, 0, 0x50, 0x14, 0, 0, 0)
    assert address_logger._read(ip + tcp) is None
    syn = struct.pack("!HHIIBBHHH", 40000, 80, 0, 0, 0x50, 0x02, 0, 0, 0)
    assert address_logger._read(ip + syn) == address_logger.Asked("2.2.2.2", "tcp/80")
