"""Files that somebody planted: none is followed, read, written or waited for, and the program runs as it would without Watcher."""

import json
import os
import pathlib
import shutil

from exec_support import PYTHON, ExecTest, main

APP = "from watcher import watch\nx = watch(0, name='x')\nfor i in range(3):\n    x = i\nprint('done')\n"
SECRET = b"somebody's own text\n"
STRANGER = 1234
OUTPUTS = ["events.jsonl", "summary.json", ".summary.json.new", "trace.json", "changes.log", ".trace.json.position"]


def symlink(name, victim):
    os.symlink(victim, name)


def dangling_symlink(name, victim):
    os.symlink(victim + ".new", name)


def hard_link(name, victim):
    os.link(victim, name)


def fifo(name, victim):
    os.mkfifo(name, 0o600)


def directory(name, victim):
    os.mkdir(name)


def strangers_file(name, victim):
    shutil.copyfile(victim, name)
    os.chown(name, STRANGER, STRANGER)


PLANTED = [symlink, dangling_symlink, hard_link, fifo, directory, strangers_file]


class Attacks(ExecTest):
    def setUp(self):
        super().setUp()
        self.victim = self.path("victim")
        pathlib.Path(self.victim).write_bytes(SECRET)
        self.app = self.write("app.py", APP)

    def assert_unharmed(self):
        self.assertEqual(pathlib.Path(self.victim).read_bytes(), SECRET)
        self.assertFalse(os.path.exists(self.victim + ".new"))

    def test_names_of_the_output_directory(self):
        processor = self.write("rules.toml", '[[processor]]\ntype = "logging"\n')
        for planted in PLANTED:
            for name in OUTPUTS:
                with self.subTest(name, planted=planted.__name__):
                    if planted is strangers_file and os.getuid() != 0:
                        self.skipTest("needs root")
                    shutil.rmtree(self.output, True)
                    os.mkdir(self.output, 0o700)
                    place = os.path.join(self.output, name)
                    planted(place, self.victim)
                    done = self.run_exec("--config", processor, "--trace-file", os.path.join(self.output, "trace.json"), PYTHON, self.app)
                    self.assertIn((done.returncode, done.stdout), [(0, b"done\n"), (144, b"done\n"), (2, b"")], done.stderr)
                    self.assertEqual(done.returncode == 2, done.stdout == b"")
                    self.assert_unharmed()
                    if os.path.lexists(place) and os.lstat(place).st_uid == STRANGER:
                        self.assertEqual(pathlib.Path(place).read_bytes(), SECRET)

    def configured(self, name, option, content):
        """A configuration, scope file or processor in a directory of its own, and how it is named."""
        inner = self.path("inner")
        shutil.rmtree(inner, True)
        os.mkdir(inner, 0o755)
        path = os.path.join(inner, name)
        pathlib.Path(path).write_text(content)
        os.chmod(path, 0o644)
        return path, (option, path)

    def test_files_that_decide_what_runs(self):
        marker = self.path("marker")
        files = [("watcher.toml", "--config", "track_threads = true\n"), ("scope.txt", "--files-scope", "app.py:(both:x)\n"),
                 ("processor.py", "--custom-processor", f"open({marker!r}, 'w')\ndef main(event):\n    return {{'action': 'pass'}}\n"),
                 ("processor.js", "--custom-processor",
                  f"require('fs').writeFileSync({marker!r}, '');\nmodule.exports = {{ main: () => ({{ action: 'pass' }}) }};\n")]

        def writable_by_group(path):
            os.chmod(path, 0o664)

        def writable_by_all(path):
            os.chmod(path, 0o646)

        def in_an_open_directory(path):
            os.chmod(os.path.dirname(path), 0o777)

        def a_strangers(path):
            os.chown(path, STRANGER, STRANGER)

        def in_a_strangers_directory(path):
            os.chown(os.path.dirname(path), STRANGER, STRANGER)

        def a_link_into_an_open_directory(path):
            self.configured(os.path.basename(path), "", pathlib.Path(path).read_text())
            os.mkdir(os.path.dirname(path) + "/open", 0o777)
            os.chmod(os.path.dirname(path) + "/open", 0o777)
            os.rename(path, os.path.dirname(path) + "/open/file")
            os.symlink(os.path.dirname(path) + "/open/file", path)

        def a_fifo(path):
            os.unlink(path)
            os.mkfifo(path, 0o600)

        def a_device(path):
            os.unlink(path)
            os.symlink("/dev/zero", path)

        attacks = [writable_by_group, writable_by_all, in_an_open_directory, a_link_into_an_open_directory, a_fifo, a_device]
        if os.getuid() == 0:
            attacks += [a_strangers, in_a_strangers_directory]
        for name, option, content in files:
            for attack in attacks:
                with self.subTest(name, attack=attack.__name__):
                    path, arguments = self.configured(name, option, content)
                    attack(path)
                    done = self.run_exec(*arguments, PYTHON, self.app)
                    self.assertEqual((done.returncode, done.stdout), (2, b""), done.stderr)
                    self.assertIn(name.encode() if attack is not a_device else b"", done.stderr)
                    self.assertFalse(os.path.exists(marker))
            path, arguments = self.configured(name, option, content)  # and what nobody tampered with is taken
            done = self.run_exec(*arguments, PYTHON, self.app)
            self.assertEqual((done.returncode, done.stdout), (0, b"done\n"), done.stderr)
            pathlib.Path(marker).unlink(missing_ok=True)

    def test_a_configuration_found_by_itself(self):
        self.write("watcher.toml", f"output = {json.dumps(self.path('elsewhere'))}\n", 0o666)
        done = self.run_exec(PYTHON, self.app)
        self.assertEqual((done.returncode, done.stdout), (2, b""), done.stderr)
        self.assertFalse(os.path.exists(self.path("elsewhere")))


if __name__ == "__main__":
    main()
