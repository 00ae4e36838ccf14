import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster as harness  # noqa: E402

# Whoever starts the tests in the background leaves Ctrl-C ignored, and a program that finds it
# so goes on ignoring it; what is caught here is not ignored in what we start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config):
    return f"hearsay: {harness.BIN}"


@pytest.fixture
def cluster(tmp_path):
    """A folder for brokers; whatever was started in it is ended, and its complaints fail
    the test."""
    c = harness.Cluster(tmp_path)
    yield c
    problems = c.close()
    if problems:
        pytest.fail("\n".join(problems))


@pytest.fixture
def three(cluster):
    """Three brokers that know each other, ready and linked."""
    cluster.make(3)
    cluster.wait_linked()
    return cluster


@pytest.fixture
def broker(cluster):
    """One broker alone."""
    return cluster.make(1)[0]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its brokers said."""
    outcome = yield
    report = outcome.get_result()
    c = item.funcargs.get("cluster") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and c:
        for b in c.brokers:
            report.sections.append((f"broker {b.port}", b.stderr()[-6000:]))
