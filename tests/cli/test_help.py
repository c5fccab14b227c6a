"""Help, completions, versions: all from the tables, so all of them must speak of everything."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import support

COMMANDS = ["compile", "run", "verify", "tune", "bench", "explain", "inspect", "opt", "doctor", "db",
            "completion", "help", "version"]


class Help(unittest.TestCase):
    def pawl(self, *arguments):
        return support.pawl(*arguments, cwd=self.cwd)

    def setUp(self):
        self.cwd = support.folder()
        self.addCleanup(shutil.rmtree, self.cwd)

    def test_program(self):
        for arguments in (["--help"], ["-h"], ["help"]):
            done = self.pawl(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for command in COMMANDS:
                self.assertRegex(done.stdout, rf"(?m)^  {command} +\S")
            for code in range(8):
                self.assertRegex(done.stdout, rf"(?m)^  {code}  \S")

    def test_no_command_is_a_usage_error(self):
        done = self.pawl()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("usage: pawl COMMAND", done.stderr)

    def test_every_command(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                by_option, by_command = self.pawl(command, "--help"), self.pawl("help", command)
                self.assertEqual((by_option.returncode, by_option.stderr), (0, ""))
                self.assertEqual(by_option.stdout, by_command.stdout)
                self.assertRegex(by_option.stdout, rf"^usage: pawl {command}")
                self.assertIn("--help", by_option.stdout)

    def test_help_wins_over_what_is_missing(self):
        done = self.pawl("compile", "-h", "--device", "cpu")
        self.assertEqual(done.returncode, 0)

    def test_lines_are_short(self):
        for command in COMMANDS:
            for line in self.pawl("help", command).stdout.split("\n"):
                self.assertLessEqual(len(line), 120, line)

    def test_version(self):
        done = self.pawl("version")
        self.assertRegex(done.stdout, r"^pawl \d+\.\d+\.\d+")
        self.assertEqual(done.stdout, self.pawl("--version").stdout)
        self.assertRegex(self.pawl("version", "--format=json").stdout, r'^\{"pawl": "')

    def options(self, command):
        return re.findall(r"(?m)^\s+(?:-\w, )?--([a-z-]+)", self.pawl("help", command).stdout)

    def test_bash_completion(self):
        script = self.pawl("completion", "bash").stdout
        if not shutil.which("bash"):
            self.skipTest("no bash")
        path = support.write(os.path.join(self.cwd, "completion"), script)
        self.assertEqual(subprocess.run(["bash", "-n", path], check=False).returncode, 0)

        def complete(*words):
            program = (f"source {path}; COMP_WORDS=({' '.join(repr(w) for w in words)});"
                       f"COMP_CWORD={len(words) - 1}; _pawl; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
            return subprocess.run(["bash", "-c", program], cwd=self.cwd, capture_output=True,
                                  text=True, check=True).stdout.split()

        self.assertEqual(complete("pawl", "co"), ["compile", "completion"])
        for command in COMMANDS:
            self.assertLessEqual({"--" + o for o in self.options(command)},
                                 set(complete("pawl", command, "--")), command)
        self.assertEqual(complete("pawl", "opt", "--format", ""), ["text", "json", "csv"])
        self.assertIn("sm_90a", complete("pawl", "compile", "--device", "s"))
        self.assertIn("export", complete("pawl", "db", "exp"))

    def test_zsh_completion(self):
        script = self.pawl("completion", "zsh").stdout
        for command in COMMANDS:
            self.assertIn(f"'{command}:", script)
        if not shutil.which("zsh"):
            self.skipTest("no zsh")
        path = support.write(os.path.join(self.cwd, "_pawl"), script)
        self.assertEqual(subprocess.run(["zsh", "-n", path], check=False).returncode, 0)


if __name__ == "__main__":
    support.require_pawl()
    unittest.main(verbosity=2)
