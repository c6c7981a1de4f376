"""What the queue is doing."""

import threading
import time


class State:
    def __init__(self):
        self.skipped = self.interrupted = self.stopping_generation = False
        self.job, self.job_no, self.job_count = "", 0, 0
        self.sampling_step = self.sampling_steps = 0
        self.time_start = None
        self._server_command = None
        self._signal = threading.Event()

    def request_restart(self):
        self.interrupt()
        self.server_command = "restart"

    @property
    def server_command(self):
        return self._server_command

    @server_command.setter
    def server_command(self, value):
        self._server_command = value
        self._signal.set()

    def wait_for_server_command(self, timeout=None):
        if self._signal.wait(timeout):
            self._signal.clear()
            command, self._server_command = self._server_command, None
            return command
        return None

    def interrupt(self):
        self.interrupted = True

    def begin(self, job="(unknown)"):
        self.sampling_step, self.job_no, self.job_count = 0, 0, -1
        self.skipped = self.interrupted = self.stopping_generation = False
        self.time_start = time.time()
        self.job = job

    def end(self):
        self.job, self.job_count = "", 0
