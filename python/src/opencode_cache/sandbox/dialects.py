"""The wire formats of the model APIs that the loopback model server speaks, one class each.

A dialect reads a request into an `Ask` and writes the answer: a text, or a call of the bash tool.
Shapes are those that the AI SDKs of OpenCode 1.0.61 and 1.18.33 send and accept (both were driven with them).
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opencode_cache.sandbox.ask import Ask, ask, dicts

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWER = "LOOPBACK-OK"
_SSE = "text/event-stream"
_JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """The body of a response, and its type."""

    content_type: str
    body: bytes


class Dialect(Protocol):
    def read(self, path: str, body: dict[str, Any]) -> Ask:
        """What the request with that path and body asks for."""

    def write(self, ask: Ask) -> Answer:
        """`ANSWER`, or a call of the bash tool with the command."""


def for_path(path: str) -> Dialect | None:
    """The dialect of a request path without its query, or None where no API has such a path."""
    for pattern, dialect in _PATHS:
        if pattern.search(path):
            return dialect
    return None


def _arguments(command: str) -> dict[str, str]:
    return {"command": command, "description": "a command of the loopback model"}


def _events(events: Iterable[dict[str, Any] | str], *, named: bool = False) -> Answer:
    lines = []
    for event in events:
        if named and isinstance(event, dict):
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    return Answer(_SSE, "".join(lines).encode())


def _document(document: dict[str, Any]) -> Answer:
    return Answer(_JSON, json.dumps(document).encode())


class Anthropic:
    def read(self, path: str, body: dict[str, Any]) -> Ask:  # noqa: ARG002 - the path names no model here
        talk = body.get("messages")
        results = [part.get("content") for part in dicts(talk) if part.get("type") == "tool_result"]
        return ask(body.get("model"), talk, body.get("tools"), results, stream=bool(body.get("stream")))

    def write(self, ask: Ask) -> Answer:
        usage = {"input_tokens": 1, "output_tokens": 1}
        message: dict[str, Any] = {
            "id": "msg_loopback",
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        block: dict[str, Any]
        if ask.command is None:
            block, stop = {"type": "text", "text": ""}, "end_turn"
            delta = {"type": "text_delta", "text": ANSWER}
            whole = {"type": "text", "text": ANSWER}
        else:
            block, stop = {"type": "tool_use", "id": "toolu_1", "name": ask.tool, "input": {}}, "tool_use"
            delta = {"type": "input_json_delta", "partial_json": json.dumps(_arguments(ask.command))}
            whole = block | {"input": _arguments(ask.command)}
        if not ask.stream:
            return _document(message | {"content": [whole], "stop_reason": stop})
        end = {"stop_reason": stop, "stop_sequence": None}
        return _events(
            [
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": block},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": end, "usage": usage},
                {"type": "message_stop"},
            ],
            named=True,
        )


class Chat:
    """OpenAI chat completions, the dialect of most providers."""

    def read(self, path: str, body: dict[str, Any]) -> Ask:  # noqa: ARG002 - the path names no model here
        talk = body.get("messages")
        results = [message.get("content") for message in dicts(talk) if message.get("role") == "tool"]
        return ask(body.get("model"), talk, body.get("tools"), results, stream=bool(body.get("stream")))

    def write(self, ask: Ask) -> Answer:
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        message: dict[str, Any] = {"role": "assistant", "content": ANSWER}
        stop = "stop"
        if ask.command is not None:
            call = {"name": ask.tool, "arguments": json.dumps(_arguments(ask.command))}
            tool_call = {"index": 0, "id": "call_1", "type": "function", "function": call}
            message, stop = {"role": "assistant", "content": None, "tool_calls": [tool_call]}, "tool_calls"
        # Perplexity's SDK wants a role and a text in every piece, the last one too.
        last = {"role": "assistant", "content": ""}
        common = {"id": "loopback", "created": 1, "model": ask.model}
        if not ask.stream:
            choice = {"index": 0, "message": message, "finish_reason": stop}
            return _document(common | {"object": "chat.completion", "choices": [choice], "usage": usage})
        chunk = common | {"object": "chat.completion.chunk"}
        return _events(
            [
                chunk | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
                # OpenAI sends the usage in a piece without choices; Mistral's SDK wants one in each.
                chunk | {"choices": [{"index": 0, "delta": last, "finish_reason": stop}], "usage": usage},
                "[DONE]",
            ]
        )


class Responses:
    """OpenAI responses."""

    def read(self, path: str, body: dict[str, Any]) -> Ask:  # noqa: ARG002 - the path names no model here
        talk = body.get("input")
        results = [item.get("output") for item in dicts(talk) if item.get("type") == "function_call_output"]
        return ask(body.get("model"), talk, body.get("tools"), results, stream=bool(body.get("stream")))

    def write(self, ask: Ask) -> Answer:
        item: dict[str, Any]
        if ask.command is None:
            text = {"type": "output_text", "text": ANSWER, "annotations": []}
            item = {"type": "message", "id": "item_1", "role": "assistant", "content": [text]}
            empty: dict[str, Any] = {"content": []}
            delta = {"type": "response.output_text.delta", "content_index": 0, "delta": ANSWER}
        else:
            arguments = json.dumps(_arguments(ask.command))
            item = {"type": "function_call", "id": "item_1", "call_id": "call_1", "name": ask.tool}
            item["arguments"] = arguments
            empty = {"arguments": ""}
            delta = {"type": "response.function_call_arguments.delta", "delta": arguments}
        item["status"] = "completed"
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        base = {"id": "resp_1", "object": "response", "created_at": 1, "model": ask.model}
        whole = base | {"status": "completed", "output": [item], "usage": usage}
        if not ask.stream:
            return _document(whole)
        running = base | {"status": "in_progress", "output": []}
        started = item | empty | {"status": "in_progress"}
        return _events(
            [
                {"type": "response.created", "response": running},
                {"type": "response.output_item.added", "output_index": 0, "item": started},
                delta | {"item_id": "item_1", "output_index": 0},
                {"type": "response.output_item.done", "output_index": 0, "item": item},
                {"type": "response.completed", "response": whole},
            ],
            named=True,
        )


class Google:
    """Gemini's generateContent and streamGenerateContent; the model is in the path."""

    def read(self, path: str, body: dict[str, Any]) -> Ask:
        talk = body.get("contents")
        results = [part["functionResponse"] for part in dicts(talk) if "functionResponse" in part]
        model = path.rpartition("/")[2].partition(":")[0]
        stream = ":streamGenerateContent" in path
        return ask(model, talk, body.get("tools"), results, stream=stream)

    def write(self, ask: Ask) -> Answer:
        part: dict[str, Any] = {"text": ANSWER}
        if ask.command is not None:
            part = {"functionCall": {"name": ask.tool, "args": _arguments(ask.command)}}
        candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        document = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": ask.model}
        return _events([document]) if ask.stream else _document(document)


class Bedrock:
    """Bedrock's converse and converse-stream; the model is in the path."""

    def read(self, path: str, body: dict[str, Any]) -> Ask:
        talk = body.get("messages")
        results = [part["toolResult"].get("content") for part in dicts(talk) if "toolResult" in part]
        model = path.rsplit("/", 2)[1]
        return ask(model, talk, body.get("toolConfig"), results, stream=path.endswith("-stream"))

    def write(self, ask: Ask) -> Answer:
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        tool = {"toolUseId": "call_1", "name": ask.tool}
        end = {"usage": usage, "metrics": {"latencyMs": 1}}
        stop = "end_turn" if ask.command is None else "tool_use"
        if not ask.stream:
            arguments = _arguments(ask.command or "")
            part = {"text": ANSWER} if ask.command is None else {"toolUse": tool | {"input": arguments}}
            message = {"role": "assistant", "content": [part]}
            return _document(end | {"output": {"message": message}, "stopReason": stop})
        frames = [_frame("messageStart", {"role": "assistant"})]
        if ask.command is None:
            delta: dict[str, Any] = {"text": ANSWER}
        else:
            start = {"contentBlockIndex": 0, "start": {"toolUse": tool}}
            frames.append(_frame("contentBlockStart", start))
            delta = {"toolUse": {"input": json.dumps(_arguments(ask.command))}}
        frames += [
            _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}),
            _frame("contentBlockStop", {"contentBlockIndex": 0}),
            _frame("messageStop", {"stopReason": stop}),
            _frame("metadata", end),
        ]
        return Answer("application/vnd.amazon.eventstream", b"".join(frames))


def _frame(event: str, payload: dict[str, Any]) -> bytes:
    """One message of Amazon's event-stream encoding: lengths, prelude CRC, headers, payload, CRC."""
    headers = b""
    for name, value in ((":event-type", event), (":content-type", _JSON), (":message-type", "event")):
        headers += struct.pack(">B", len(name)) + name.encode() + b"\x07"  # type 7: two-byte length, string
        headers += struct.pack(">H", len(value)) + value.encode()
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


_PATHS: tuple[tuple[re.Pattern[str], Dialect], ...] = (
    (re.compile(r"/messages$"), Anthropic()),
    (re.compile(r"/chat/completions$"), Chat()),
    (re.compile(r"/responses$"), Responses()),
    (re.compile(r":(?:streamGenerateContent|generateContent)$"), Google()),
    (re.compile(r"/converse(?:-stream)?$"), Bedrock()),
)
