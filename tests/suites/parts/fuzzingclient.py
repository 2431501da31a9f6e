"""Runs cases of Autobahn's fuzzing client (Python 2.7) against servers behind one address, says what became of each.

    fuzzingclient.py SPECIFICATION PORT OUTPUT AUTHORITY

SPECIFICATION is Autobahn's own, in JSON; a server in it may have "headers" besides, and "deaf": what it sends is left
out of account, so that a socket that is no echo can show all that asks for no message in return. AUTHORITY is the file of
certificates by which a server of TLS is known."""
import json
import sys

from autobahntestsuite import fuzzing
from twisted.internet import reactor, ssl

specification, port, output = json.load(open(sys.argv[1])), int(sys.argv[2]), sys.argv[3]
found = {}
connect = reactor.connectTCP
reactor.connectTCP = lambda _host, _port, *rest, **more: connect("127.0.0.1", port, *rest, **more)
connect_tls = reactor.connectSSL


def over_tls(host, _port, factory, _context, *rest, **more):
    authority = ssl.Certificate.loadPEM(open(sys.argv[4]).read())
    context = ssl.optionsForClientTLS(unicode(host), trustRoot=authority)  # noqa: F821 (Python 2)
    return connect_tls("127.0.0.1", port, factory, context, *rest, **more)


reactor.connectSSL = over_tls


class Client(fuzzing.FuzzingClientFactory):
    def setSessionParameters(self, *given, **named):
        if named:
            named["headers"] = self.spec["servers"][self.currServer].get("headers", {})
        fuzzing.WebSocketClientFactory.setSessionParameters(self, *given, **named)

    def buildProtocol(self, address):
        protocol = fuzzing.FuzzingClientFactory.buildProtocol(self, address)
        if self.spec["servers"][self.currServer].get("deaf"):
            protocol.runCase.onMessage = lambda message, binary: None
        return protocol

    def logCase(self, case):
        wanted = case["expected"].values()
        found.setdefault(case["agent"], {})[case["id"]] = {
            "behavior": case["behavior"],
            "close": case["behaviorClose"],
            "code": case["remoteCloseCode"],
            "milliseconds": case["duration"],
            "result": case["result"],
            "messages": bool(wanted) and all(any(part[0] == "message" for part in parts) for parts in wanted),
        }

    def createReports(self, *_):
        json.dump(found, open(output, "w"))


client = Client(specification)
reactor.run()
