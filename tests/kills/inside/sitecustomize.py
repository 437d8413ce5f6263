"""Every Python process that has this folder on its path loads this file, and may end itself at a moment drawn before.

The moment is given by the changes that a process makes to files below a folder (it opens one to write, renames,
removes, ...): at the `change`-th of them, and there after so many `calls` into C, or so many seconds (`delay`) later.
Of the processes of one command the first to get there dies, by SIGKILL, so that no handler and no `finally` runs.
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress

PLAN = "DMMSA_TEST_KILL"  # environment variable: the arguments of `Countdown` as JSON
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WRITERS = {
    "serialize_file",
    "write",
    "write_batch",
    "close",
    "fsync",
}  # calls into C that a file's content goes through


class Countdown:
    """Counts the changes of this process.

    Args:
        folder: below which they count.
        tally: folder of a file a process, which grows by a byte with each; none for no such.
        change: the one that starts the end; none for no end.
        calls: into C, from there on.
        delay: seconds from that call on.
        writing: of the calls only those count that write.
        mark: file that the process which dies makes first, and no second one can; it says `killed` then.
    """

    def __init__(self, folder, tally=None, change=None, calls=0, delay=0.0, writing=False, mark=None):
        self.folder, self.tally, self.change, self.mark = folder + os.sep, tally, change, mark
        self.calls, self.delay, self.writing, self.seen, self.busy = calls, delay, writing, 0, False

    def hear(self, event, arguments):
        """Take an audit event of this process."""
        if event not in CHANGES or self.busy:
            return
        self.busy = True  # what follows makes events of its own
        try:
            if any(map(self.is_below, arguments[:2])) and (event != "open" or is_writing(*arguments)):
                self.count()
        finally:
            self.busy = False

    def is_below(self, path):
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.folder)  # noqa: PTH100  (pathlib is slow to import)

    def count(self):
        self.seen += 1
        if self.tally:
            with open(os.path.join(self.tally, str(os.getpid())), "ab") as file:  # noqa: PTH118, PTH123
                file.write(b".")
        if self.seen == self.change:
            sys.setprofile(self.follow)

    def follow(self, frame, event, argument):
        """Take a call of this thread, from the change on."""
        if event != "c_call" or self.busy or (self.writing and argument.__name__ not in WRITERS):
            return
        if self.calls > 0:
            self.calls -= 1
            return
        sys.setprofile(None)
        self.busy = True
        self.die()

    def die(self):
        try:
            mark = os.open(self.mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return
        victim = os.getpid()
        if not self.delay:
            os.write(mark, b"killed")
            os.kill(victim, signal.SIGKILL)
        if os.fork() == 0:  # while this process works on, be it in the middle of a write
            os.closerange(3, mark)
            os.closerange(mark + 1, 1024)
            time.sleep(self.delay)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                os.write(mark, b"killed")
            os._exit(0)
        os.close(mark)


def is_writing(path, mode, flags):
    """Say whether a file is being opened to be changed; `flags` are the system's, which `open` gives too."""
    return bool(flags & WRITING)


def arm():
    """Do what the environment says, for as long as this process lives, and those that it forks."""
    if PLAN in os.environ:
        sys.addaudithook(Countdown(**json.loads(os.environ[PLAN])).hear)


arm()
