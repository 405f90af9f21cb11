"""HDFS, YARN and Spark's standalone cluster on loopback: real daemons, each a process, started and stopped by a test."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from xml.sax.saxutils import escape

from places import LOOPBACK, QUICK_JVM, SPARK_HOME, spark_environment

START_SECONDS = 180
STOP_SECONDS = 5
# What Hadoop's own scripts open for Java 17.
OPENS = ["--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED"]
LOG4J = """log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d{HH:mm:ss} %-5p %c{1} %m%n
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


class Daemons:
    """Processes with a log each; none outlives `stop`. They are in the test program's process group, so that who ends that
    ends them too."""

    def __init__(self, folder: Path):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, name: str, command: list[str], env: dict[str, str]) -> None:
        with open(self.log(name), "w") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=env
            )

    def wait(self, what: str, ready) -> None:
        """Until `ready()`, which may fail before; an error if a process ends or time is up."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, ValueError, LookupError):
                if ready():
                    return
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                tails = "\n".join(f"{name}: {self.log(name).read_text()[-2000:]}" for name in ended or self.processes)
                why = "ended" if ended else f"did not start within {START_SECONDS} s"
                raise RuntimeError(f"{what} {why}: {tails}")
            time.sleep(0.1)

    def signal(self, number: int, *names: str) -> None:
        for name in names:
            self.processes[name].send_signal(number)

    def stop(self) -> None:
        """First politely: a NodeManager then ends its containers, and a worker its executors. What else they do takes long."""
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self.processes.values():
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = {}


def fetch(port: int, path: str, host: str = LOOPBACK):
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
        return json.load(answer)


class Files:
    """A HDFS seen through WebHDFS, which needs no JVM for each call."""

    def __init__(self, port: int):
        self.root = f"http://{LOOPBACK}:{port}/webhdfs/v1"

    def _call(self, method: str, path: str, operation: str) -> bytes:
        url = f"{self.root}{urllib.parse.quote(path)}?user.name=root&op={operation}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
            return answer.read()

    def read(self, path: str) -> bytes:
        return self._call("GET", path, "OPEN")

    def names(self, folder: str) -> list[str]:
        statuses = json.loads(self._call("GET", folder, "LISTSTATUS"))["FileStatuses"]["FileStatus"]
        return sorted(status["pathSuffix"] for status in statuses)

    def put(self, local: Path, folder: str) -> None:
        """All files below `local`."""
        for file in filter(Path.is_file, local.rglob("*")):
            answer = json.loads(self._call("PUT", f"{folder}/{file.relative_to(local)}", "CREATE&noredirect=true"))
            request = urllib.request.Request(answer["Location"], data=file.read_bytes(), method="PUT")
            urllib.request.urlopen(request, timeout=60).close()


def configuration(settings: dict[str, object]) -> str:
    rows = (f"<property><name>{k}</name><value>{escape(str(v))}</value></property>" for k, v in settings.items())
    return "<configuration>\n" + "\n".join(rows) + "\n</configuration>\n"


class Hadoop(Daemons):
    """NameNode, DataNode, ResourceManager and NodeManager; `conf` is HADOOP_CONF_DIR; `uri` and `files` the file system.

    Or, with `up_manager` and `add_node`, a ResourceManager at `host` and NodeManagers in networks of their own.
    """

    HEAPS = {"NameNode": 256, "DataNode": 256, "ResourceManager": 384, "NodeManager": 256}  # MB
    PACKAGES = {
        "NameNode": "hdfs.server.namenode",
        "DataNode": "hdfs.server.datanode",
        "ResourceManager": "yarn.server.resourcemanager",
        "NodeManager": "yarn.server.nodemanager",
    }

    def __init__(self, folder: Path, jars: Path, host: str = LOOPBACK):
        super().__init__(folder)
        self.conf = folder / "conf"
        self.jars = jars
        self.host = host
        names = "nn nn_http dn dn_http dn_ipc rm rm_sched rm_track rm_admin rm_http nm nm_local nm_http"
        self.ports = dict(zip(names.split(), free_ports(13)))
        self.uri = f"hdfs://{LOOPBACK}:{self.ports['nn']}"
        self.files = Files(self.ports["nn_http"])
        self._configure()
        self.environment = spark_environment(HADOOP_CONF_DIR=str(self.conf), USER="root", HADOOP_USER_NAME="root")

    def _address(self, port: str, host: str = LOOPBACK) -> str:
        return f"{host}:{self.ports[port]}"

    def _configure(self) -> None:
        self.conf.mkdir()
        data = self.folder / "data"
        files = {
            "core-site.xml": {"fs.defaultFS": self.uri, "hadoop.tmp.dir": data / "tmp"},
            "hdfs-site.xml": {
                "dfs.replication": 1,
                "dfs.namenode.name.dir": f"file://{data}/nn",
                "dfs.datanode.data.dir": f"file://{data}/dn",
                "dfs.namenode.http-address": self._address("nn_http"),
                "dfs.datanode.hostname": LOOPBACK,
                "dfs.datanode.address": self._address("dn"),
                "dfs.datanode.http.address": self._address("dn_http"),
                "dfs.datanode.ipc.address": self._address("dn_ipc"),
                "dfs.permissions.enabled": "false",
                "dfs.namenode.datanode.registration.ip-hostname-check": "false",
                "dfs.namenode.safemode.extension": 0,
            },
            "yarn-site.xml": {
                "yarn.resourcemanager.hostname": self.host,
                "yarn.resourcemanager.address": self._address("rm", self.host),
                "yarn.resourcemanager.scheduler.address": self._address("rm_sched", self.host),
                "yarn.resourcemanager.resource-tracker.address": self._address("rm_track", self.host),
                "yarn.resourcemanager.admin.address": self._address("rm_admin", self.host),
                "yarn.resourcemanager.webapp.address": self._address("rm_http", self.host),
                **self._node("nm", LOOPBACK, 6144),
                "yarn.nodemanager.resource.cpu-vcores": 4,
                "yarn.scheduler.minimum-allocation-mb": 128,
                "yarn.nodemanager.vmem-check-enabled": "false",
                "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99.5,
                "yarn.nodemanager.process-kill-wait.ms": 1000,
                # After so long a NodeManager is lost; and how long those who have lost the ResourceManager look for it.
                "yarn.nm.liveness-monitor.expiry-interval-ms": 12000,
                "yarn.resourcemanager.connect.max-wait.ms": 20000,
                "yarn.resourcemanager.connect.retry-interval.ms": 1000,
            },
            "capacity-scheduler.xml": {
                "yarn.scheduler.capacity.root.queues": "default",
                "yarn.scheduler.capacity.root.default.capacity": 100,
                "yarn.scheduler.capacity.maximum-am-resource-percent": 0.9,
            },
        }
        for name, settings in files.items():
            (self.conf / name).write_text(configuration(settings))
        (self.conf / "log4j.properties").write_text(LOG4J)

    def _node(self, name: str, host: str, megabytes: int) -> dict[str, object]:
        """What is a NodeManager's own."""
        return {
            "yarn.nodemanager.hostname": host,
            "yarn.nodemanager.address": self._address("nm", host),
            "yarn.nodemanager.localizer.address": self._address("nm_local", host),
            "yarn.nodemanager.webapp.address": self._address("nm_http", host),
            "yarn.nodemanager.local-dirs": self.folder / f"data/{name}-local",
            "yarn.nodemanager.log-dirs": self.folder / f"data/{name}-logs",
            "yarn.nodemanager.resource.memory-mb": megabytes,
        }

    def _java(self, name: str, *arguments: str) -> list[str]:
        path = f"{self.conf}:{self.jars}/*"
        return [
            "java",
            f"-Xmx{self.HEAPS[name]}m",
            QUICK_JVM,
            *OPENS,
            "-cp",
            path,
            f"org.apache.hadoop.{self.PACKAGES[name]}.{name}",
            *arguments,
        ]

    def run(self, *names: str) -> None:
        for name in names:
            self.start(name, self._java(name), self.environment)

    def up(self) -> None:
        name_node = self._java("NameNode", "-format", "-nonInteractive")
        subprocess.run(name_node, env=self.environment, check=True, timeout=START_SECONDS, capture_output=True)
        self.run(*self.PACKAGES)
        self.wait_for_files()
        self.wait_for_nodes(1)

    def up_manager(self) -> None:
        self.run("ResourceManager")
        self.wait_for_nodes(0)

    def add_node(self, name: str, host: str, megabytes: int, within: tuple[str, ...]) -> None:
        """A NodeManager at `host`; `within` is what its command line begins with, to run in another network."""
        own = [part for key, value in self._node(name, host, megabytes).items() for part in ("-D", f"{key}={value}")]
        self.start(name, [*within, *self._java("NodeManager", *own)], self.environment)

    def wait_for_nodes(self, count: int) -> None:
        metrics = "/ws/v1/cluster/metrics"
        self.wait("YARN", lambda: fetch(self.ports["rm_http"], metrics, self.host)["activeNodes"] == count)

    def wait_for_files(self) -> None:
        def ready() -> bool:
            state = fetch(self.ports["nn_http"], "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState")["beans"][0]
            return state["NumLiveDataNodes"] == 1 and state["FSState"] == "Operational"

        self.wait("HDFS", ready)

    def container_logs(self, file: str) -> list[str]:
        """What the containers of each application wrote to files of this name."""
        applications = sorted((self.folder / "data/nm-logs").glob("application_*"))
        return ["".join(path.read_text() for path in folder.glob(f"*/{file}")) for folder in applications]


class Standalone(Daemons):
    """A master at `host` and workers of Spark's own cluster manager."""

    def __init__(self, folder: Path, environment: dict[str, str], host: str = LOOPBACK):
        super().__init__(folder)
        self.environment = {**environment, "SPARK_HOME": str(SPARK_HOME), "SPARK_DAEMON_MEMORY": "192m"}
        given = environment.get("SPARK_DAEMON_JAVA_OPTS", "")
        self.environment["SPARK_DAEMON_JAVA_OPTS"] = f"{QUICK_JVM} {given}"
        self.host = host
        self.port, self.web = free_ports(2)
        self.master = f"spark://{host}:{self.port}"

    def _daemon(self, name: str, role: str, *arguments: str, within: tuple[str, ...] = (), **environment: str) -> None:
        run = [
            *within,
            str(SPARK_HOME / "bin/spark-class"),
            f"org.apache.spark.deploy.{role.lower()}.{role}",
            *arguments,
        ]
        self.start(name, run, {**self.environment, **environment})

    def up_master(self) -> None:
        place = ["--host", self.host, "--port", str(self.port), "--webui-port", str(self.web)]
        self._daemon("master", "Master", *place, SPARK_LOCAL_IP=self.host)
        self.wait("the master", lambda: fetch(self.web, "/json/", self.host)["status"] == "ALIVE")

    def add_worker(self, name: str, cores: int, host: str = LOOPBACK, within: tuple[str, ...] = ()) -> None:
        """`within`: what its command line begins with, to run in another network."""
        options = ["--host", host, "--webui-port", "0", "--cores", str(cores), "--memory", "1g"]
        options += ["--work-dir", str(self.folder / name), self.master]
        self._daemon(name, "Worker", *options, within=within, SPARK_LOCAL_IP=host)

    def wait_for_workers(self, count: int) -> None:
        self.wait("the workers", lambda: fetch(self.web, "/json/", self.host)["aliveworkers"] == count)

    def up(self, workers: int, cores: int) -> None:
        self.up_master()
        for i in range(workers):
            self.add_worker(f"worker{i}", cores)
        self.wait_for_workers(workers)
