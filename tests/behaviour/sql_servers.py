"""Real database servers for a test run: in a directory of their own, as an unprivileged user, over a socket in it."""

import atexit
import glob
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import time

NOBODY = 65534
START_SECONDS = 60


class Server:
    """Starts in the constructor; stopped at exit. `directory` holds its socket."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="watcher-db-"))
        self.process = None
        atexit.register(self.stop)
        if os.getuid() == 0:  # both refuse to serve as root
            os.chown(self.directory, NOBODY, NOBODY)
        self.directory.chmod(0o755)
        self.start()
        for _ in range(START_SECONDS * 10):
            if self.ready():
                return
            time.sleep(0.1)
        raise RuntimeError(f"{type(self).__name__} does not start: " + (self.directory / "log").read_text())

    def command(self, *words):
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
        return drop + [str(word) for word in words]

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LC_ALL": "C"}

    def call(self, *words):
        done = subprocess.run(self.command(*words), cwd=self.directory, env=self.environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{words[0]}: {done.stdout}{done.stderr}")

    def serve(self, *words):
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(self.command(*words), cwd=self.directory, env=self.environment(),
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(self.STOP_SIGNAL)
            self.process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)


class Postgres(Server):
    STOP_SIGNAL = 3  # SIGQUIT: at once

    def start(self):
        self.bin = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        data = self.directory / "data"
        self.call(self.bin / "initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.serve(self.bin / "postgres", "-D", data, "-k", self.directory, "-c", "listen_addresses=", "-c", "fsync=off")

    def ready(self):
        probe = [self.bin / "psql", "-h", self.directory, "-U", "tester", "-c", "select 1", "postgres"]
        return subprocess.run(probe, capture_output=True).returncode == 0


class MariaDb(Server):
    STOP_SIGNAL = 9

    def start(self):
        data = self.directory / "data"
        user = pwd.getpwuid(NOBODY if os.getuid() == 0 else os.getuid()).pw_name
        self.socket = self.directory / "socket"
        self.call("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db",
                  "--auth-root-authentication-method=normal")
        server = shutil.which("mariadbd", path=os.environ["PATH"] + ":/usr/sbin")
        self.serve(server, "--no-defaults", f"--datadir={data}", f"--socket={self.socket}", "--skip-networking",
                   f"--pid-file={self.directory}/pid", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M")

    def ready(self):
        probe = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-e", "create database if not exists shop"]
        return subprocess.run(probe, capture_output=True).returncode == 0
