"""Every contract over every storage."""

from __future__ import annotations

from headway.testing.contracts.features import OnlineStoreContract
from headway.testing.contracts.journal import JournalContract
from headway.testing.contracts.leases import LeaseStoreContract
from headway.testing.contracts.metrics import MetricStoreContract
from headway.testing.contracts.pages import RunPagesContract
from headway.testing.contracts.predictions import PredictionStoreContract
from headway.testing.contracts.questions import QuestionsContract
from headway.testing.contracts.records import RecordStoreContract
from headway.testing.contracts.retention import RetentionContract
from headway.testing.contracts.runs import RunStoreContract
from headway.testing.contracts.searches import RunSearchContract
from headway.testing.contracts.traces import TraceStoreContract
from headway.testing.contracts.webhooks import WebhookStoreContract


class TestJournal(JournalContract):
    pass


class TestRecords(RecordStoreContract):
    pass


class TestQuestions(QuestionsContract):
    pass


class TestRuns(RunStoreContract):
    pass


class TestMetrics(MetricStoreContract):
    pass


class TestPredictions(PredictionStoreContract):
    pass


class TestLeases(LeaseStoreContract):
    pass


class TestRetention(RetentionContract):
    pass


class TestSearches(RunSearchContract):
    pass


class TestWebhooks(WebhookStoreContract):
    pass


class TestPages(RunPagesContract):
    pass


class TestTraces(TraceStoreContract):
    pass


class TestOnline(OnlineStoreContract):
    pass
