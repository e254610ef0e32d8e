"""Looking at a queue: tables as text, HTML and data frames."""

from htcmagic.queue.request import Request, request, run
from htcmagic.queue.rows import BatchRow, JobRow, Snapshot, Totals
from htcmagic.queue.table import QueueTable

__all__ = ["BatchRow", "JobRow", "QueueTable", "Request", "Snapshot", "Totals", "request", "run"]
