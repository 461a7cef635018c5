"""The script for Slurm, run with commands that only write down how they were called."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "cluster" / "search.sbatch"
BASH = "#!/bin/bash\n"
# One write for a line: these commands run side by side.
LOG = 'log() { local line; printf -v line "%s|" "$@"; printf "%s\\n" "$line" >> "$LOG"; }\n'
COMMANDS = {
    "scontrol": 'log scontrol "$@"\n[[ $1 != show ]] || printf "%s\\n" $NODES\n',
    "getent": '[[ -z $IP ]] || printf "%s STREAM\\n" "$IP" 10.0.0.99\n',
    # As srun does: hands the environment and SIGTERM on to what it runs.
    "srun": 'log srun "$@"\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n',
    "ray": """
case "$1 $2" in
"start --head")
    [[ -z ${HEAD_FAILS:-} ]] || exit 1
    [[ -n ${HEAD_HANGS:-} ]] || touch "$LOG.head"
    trap 'log ended head; exit' TERM
    log token head "$RAY_AUTH_MODE" "$RAY_AUTH_TOKEN"
    while true; do sleep 0.05; done ;;
"start --block")
    trap 'log ended workers; exit' TERM
    log token worker "$RAY_AUTH_MODE" "$RAY_AUTH_TOKEN"
    while true; do sleep 0.05; done ;;
"status "*)
    [[ -e $LOG.head ]] || exit 1
    log ray "$@" ;;
esac
""",
    "nas": """
log nas "$@"
[[ $NODES != *" "* ]] || until grep -q "token|worker" "$LOG"; do sleep 0.05; done
trap 'log interrupted; exit 130' INT
log token nas "$RAY_AUTH_MODE" "$RAY_AUTH_TOKEN"
[[ -z ${LASTS:-} ]] || while true; do sleep 0.05; done
exit "${NAS_STATUS:-0}"
""",
}


class Slurm:
    """A folder with fake commands, and what they wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        commands = folder / "bin"
        commands.mkdir()
        for name, body in COMMANDS.items():
            (commands / name).write_text(BASH + LOG + body)
            (commands / name).chmod(0o755)
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").write_text(f'PATH="{commands}:$PATH"\n')

    def start(self, *arguments: str, nodes: str = "gpu1 gpu2 gpu3", ip: str = "10.0.0.1", **more: str) -> None:
        variables = {"SLURM_JOB_ID": "10007", "SLURM_JOB_NODELIST": "gpu[1-3]", "SLURM_CPUS_PER_TASK": "8"}
        path = {"PATH": os.environ["PATH"], "LOG": str(self.log), "NODES": nodes, "IP": ip}
        self.process = subprocess.Popen(
            ["bash", SCRIPT, *arguments],
            cwd=self.folder,
            env=path | variables | more,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> str:
        """Wait for the end; return what was said."""
        return self.process.communicate(timeout=60)[1]

    def calls(self, *start: str) -> list[list[str]]:
        """Return the calls, in order, that begin so; all without any."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        calls = [line.split("|")[:-1] for line in lines]
        return [call for call in calls if call[: len(start)] == list(start)]

    def wait_for(self, *start: str) -> None:
        for _ in range(600):
            if self.calls(*start):
                return
            time.sleep(0.05)
        raise AssertionError(f"{start} was not called: {self.calls()}")


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def names(calls: Sequence[Sequence[str]]) -> list[str]:
    """Return each call in one word or two."""
    return [
        call[0] if call[0] in ("nas", "interrupted") else " ".join(call[:2]) for call in calls if call[0] != "token"
    ]


def test_bash_can_read_the_script() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_the_head_comes_first_then_the_workers_then_the_search_and_all_end(slurm: Slurm) -> None:
    slurm.start("mine.yaml")
    slurm.end()
    assert slurm.process.returncode == 0
    (head, workers), status, (search,) = slurm.calls("srun"), slurm.calls("ray")[0], slurm.calls("nas")
    order = [slurm.calls().index(call) for call in (slurm.calls("scontrol")[0], head, status, workers)]
    assert order == sorted(order)
    assert slurm.calls().index(status) < slurm.calls().index(search)
    assert sorted(call[1] for call in slurm.calls("ended")) == ["head", "workers"]
    assert slurm.calls().index(search) < slurm.calls().index(slurm.calls("ended")[0])
    assert not slurm.calls("scontrol", "requeue")


def test_head_and_workers_are_placed_and_told_what_they_have(slurm: Slurm) -> None:
    slurm.start("mine.yaml")
    slurm.end()
    head, workers = slurm.calls("srun")
    port = 20000 + 2 * (10007 % 5000)
    assert head[1:5] == ["--nodes=1", "--ntasks=1", "--cpus-per-task=8", "--nodelist=gpu1"]
    assert {"--node-ip-address=10.0.0.1", f"--port={port}", f"--ray-client-server-port={port + 1}"} <= set(head)
    assert "--num-cpus=7" in head, "one core is the search's"
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--exclude=gpu1"} <= set(workers)
    assert {f"--address=10.0.0.1:{port}", "--num-cpus=8"} <= set(workers)


def test_arguments_reach_the_search_as_they_are(slurm: Slurm) -> None:
    slurm.start("my experiment.yaml", "--data-dir", "a b/*", "--study", "$HOME")
    slurm.end()
    (call,) = slurm.calls("nas")
    assert call[1:] == [
        "search",
        "my experiment.yaml",
        "--data-dir",
        "a b/*",
        "--study",
        "$HOME",
        "--executor",
        "ray",
        "--address",
        "10.0.0.1:20014",
    ]


def test_all_have_the_same_token_and_another_job_has_another(slurm: Slurm) -> None:
    tokens = []
    for _ in range(2):
        slurm.start("mine.yaml", LASTS="yes")
        for who in ("head", "worker", "nas"):
            slurm.wait_for("token", who)
        slurm.process.terminate()
        slurm.end()
        (token,) = {call[3] for call in slurm.calls("token")}
        assert {call[2] for call in slurm.calls("token")} == {"token"}
        tokens.append(token)
        slurm.log.unlink()
    assert tokens[0] != tokens[1]
    assert {len(token) for token in tokens} == {64}


def test_one_node_needs_no_workers(slurm: Slurm) -> None:
    slurm.start("mine.yaml", nodes="gpu1")
    slurm.end()
    assert slurm.process.returncode == 0
    assert len(slurm.calls("srun")) == len(slurm.calls("nas")) == 1


def test_when_time_is_up_the_search_stops_in_order_and_the_job_goes_back_into_the_queue(slurm: Slurm) -> None:
    slurm.start("mine.yaml", LASTS="yes")
    slurm.wait_for("token", "nas")
    slurm.process.send_signal(signal.SIGUSR1)
    slurm.end()
    assert slurm.process.returncode == 130
    last = names(slurm.calls())[-4:]
    assert (last[0], last[-1]) == ("interrupted", "scontrol requeue")
    assert sorted(last[1:3]) == ["ended head", "ended workers"]
    assert slurm.calls("scontrol", "requeue") == [["scontrol", "requeue", "10007"]]


def test_a_cancelled_job_stops_in_order_and_stays_away(slurm: Slurm) -> None:
    slurm.start("mine.yaml", LASTS="yes")
    slurm.wait_for("token", "nas")
    slurm.process.terminate()
    slurm.end()
    assert slurm.process.returncode == 130
    assert slurm.calls("interrupted")
    assert len(slurm.calls("ended")) == 2
    assert not slurm.calls("scontrol", "requeue")


def test_a_job_that_is_cancelled_while_the_head_starts_begins_no_search(slurm: Slurm) -> None:
    slurm.start("mine.yaml", HEAD_HANGS="yes")
    slurm.wait_for("token", "head")
    slurm.process.terminate()
    slurm.end()
    assert slurm.process.returncode == 130
    assert slurm.calls("ended") == [["ended", "head"]]
    assert not slurm.calls("nas")


def test_the_jobs_status_is_that_of_the_search(slurm: Slurm) -> None:
    slurm.start("mine.yaml", NAS_STATUS="2")
    slurm.end()
    assert slurm.process.returncode == 2
    assert not slurm.calls("scontrol", "requeue")
    assert slurm.calls("ended", "head")


def test_a_head_that_does_not_start_ends_the_job_with_a_reason(slurm: Slurm) -> None:
    slurm.start("mine.yaml", HEAD_FAILS="yes")
    assert "Ray's head has not started" in slurm.end()
    assert slurm.process.returncode == 1
    assert not slurm.calls("nas")


@pytest.mark.parametrize("ip", ["", "127.0.1.1"])
def test_an_address_that_other_nodes_cannot_reach_is_refused(slurm: Slurm, ip: str) -> None:
    slurm.start("mine.yaml", ip=ip)
    said = slurm.end()
    assert slurm.process.returncode == 1
    assert not slurm.calls("srun")
    assert "gpu1" in said


def test_all_processes_are_gone_at_the_end(slurm: Slurm) -> None:
    slurm.start("mine.yaml")
    slurm.end()
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if _has(path, f"LOG={slurm.log}".encode())]
    assert not left


def _has(environment: Path, setting: bytes) -> bool:
    try:
        return setting in environment.read_bytes().split(b"\0")
    except OSError:
        return False
