"""Every error of Headway, drawn once.

    HeadwayError
    ├── Invalid       the input is wrong; the message says what to do           400, exit 2
    ├── NotFound      no such thing, or none that you may see                   404, exit 2
    ├── Conflict      it is there already, or moved on meanwhile                409, exit 2
    ├── Refused       a rule said no: gate, approval, contract                  422, exit 1
    ├── Forbidden     who you are may not do this                               401/403, exit 1
    └── Unavailable   a part that is needed does not answer, or is missing      503, exit 3

Each leaf carries a stable `code`; `server/errors.py` maps the six branches to statuses and the command line maps
them to exit codes. A leaf adds no state: what a caller needs stands in the message and in `details`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HeadwayError(Exception):
    """The root: `str(error)` is one sentence for a person, `details` the same for a program."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class Invalid(HeadwayError):
    code = "invalid"


class NotFound(HeadwayError):
    code = "not_found"


class Conflict(HeadwayError):
    code = "conflict"


class Refused(HeadwayError):
    code = "refused"


class Forbidden(HeadwayError):
    code = "forbidden"


class Unavailable(HeadwayError):
    code = "unavailable"


class BadSettings(Invalid):
    """`headway.toml` or an option is wrong: unknown key, wrong type, name that leads nowhere."""

    code = "bad_settings"


class BadPipeline(Invalid):
    """A pipeline cannot be drawn or run: unknown step, cycle, value that cannot be stored."""

    code = "bad_pipeline"


class StepFailed(BadPipeline):
    """A step, or the pipeline between its steps, raised; the cause is chained, `details["traceback"]` tells where."""

    code = "step_failed"


class BadTensor(Invalid):
    """A prediction request does not fit the model's signature."""

    code = "bad_tensor"


class TooLarge(Invalid):
    """A body or a value is larger than the declared limit."""

    code = "too_large"


class QuotaExceeded(TooLarge):
    """There is no room for more of it; `details["quota"]` names the limit."""

    code = "quota_exceeded"


class TooCostly(Invalid):
    """A question takes the database longer than is allowed; it was stopped."""

    code = "too_costly"


class UnsupportedMedia(Invalid):
    """A body is in a format or an encoding that is not read here; a model server answers 415."""

    code = "unsupported_media"


class PredictionUnknown(NotFound):
    """A label names a prediction that was never captured."""

    code = "prediction_unknown"


class AlreadyExists(Conflict):
    code = "already_exists"


class IllegalMove(Conflict):
    """A state machine has no such move from where it stands."""

    code = "illegal_move"


class LeaseLost(Conflict):
    """Somebody else holds the lease now; the work must be left to them."""

    code = "lease_lost"


class RunCancelled(Conflict):
    """Somebody has cancelled the run; what its steps had given by then is kept."""

    code = "run_cancelled"


class ContractBroken(Refused):
    """Data or a request break their contract; `details["violations"]` names column and rule."""

    code = "contract_broken"


class GateRefused(Refused):
    """The verdict of the gate is not a pass."""

    code = "gate_refused"


class NotApproved(Refused):
    """An approval is missing, or was given by someone who may not give it."""

    code = "not_approved"


class NotTrusted(Refused):
    """A model that may hold any code is to be run, and no operator has said that it may."""

    code = "not_trusted"


class FeaturesStale(Refused):
    """What is known of an entity is older than its feature view allows."""

    code = "features_stale"


class LedgerBroken(Refused):
    """The ledger's chain does not hold, or a record is not as it was written."""

    code = "ledger_broken"


class NotSignedIn(Forbidden):
    """No token, or one that is unknown, expired or revoked."""

    code = "not_signed_in"


class ExtraMissing(Unavailable):
    """An optional part is not installed; the message names the extra to install."""

    code = "extra_missing"


class RateExceeded(Unavailable):
    """More requests than are taken; `details["retry_after_s"]` tells when the next one is."""

    code = "rate_exceeded"


class DeadlineExceeded(Unavailable):
    """A request could not be answered by the time that it gives."""

    code = "deadline_exceeded"


class Overloaded(Unavailable):
    """Requests come faster than they are answered."""

    code = "overloaded"


class Unreachable(Unavailable):
    """A server does not answer."""

    code = "unreachable"


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line of at most 300 characters, for a message of ours: its type
    where it says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
