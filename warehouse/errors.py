"""Errors a person can act on. The command line prints the sentence; `--debug` gives the traceback."""


class FlowscopeError(Exception):
    """What happened, to which thing, and what to do about it, in one or two sentences."""


class NoWarehouse(FlowscopeError):
    """There is no published generation in this home."""


class WarehouseBusy(FlowscopeError):
    """Another process is writing."""


class QueryRefused(FlowscopeError):
    """The statement is not a single SELECT or EXPLAIN, or asks for what ad-hoc SQL may not do."""


class SourceError(FlowscopeError):
    """A source, or an object in it, cannot be read. `reason` is one of the reject reasons."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
