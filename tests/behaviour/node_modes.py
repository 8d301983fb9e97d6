"""Ways to run node in which Watcher stays out, or has little to do: the permission model, snapshots, single executable applications."""

import pathlib
import re
import shutil
import unittest

import harness
import node_support
from node_support import INTERPRETERS, PRELOAD, cache, install

APP = "const a = new Uint8Array(4); a[1] = 7; console.log('runs', a.join(), process.env.NODE_OPTIONS, process.execArgv.join()); process.exitCode = 3;\n"
SNAPSHOT = "const v8 = require('v8'); globalThis.kept = new Uint8Array(4); v8.startupSnapshot.setDeserializeMainFunction(() => { kept[1]++; console.log(kept.join()); });\n"
SEA = """const { createRequire } = require('node:module');
let own; try { own = require('watcher'); } catch (error) { console.log(error.code); }
""" + APP
FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2"
NODES = [(int(version), node) for version, node in INTERPRETERS if int(version) >= 20]


def injector():
    """postject, where npm can get it."""
    home = cache().parent / "node-sea"
    found = home / "node_modules" / "postject" / "dist" / "cli.js"
    install(home, pathlib.Path(__file__).parent / "node" / "sea", found.exists)
    return found if found.exists() else None


def shown(done):
    return done.stdout, re.sub(rb"\d+", b"0", done.stderr), done.returncode


class Modes(node_support.Case):
    def same(self, command, stays_out):
        """Plainly, with the shim alone, and asked to watch: one sentence on standard error says that it does not."""
        plain = shown(self.execute(command))
        self.assertEqual(shown(self.execute(command, {"LD_PRELOAD": PRELOAD})), plain)
        asked = shown(self.execute(command, {"LD_PRELOAD": PRELOAD, "WATCHER_OUTPUT": str(self.directory / "out")}))
        self.assertEqual((asked[0], asked[2]), (plain[0], plain[2]), asked[1][-300:])
        self.assertEqual(asked[1].count(b"is not watched"), int(stays_out), asked[1])
        return plain

    def test_the_permission_model(self):
        program = self.write({"app.js": APP})
        for version, node in NODES:
            flag = "--experimental-permission" if version == 20 else "--permission"
            self.assertEqual(self.same([node, flag, "--allow-fs-read=*", str(program)], True)[2], 3)

    def test_snapshots(self):
        program = self.write({"app.js": SNAPSHOT})
        for version, node in NODES:
            blob = str(self.directory / f"{version}.blob")
            self.assertEqual(self.same([node, "--snapshot-blob", blob, "--build-snapshot", str(program)], True)[2], 0)
            self.assertEqual(self.same([node, "--snapshot-blob", blob], True)[0], b"0,1,0,0\n")

    def test_single_executable_applications(self):
        tool = injector()
        if tool is None:
            raise unittest.SkipTest("npm cannot get postject here")
        for version, node in NODES:
            self.write({"app.js": SEA, "sea.json": '{"main": "app.js", "output": "app.blob", "disableExperimentalSEAWarning": true}'})
            if self.same([node, "--experimental-sea-config", "sea.json"], True)[2] != 0:
                continue  # built without it
            application = self.directory / f"app{version}"
            shutil.copy(node, application)
            made = self.execute([INTERPRETERS[-1][1], str(tool), str(application), "NODE_SEA_BLOB", "app.blob", "--sentinel-fuse", FUSE])
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertEqual(self.same([str(application), "word"], False)[2], 3)
            application.unlink()


if __name__ == "__main__":
    harness.main()
