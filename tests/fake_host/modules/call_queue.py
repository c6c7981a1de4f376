"""One generation at a time."""

from modules import fifo_lock

queue_lock = fifo_lock.FIFOLock()
