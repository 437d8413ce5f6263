"""What all campaigns share, and what came of each at the end of the tests."""

import threading
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tests.data.test_sources import handler
from tests.kills.cases import cases, make_material
from tests.kills.warm import Warm

TOLD = "kills"


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    make_material(folder)
    return folder


@pytest.fixture(scope="session")
def web(material):
    """An HTTP server that has the large pickle, and goes on where a download broke off."""
    pages = {"/large.pkl": (material / "large.pkl").read_bytes()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(SimpleNamespace(pages=pages, ranges=True, cut=[], asked=[])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/large.pkl"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def known_cases(material, web):
    return cases(material, web)


@pytest.fixture(scope="session")
def warm():
    started = Warm()
    yield started
    started.close()


def pytest_terminal_summary(terminalreporter):
    told = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == TOLD
    ]
    if told:
        terminalreporter.section("kills")
    for line in sorted(told):
        terminalreporter.write_line(line)
