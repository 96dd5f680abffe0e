#!/usr/bin/python3
"""Runs a folder's *_test.py, each file in a process of its own, several side by side, and counts."""
import argparse
import concurrent.futures
import glob
import json
import os
import signal
import subprocess
import sys
import time
import unittest


class Result(unittest.TextTestResult):
    """Counts tests, not their subtests, and says how long each took."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bad, self.left_out, self.run_ids = set(), set(), set()

    def startTest(self, test):
        self.run_ids.add(test.id())
        self._began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        took = time.monotonic() - self._began
        if took > 5:
            self.stream.writeln(f"  ({took:.1f} s)")

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.bad.add(test.id())

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.bad.add(test.id())

    def addError(self, test, error):
        super().addError(test, error)
        self.bad.add(test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.left_out.add(test.id())

    def counts(self):
        good = self.run_ids - self.bad - self.left_out
        return [len(good), len(self.bad), len(self.left_out - self.bad)]


def run_files(paths, patterns):
    """In this process, one after the other; [PASSED, FAILED, SKIPPED]."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(paths[0])))
    loader = unittest.TestLoader()
    loader.testNamePatterns = patterns
    tests = loader.loadTestsFromNames([os.path.basename(path).removesuffix(".py") for path in paths])
    result = unittest.TextTestRunner(sys.stderr, verbosity=2, resultclass=Result).run(tests)
    return result.counts()


def run_child(path, patterns, children):
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--file", path,
                              *(option for pattern in patterns or [] for option in ("-k", pattern))],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    children.append(child)
    out, text = child.communicate()
    try:
        counts = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        counts = [0, 1, 0]
        text += f"\n{path} ended with {child.returncode} before it was through\n"
    return path, counts, text, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--together", action="store_true", help="all files in one process, by name, and told as they run")
    parser.add_argument("--count", help="write PASSED FAILED SKIPPED to this file")
    parser.add_argument("-k", action="append", help="only tests that match, as in unittest")
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    patterns = [pattern if "*" in pattern else f"*{pattern}*" for pattern in arguments.k or []] or None
    if arguments.file:
        print(json.dumps(run_files([arguments.file], patterns)))        # last on stdout, for the parent
        return 0
    if not arguments.folder:
        parser.error("which folder?")
    if arguments.together:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        paths = sorted(glob.glob(os.path.join(arguments.folder, "*_test.py")))
        return outcome(run_files(paths, patterns), arguments.count)
    paths = sorted(glob.glob(os.path.join(arguments.folder, "*_test.py")), key=os.path.getsize, reverse=True)
    total, children = [0, 0, 0], []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        running = [pool.submit(run_child, path, patterns, children) for path in paths]
        try:
            for done in concurrent.futures.as_completed(running):
                path, counts, text, took = done.result()
                total = [before + more for before, more in zip(total, counts)]
                sys.stderr.write(text)
                print(f"{os.path.basename(path)}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped,"
                      f" {took:.0f} s", flush=True)
        except KeyboardInterrupt:       # once to each, whoever sent it: they clean up behind them
            for each in running:
                each.cancel()
            for child in children:
                child.send_signal(signal.SIGINT)
            return 130
    return outcome(total, arguments.count)


def outcome(counts, count_file):
    if count_file:
        with open(count_file, "w") as file:
            print(*counts, file=file)
    return 1 if counts[1] or not sum(counts) else 0


if __name__ == "__main__":
    sys.exit(main())
