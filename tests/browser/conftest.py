"""A real browser, and JupyterLab as ``make lab`` starts it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import pytest
from playwright.sync_api import Error, sync_playwright

from browser.jupyterlab import PLACE, ROOT, Lab, Watched

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def launch(playwright):
    """The system's Chromium, or else the one that playwright brings, if it may be fetched."""
    own = next(filter(None, map(shutil.which, NAMES)), None)
    options = {"args": ["--no-sandbox"], "executable_path": own}
    try:
        return playwright.chromium.launch(**options)
    except Error:
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        with open(os.devnull, "w") as nowhere:
            subprocess.run(command, stdout=nowhere, stderr=nowhere, check=False)
    try:
        return playwright.chromium.launch(args=["--no-sandbox"])
    except Error:
        told = "no browser: install Chromium (Debian and Ubuntu: apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(told)  # there a skip would look like a success
        pytest.skip(told)


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """A function that opens a page of a width; afterwards nothing has left, and no error was."""
    watched = []

    def page(width=1440, height=900):
        opened = chromium.new_context(viewport={"width": width, "height": height}).new_page()
        watched.append((opened, Watched(opened)))
        return opened

    yield page
    for opened, seen in watched:
        opened.context.close()
        assert not seen.left, "a request left this machine"
        assert not seen.errors


@pytest.fixture(scope="session")
def lab():
    """The address of a JupyterLab that ``make lab`` has started, on new copies."""
    for own in ("mine", "workspaces", "settings"):
        shutil.rmtree(PLACE / own, ignore_errors=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    arguments = (
        f"--no-browser --port {port} --IdentityProvider.token={token} --expose-app-in-browser"
    )
    command = ["make", "lab", f"MINE={(PLACE / 'mine').relative_to(ROOT)}", f"LAB_ARGS={arguments}"]
    PLACE.mkdir(parents=True, exist_ok=True)
    own = {
        "CXR_DATA": "",
        "CXR_PROGRESS": str(PLACE / "mine" / "progress.json"),
        "JUPYTERLAB_WORKSPACES_DIR": str(PLACE / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(PLACE / "settings"),
    }
    log = open(PLACE / "lab.log", "w+")  # noqa: SIM115 (closed below)
    server = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | own, stdout=log, stderr=log, start_new_session=True
    )
    address = f"http://localhost:{port}"
    try:
        wait_for(f"{address}/api?token={token}", server, log)
        yield Lab(address, token)
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(server.pid, signal.SIGINT)
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
        log.close()


def wait_for(url, server, log):
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except OSError:
            time.sleep(0.5)
    log.seek(0)
    pytest.fail(f"`make lab` did not start:\n{log.read()}")
