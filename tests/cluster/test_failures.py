"""Every failure of docs/reliability.md on each kind of cluster; the times go into a table beside the reports.

The Scala suites disturb processes, tasks and local disks; what needs daemons or networks of its own is here.
"""

import contextlib
import csv
import ctypes
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from daemons import Hadoop, Standalone
from jobs import Job, options, weights
from places import BUILD, LOOPBACK, ROOT, SPARK_HOME

pytestmark = [pytest.mark.failures, pytest.mark.timeout(1800)]

TABLE = BUILD / "test-results/failures.tsv"  # of all runs since it was removed
CLUSTERS = ["local-cluster", "standalone", "yarn"]
SUITES_SECONDS = 1500
AWAY_SECONDS = 20
QUICK = {
    "spark.caffe.checkpointInterval": "300ms",
    "spark.caffe.silence": "3s",
    "spark.caffe.timeout": "15s",
    "spark.caffe.recoveryTimeout": "60s",
    "spark.network.timeout": "12s",
    "spark.network.timeoutInterval": "2s",
    "spark.executor.heartbeatInterval": "2s",
}


@dataclass
class Cluster:
    """Two executors of one core: the master as a program sets it, its properties, and options for spark-submit."""

    name: str
    master: str
    options: list[str]
    settings: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="session", params=CLUSTERS)
def cluster(request):
    if request.param == "local-cluster":
        master = "local-cluster[2,1,1024]"
        return Cluster(request.param, master, ["--master", master])
    if request.param == "standalone":
        master = request.getfixturevalue("standalone").master
        return Cluster(
            request.param, master, ["--master", master, "--executor-cores", "1", "--total-executor-cores", "2"]
        )
    hadoop = request.getfixturevalue("hadoop")
    settings = {**request.getfixturevalue("yarn_settings"), "spark.executor.instances": "2"}
    # A program that is no spark-submit does not read HADOOP_CONF_DIR; and its executors may fail as often as they like.
    ports = {"address": "rm", "scheduler.address": "rm_sched"}
    settings |= {f"spark.hadoop.yarn.resourcemanager.{k}": f"{LOOPBACK}:{hadoop.ports[v]}" for k, v in ports.items()}
    settings["spark.executor.maxNumFailures"] = "100"
    return Cluster(request.param, "yarn", request.getfixturevalue("yarn"), settings)


@pytest.fixture(scope="session")
def table():
    """table(cluster, failure, noticed, ended, line): a row of the times, in seconds."""
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with open(TABLE, "a") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")

        def add(*row) -> None:
            writer.writerow(row)
            file.flush()

        yield add
    with open(TABLE) as file:
        print("\n" + as_markdown(list(csv.reader(file, delimiter="\t"))))


def as_markdown(rows: list[list[str]]) -> str:
    """What docs/reliability.md has: "noticed after / ended after" for each failure and cluster; later rows replace earlier."""
    cells = {
        (failure, cluster): " / ".join(filter(None, (noticed, ended))) for cluster, failure, noticed, ended, _ in rows
    }
    lines = [["failure", *CLUSTERS], ["---"] * (1 + len(CLUSTERS))]
    for failure in dict.fromkeys(failure for failure, _ in cells):
        lines.append([failure, *(cells.get((failure, cluster), "") for cluster in CLUSTERS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def run_suites(cluster: Cluster, suites: list[str], folder: Path, environment: dict[str, str]) -> tuple[list, str]:
    """The Scala suites there: the rows of their table, and what has failed."""
    times, settings, log = folder / "times.tsv", folder / "settings.properties", folder / "maven.log"
    settings.write_text("".join(f"{key}={value}\n" for key, value in cluster.settings.items()))
    (folder / "tmp").mkdir()  # tests look for files that stay behind
    names = ",".join(f"com.yahoo.ml.caffe.{suite}" for suite in suites)
    command = ["mvn", "-B", "-f", ROOT / "pom.xml", "-pl", "jvm/spark", "-am", "verify", f"-Dsuites={names}"]
    command += [f"-Dcaffe.native.dir={BUILD}/stage/jar", f"-Dtest.tmpdir={folder}/tmp"]
    command += [f"-Dspark.yarn.jar={jar}" for jar in SPARK_HOME.glob("jars/spark-yarn_*.jar")]
    own = {"SPARK_HOME": SPARK_HOME, "SPARK_SCALA_VERSION": "2.13", "CAFFE_FAILURES": "all"}
    own |= {"CAFFE_TEST_MASTER": cluster.master, "CAFFE_TEST_SETTINGS": settings, "CAFFE_FAILURE_TIMES": times}
    env = {**environment, "SPARK_LOCAL_HOSTNAME": "localhost", **{key: str(value) for key, value in own.items()}}
    with open(log, "w") as out:
        maven = subprocess.run(command, env=env, stdout=out, stderr=out, timeout=SUITES_SECONDS)
    text = log.read_text()
    failed = re.findall(r"^.*\*\*\* FAILED \*\*\*.*(?:\n.*){0,3}", text, re.MULTILINE)
    why = "" if maven.returncode == 0 else f"{log}: " + ("\n".join(failed) or text[-4000:])
    return [line.split("\t") for line in times.read_text().splitlines()] if times.exists() else [], why


def test_suites(cluster, environment, table, tmp_path):
    suites = ["FailureSuite", "ResumeSuite"] + (["LivesSuite"] if cluster.name == "local-cluster" else [])
    rows, failed = run_suites(cluster, suites, tmp_path, environment)
    for _, failure, noticed, ended, line in rows:
        table(cluster.name, failure, noticed, ended, line)
    assert not failed, failed


@pytest.fixture(scope="session")
def long_job(job):
    """A solver that goes on for a while, and snapshots often."""
    solver = (job / "net_solver.prototxt").read_text().replace("max_iter: 160", "max_iter: 400")
    (job / "long_solver.prototxt").write_text(solver)
    (job / "local_long_solver.prototxt").write_text(solver.replace("net.prototxt", "local_net.prototxt"))
    return job


@pytest.fixture(scope="session")
def expected(train_here, long_job):
    """The weights of an undisturbed run."""
    return train_here(long_job, "local_long_solver.prototxt")


class Disturbance:
    """What happens once, at iteration 100 of a job: `watch` sees the job's lines."""

    def __init__(self, action: Callable[[], None]):
        self.action = action
        self.began = None

    def watch(self, line: str) -> None:
        if self.began is None and line.startswith("Iteration 100 of "):
            self.began = time.monotonic()
            self.action()

    def seconds(self) -> float:
        return time.monotonic() - self.began


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_hdfs_away(how, cluster, hadoop, submit, long_job, expected, table):
    def back() -> None:
        if how == "stopped":
            hadoop.signal(signal.SIGCONT, "NameNode", "DataNode")
        else:
            hadoop.run("NameNode", "DataNode")

    timer = threading.Timer(AWAY_SECONDS, back)

    def away() -> None:
        hadoop.signal(signal.SIGSTOP if how == "stopped" else signal.SIGKILL, "NameNode", "DataNode")
        timer.start()

    hdfs = Disturbance(away)
    out = f"/away/{cluster.name}-{how}"
    flags = ["-train", "-conf", "long_solver.prototxt", "-clusterSize", "2", "-model", f"{out}/m"]
    try:
        text = submit(long_job, *cluster.options, *options(QUICK), *flags, watch=hdfs.watch).ok()
        ended = hdfs.seconds()
    finally:
        if hdfs.began is not None:
            timer.join()
            hadoop.wait_for_files()
    assert ended > AWAY_SECONDS  # so some file was waited for
    assert "Recovery " not in text
    assert weights(hadoop.files.read(f"{out}/m")) == expected
    kinds = ["caffemodel", "manifest", "solverstate"]
    snapshots = [f"lenet_iter_{i}.{kind}" for i in range(40, 401, 40) for kind in kinds]
    assert hadoop.files.names(out) == sorted([*snapshots, "m", "m.manifest"])
    what = {"stopped": "NameNode and DataNode stopped", "killed": "NameNode and DataNode killed, and started again"}
    table(cluster.name, f"HDFS away for {AWAY_SECONDS} s: {what[how]}", "", f"{ended:.1f} s", "waited for")


class Hosts:
    """A network of hosts: namespaces h0, h1, ..., joined by a bridge in one more, which has the address `gateway`."""

    gateway = "10.78.0.254"

    def __init__(self, count: int):
        self.hub = f"caffe{os.getpid()}hub"
        self.names = [f"caffe{os.getpid()}h{i}" for i in range(count)]

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)

    def up(self) -> None:
        for name in [self.hub, *self.names]:
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
        self.ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        self.ip("-n", self.hub, "addr", "add", f"{self.gateway}/24", "dev", "br0")
        self.ip("-n", self.hub, "link", "set", "br0", "up")
        for i, name in enumerate(self.names):
            self.ip("-n", self.hub, "link", "add", f"h{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            self.ip("-n", self.hub, "link", "set", f"h{i}", "master", "br0", "up")
            self.ip("-n", name, "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            self.ip("-n", name, "link", "set", "eth0", "up")

    def address(self, host: int) -> str:
        return f"10.78.0.{host + 1}"

    def within(self, host: int) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.names[host])

    def cut(self, host: int) -> None:
        self.ip("-n", self.hub, "link", "set", f"h{host}", "down")

    def stop(self) -> None:
        for name in [*self.names, self.hub]:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.ip("netns", "del", name)


@contextlib.contextmanager
def inside(namespace: str):
    """This thread, and what it starts, is in that network."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{namespace}") as other:
        if libc.setns(other.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network {namespace}")
        try:
            yield
        finally:
            libc.setns(own.fileno(), 0)


@pytest.fixture
def hosts():
    network = Hosts(3)
    try:
        network.up()
    except (OSError, subprocess.CalledProcessError) as error:
        network.stop()
        pytest.skip(f"network namespaces are not permitted here: {error}")
    yield network
    network.stop()


class LinkedStandalone:
    """A worker for each executor on hosts 0 and 1, and where one is to be free, one more on host 0."""

    def __init__(self, hosts: Hosts, folder: Path, environment: dict[str, str], spare: bool):
        self.environment = {**environment, "SPARK_LOCAL_IP": hosts.gateway}
        daemon = {"SPARK_DAEMON_JAVA_OPTS": "-Dspark.worker.timeout=12"}
        self.hosts, self.folder, self.spare = hosts, folder, spare
        self.daemons = Standalone(folder, {**self.environment, **daemon}, hosts.gateway)
        self.options = ["--master", self.daemons.master, "--executor-cores", "1", "--total-executor-cores", "2"]

    def up(self) -> None:
        self.daemons.up_master()
        for i in range(2):
            cores = 2 if self.spare else 1
            self.daemons.add_worker(f"host{i}", cores, self.hosts.address(i), self.hosts.within(i))
        self.daemons.wait_for_workers(2)

    def after_cut(self) -> None:
        pass

    def logs(self, host: int) -> list[Path]:
        return list((self.folder / f"host{host}").glob("app-*/*/stderr"))


class LinkedYarn:
    """The application's master and an executor on host 0, the other executor on host 1; later, if wanted, room on host 2."""

    MASTER, EXECUTOR = 1024 + 384, 512 + 384  # MB; the master fits nowhere else

    def __init__(
        self, hosts: Hosts, folder: Path, environment: dict[str, str], spare: bool, jars: Path, settings: dict
    ):
        self.hosts, self.folder, self.spare = hosts, folder, spare
        self.daemons = Hadoop(folder, jars, hosts.gateway)
        self.environment = {**environment, "SPARK_LOCAL_IP": hosts.gateway, "HADOOP_CONF_DIR": str(self.daemons.conf)}
        own = {key: value for key, value in settings.items() if not key.endswith("SPARK_LOCAL_IP")}
        own |= {"spark.yarn.am.memory": "1024m", "spark.hadoop.fs.defaultFS": "file:///"}
        own |= {"spark.yarn.stagingDir": f"file:{folder}/staging"}
        self.options = ["--master", "yarn", "--num-executors", "2", "--executor-cores", "1", *options(own)]

    def _add(self, host: int, megabytes: int) -> None:
        self.daemons.add_node(f"host{host}", self.hosts.address(host), megabytes, self.hosts.within(host))

    def up(self) -> None:
        self.daemons.up_manager()
        self._add(0, self.MASTER + self.EXECUTOR)
        self._add(1, self.EXECUTOR)
        self.daemons.wait_for_nodes(2)

    def after_cut(self) -> None:
        if self.spare:
            self._add(2, self.EXECUTOR)

    def logs(self, host: int) -> list[Path]:
        return list((self.folder / f"data/host{host}-logs").glob("application_*/*/stderr"))


@pytest.mark.parametrize("outcome", ["another executor on another host", "fewer executors"])
@pytest.mark.parametrize("kind", ["standalone", "yarn"])
def test_link_down(kind, outcome, hosts, environment, long_job, expected, table, request, tmp_path):
    elastic = outcome == "fewer executors"
    if kind == "yarn":
        yarn = [request.getfixturevalue(name) for name in ("hadoop_jars", "yarn_settings")]
        cluster = LinkedYarn(hosts, tmp_path / "cluster", environment, not elastic, *yarn)
    else:
        cluster = LinkedStandalone(hosts, tmp_path / "cluster", environment, not elastic)

    def cut() -> None:
        hosts.cut(1)
        cluster.after_cut()

    link = Disturbance(cut)
    settings = {**QUICK, "spark.driver.host": hosts.gateway, "spark.ui.enabled": "false"}
    memory = ["--driver-memory", "512m", "--executor-memory", "512m"]
    flags = ["-train", "-conf", "local_long_solver.prototxt", "-clusterSize", "2", "-model", f"file:{tmp_path}/out/m"]
    command = [*cluster.options, *memory, *options(settings), *flags, *(["-elastic"] if elastic else [])]
    with inside(hosts.hub):
        try:
            cluster.up()
            text = Job(command, cluster.environment, long_job, link.watch).ok()
            ended = link.seconds()
        finally:
            cluster.daemons.stop()
    line = next(line for line in text.splitlines() if line.startswith("Recovery 1: "))
    if elastic:
        assert "Training goes on with 1 of 2 executors (-elastic)" in text
    else:
        assert weights((tmp_path / "out/m").read_bytes()) == expected
    # The one that nobody could tell noticed it for itself, in time; the other may have been stopped by Spark before.
    logs = "".join(path.read_text() for path in cluster.logs(1))
    assert "has been silent for 3 s" in logs, logs[-4000:]
    table(kind, f"link down, {outcome}", "", f"{ended:.1f} s", line)
