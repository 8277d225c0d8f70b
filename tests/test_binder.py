"""Binder without Docker: a fresh environment from binder/, a server, and the first chapter run through it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import nbformat
import pytest
import websocket
import yaml

ROOT = Path(__file__).resolve().parent.parent
NOT_IN_A_CLONE = shutil.ignore_patterns(".*", "_build", "*.egg-info", "__pycache__")
CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def first_chapter() -> str:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return next(f"{name}.ipynb" for name in files if (ROOT / f"{name}.ipynb").exists())


@dataclass
class Server:
    port: int
    token: str

    def request(self, path: str, body: dict | None = None) -> bytes:
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        with urlopen(Request(f"http://127.0.0.1:{self.port}/{path}", data, headers), timeout=30) as answer:
            return answer.read()


@dataclass
class Kernel:
    channel: websocket.WebSocket

    def run(self, code: str) -> str:
        """What `code` prints; an error or a text on stderr fails the test."""
        message_id = uuid.uuid4().hex
        message = {
            "channel": "shell",
            "header": {
                "msg_id": message_id,
                "msg_type": "execute_request",
                "username": "",
                "session": "",
                "version": "5.4",
            },
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": True, "allow_stdin": False},
        }
        self.channel.send(json.dumps(message))
        printed = ""
        while True:
            reply = json.loads(self.channel.recv())
            if reply["parent_header"].get("msg_id") != message_id:
                continue
            content = reply["content"]
            assert reply["msg_type"] != "error", f"{content['ename']}: {content['evalue']}\n{code}"
            if reply["msg_type"] == "stream":
                assert content["name"] == "stdout", content["text"]
                printed += content["text"]
            if reply["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("binder") / "clone", ignore=NOT_IN_A_CLONE)


@pytest.fixture(scope="module")
def environment(clone: Path) -> dict[str, str]:
    """The variables of a fresh virtual environment, made from the files in binder/ alone."""
    venv = clone.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    # Neither the packages nor the settings of the environment that runs the tests may leak in.
    kept = {key: value for key, value in os.environ.items() if key not in (*CAPS, "PYTHONPATH", "MPLBACKEND")}
    home = {"HOME": str(clone.parent), "PIP_CACHE_DIR": pip_cache()}
    variables = kept | home | {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}
    install = ["python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    run = {"cwd": clone, "env": variables, "check": True, "timeout": 900}
    subprocess.run([*install, "-r", "binder/requirements.txt"], **run)
    subprocess.run(["binder/postBuild"], **run)
    return variables


def pip_cache() -> str:
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def server(clone: Path, environment: dict[str, str]) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = Server(probe.getsockname()[1], secrets.token_hex())
    command = ["binder/start", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={server.port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={server.token}"]
    log = clone.parent / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=clone, env=environment, stdout=out, stderr=out)
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            try:
                server.request("api/status")
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(log.read_text())
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def kernel(server: Server) -> Iterator[Kernel]:
    """The kernel of a session on the first chapter, as Jupyter Lab opens one."""
    path = first_chapter()
    session = {"path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": "python3"}}
    identity = json.loads(server.request("api/sessions", session))["kernel"]["id"]
    address = f"ws://127.0.0.1:{server.port}/api/kernels/{identity}/channels"
    header = [f"Authorization: token {server.token}"]
    channel = websocket.create_connection(address, header=header, timeout=120)
    yield Kernel(channel)
    channel.close()


def test_binder_reads_the_lock_and_nothing_else() -> None:
    requirements = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8")
    assert requirements.split() == ["-r", "../requirements.lock"]


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_binder_can_run_its_scripts(name: str) -> None:
    assert os.access(ROOT / "binder" / name, os.X_OK)


def test_the_launch_address_opens_the_first_chapter_in_jupyter_lab(server: Server) -> None:
    assert b"JupyterLab" in server.request(f"lab/tree/{first_chapter()}")
    model = json.loads(server.request(f"api/contents/{first_chapter()}?content=0"))
    assert model["type"] == "notebook"


def test_kernels_are_capped_to_one_thread(kernel: Kernel) -> None:
    caps = kernel.run(f"import os; print(*[os.environ[name] for name in {CAPS}])")
    assert caps.split() == ["1"] * len(CAPS)


def test_the_kernel_imports_the_package_of_the_clone(kernel: Kernel, clone: Path) -> None:
    assert kernel.run("import mtlbook; print(mtlbook.__file__)").startswith(str(clone))


def test_the_first_chapter_runs_to_its_end(kernel: Kernel) -> None:
    cells = nbformat.read(ROOT / first_chapter(), as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        kernel.run(cell.source)
