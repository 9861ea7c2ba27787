"""Run a script made with unittest and print one line for each of its cases: "pass NAME", "fail NAME"
or "skip NAME".

usage: verdicts.py SCRIPT
"""
import os
import runpy
import sys
import unittest


class Result(unittest.TextTestResult):
    def addSuccess(self, test):
        super().addSuccess(test)
        print('pass', test.id(), flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print('fail', test.id(), flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        print('fail', test.id(), flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print('skip', test.id(), flush=True)


unittest.TextTestRunner.resultclass = Result
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name='__main__')
