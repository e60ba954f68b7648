"""Traces as MLflow's client and OpenTelemetry's exporter send them."""

from __future__ import annotations

import os
import time

import mlflow
from chapters import chapter, play, refused
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, SpanType
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

URL = mlflow.get_tracking_uri


@mlflow.trace(span_type=SpanType.RETRIEVER)
def find(question: str) -> list[str]:
    return [question] * 2


@mlflow.trace(span_type=SpanType.CHAIN)
def answer(question: str, session: str = "") -> str:
    if session:
        mlflow.update_current_trace(
            metadata={"mlflow.trace.session": session, "mlflow.trace.user": "ada"},
            tags={"kind": question[:1]},
            client_request_id=f"req-{question}",
        )
    if question == "bad":
        raise ValueError("no answer to that")
    with mlflow.start_span("judge", span_type=SpanType.LLM) as span:
        span.set_inputs({"nan": float("nan"), "deep": [{"a": [1, 2.5, None, True, ""]}], "none": None})
        span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
        span.set_attribute("model", "tiny-1")
        span.add_event(mlflow.entities.SpanEvent("thought", attributes={"n": 1}))
    return " ".join(find(question)).upper()


def asked(questions: list[str], session: str = "s1") -> None:
    for question in questions:
        time.sleep(0.003)  # a trace begins at a millisecond, and those of the same one come in any order
        try:
            answer(question, session)
        except ValueError:
            assert question == "bad"
    mlflow.flush_trace_async_logging()


@chapter
def spans(client: MlflowClient) -> None:
    experiment = mlflow.set_experiment("spans").experiment_id
    asked(["why"])
    (trace,) = mlflow.search_traces(return_type="list")
    assert trace.info.tags["mlflow.trace.spansLocation"] == "TRACKING_STORE", trace.info.tags
    assert [span.name for span in trace.data.spans] == ["answer", "judge", "find"]
    root, judge, found = trace.data.spans
    assert (root.parent_id, judge.parent_id, found.span_type) == (None, root.span_id, "RETRIEVER")
    assert root.inputs == {"question": "why", "session": "s1"}
    assert root.outputs == "WHY WHY"
    assert str(judge.inputs["nan"]) == "nan"
    assert judge.inputs["deep"] == [{"a": [1, 2.5, None, True, ""]}]
    assert judge.events[0].name == "thought"
    assert trace.info.token_usage == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    again = mlflow.get_trace(trace.info.trace_id)
    assert again.to_dict() == trace.to_dict()
    assert again.info.execution_duration >= 0
    assert again.info.experiment_id == experiment
    assert not client.list_artifacts(client.create_run(experiment).info.run_id)


@chapter
def searches(client: MlflowClient) -> None:
    experiment = mlflow.set_experiment("searching traces").experiment_id
    began = int(time.time() * 1000)
    asked(["a", "bad", "c"], "s1")
    asked(["d"], "s2")
    with mlflow.start_run() as run:
        asked(["e"], "s2")
    everything = mlflow.search_traces(return_type="list")

    def found(filter_string: str, *order: str, **rest: object) -> list[str]:
        page = mlflow.search_traces(filter_string=filter_string, order_by=list(order), return_type="list", **rest)
        return [trace.info.client_request_id.removeprefix("req-") for trace in page]

    assert found("") == ["e", "d", "c", "bad", "a"]
    assert found("", "timestamp_ms ASC") == ["a", "bad", "c", "d", "e"]
    assert found("status = 'ERROR'") == ["bad"]
    assert found("trace.status = 'OK' AND tags.kind = 'c'") == ["c"]
    assert found("metadata.`mlflow.trace.session` = 's2'") == ["e", "d"]
    assert found(f"attributes.timestamp_ms >= {began}", "timestamp ASC", max_results=2) == ["a", "bad"]
    assert found("timestamp_ms < 1000") == []
    assert found("execution_time_ms >= 0 AND name = 'answer' AND end_time_ms > 0") == ["e", "d", "c", "bad", "a"]
    assert found("name LIKE 'ans%' AND request_id = '" + everything[0].info.trace_id + "'") == ["e"]
    assert found("client_request_id = 'req-c'") == ["c"]
    assert found("span.name = 'judge' AND span.type = 'LLM'") == ["e", "d", "c", "a"]
    assert found("span.status = 'ERROR'") == ["bad"]
    assert found("span.attributes.model LIKE 'tiny%'") == ["e", "d", "c", "a"]
    assert found("trace.text LIKE '%no answer to that%'") == ["bad"]
    assert found("", run_id=run.info.run_id) == ["e"]
    client.link_traces_to_run([everything[1].info.trace_id], run.info.run_id)
    assert found("", run_id=run.info.run_id) == ["e", "d"]
    for wrong in ("nothing = 'x'", "status > 3", "status = 'OK' OR status = 'ERROR'", "span.color = 'red'"):
        refused("INVALID_PARAMETER_VALUE", lambda wrong=wrong: client.search_traces([experiment], wrong))
    pages, token = [], None
    while True:
        page = client.search_traces([experiment], max_results=2, page_token=token)
        pages.append(len(page))
        token = page.token
        if not token:
            break
    assert pages == [2, 2, 1]
    frame = mlflow.search_traces()
    assert list(frame["client_request_id"]) == ["req-e", "req-d", "req-c", "req-bad", "req-a"]
    gone = [trace.info.trace_id for trace in everything[:2]]
    assert client.delete_traces(experiment, trace_ids=gone) == 2
    assert client.delete_traces(experiment, max_timestamp_millis=int(time.time() * 1000), max_traces=1) == 1
    assert found("") == ["c", "bad"]


@chapter
def assessments(client: MlflowClient) -> None:
    mlflow.set_experiment("assessing")
    asked(["why"])
    identifier = mlflow.search_traces(return_type="list")[0].info.trace_id
    human = AssessmentSource(source_type="HUMAN", source_id="ada")
    first = mlflow.log_feedback(
        trace_id=identifier, name="good", value=0.4, rationale="short", source=human, metadata={"a": "1"}
    )
    expected = mlflow.log_expectation(trace_id=identifier, name="words", value={"n": [1, 2]})
    assert mlflow.get_assessment(identifier, first.assessment_id).value == 0.4
    changed = mlflow.update_assessment(
        identifier, first.assessment_id, mlflow.entities.Feedback(name="good", value=0.9, metadata={"b": "2"})
    )
    assert (changed.value, changed.metadata, changed.source.source_id) == (0.9, {"a": "1", "b": "2"}, "ada")
    assert changed.last_update_time_ms >= first.last_update_time_ms
    newer = mlflow.override_feedback(trace_id=identifier, assessment_id=first.assessment_id, value=0.1)
    by_id = {each.assessment_id: each for each in mlflow.get_trace(identifier).info.assessments}
    assert (by_id[first.assessment_id].valid, by_id[newer.assessment_id].valid) == (False, True)
    assert mlflow.get_assessment(identifier, expected.assessment_id).value == {"n": [1, 2]}
    assert len(mlflow.search_traces(filter_string="feedback.good > 0.8", return_type="list")) == 1
    assert not mlflow.search_traces(filter_string="feedback.good > 0.95", return_type="list")
    assert len(mlflow.search_traces(filter_string="expectation.words IS NOT NULL", return_type="list")) == 1
    mlflow.delete_assessment(identifier, newer.assessment_id)
    assert mlflow.get_assessment(identifier, first.assessment_id).valid
    refused("RESOURCE_DOES_NOT_EXIST", lambda: mlflow.get_assessment(identifier, newer.assessment_id))
    client.set_trace_tag(identifier, "kind", "trial")
    client.delete_trace_tag(identifier, "kind")
    assert "kind" not in mlflow.get_trace(identifier).info.tags


@chapter
def opentelemetry(client: MlflowClient) -> None:
    experiment = client.create_experiment("opentelemetry")
    token = os.environ["MLFLOW_TRACKING_TOKEN"]
    for compression in (Compression.NoCompression, Compression.Gzip, Compression.Deflate):
        time.sleep(0.003)  # as in `asked`
        provider = TracerProvider()
        exporter = OTLPSpanExporter(
            endpoint=f"{URL()}/v1/traces",
            headers={"x-mlflow-experiment-id": experiment, "authorization": f"Bearer {token}"},
            compression=compression,
        )
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("a program")
        with tracer.start_as_current_span("request", attributes={"session.id": compression.name, "n": 5}) as span:
            with tracer.start_as_current_span("inner") as inner:
                inner.add_event("seen", {"at": 1.5})
            span.set_attribute("texts", ["a", "b"])
        provider.shutdown()
    found = client.search_traces([experiment], order_by=["timestamp_ms ASC"])
    assert [trace.info.trace_metadata["mlflow.trace.session"] for trace in found] == [
        "NoCompression",
        "Gzip",
        "Deflate",
    ]
    for trace in found:
        assert trace.info.state == "OK"
        assert trace.info.tags["mlflow.traceName"] == "request"
        assert [span.name for span in trace.data.spans] == ["request", "inner"]
        assert trace.data.spans[0].attributes["texts"] == ["a", "b"]
        assert trace.data.spans[1].events[0].attributes == {"at": 1.5}
        assert mlflow.get_trace(trace.info.trace_id).data.spans[0].get_attribute("n") == 5


if __name__ == "__main__":
    play()
