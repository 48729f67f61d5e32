"""The package `openai`: chat and Responses."""

import importlib
import importlib.util
import json

import openai

from cases import CLIENT_KEY, LONG_PROMPT, REQUESTS, Answer, Client

FINISH = {"stop": "stop", "length": "length", "tool_calls": "call", "completed": "stop", "incomplete": "length"}


def clients(gateway):
    sdk = openai.OpenAI(base_url=f"{gateway}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
    errors = {"not_found": (openai.NotFoundError,), "rate_limited": (openai.RateLimitError,), "broken": (openai.APIError, IncompleteStream, *transport_errors())}
    kinds = ("system", "history", "tools", "call", "image", "schema", "settings")
    dropped = {
        "Anthropic": "temperature, top_p, seed, logit_bias", "AWSAnthropic": "top_p, seed, logit_bias",
        "GCPAnthropic": "top_p, seed, logit_bias", "AWSBedrock": "top_p, seed, logit_bias", "GCPVertexAI": "logit_bias",
        "Gemini": "logit_bias",
    }
    chat = Chat(sdk)
    yield Client("openai (Python), chat", chat.ask, chat.pieces, **errors, kinds=kinds, dropped=dropped)
    responses = Responses(sdk)
    yield Client("openai (Python), Responses", responses.ask, responses.pieces, **errors, kinds=kinds)


def transport_errors():
    """A connection that breaks in a stream is told by the HTTP client's own class, of one package or the other."""
    for name in ("httpx", "httpx2"):
        if importlib.util.find_spec(name):
            yield importlib.import_module(name).TransportError


class IncompleteStream(Exception):
    """Nothing was raised, and the last event is not one that ends an answer."""


class Chat:
    def __init__(self, sdk):
        self.create = sdk.chat.completions.with_raw_response.create

    def ask(self, model, kind, most, is_stream):
        long = {"messages": [{"role": "user", "content": LONG_PROMPT}]}
        request = {"model": model, **(long if kind == "long" else REQUESTS["chat"][kind])}
        if most:
            request["max_completion_tokens"] = most
        if is_stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        raw = self.create(**request)
        dropped = raw.headers.get("x-penstock-dropped", "")
        if not is_stream:
            done = raw.parse()
            choice = done.choices[0]
            calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
            return self.answer(choice.message.content, done.usage, choice.finish_reason, 1, dropped, calls)
        text, finish, usage, calls = [], None, None, {}
        for chunk in raw.parse():
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += [choice.delta.content] if choice.delta.content else []
                finish = choice.finish_reason or finish
                for call in choice.delta.tool_calls or []:
                    name, arguments = calls.get(call.index, ("", ""))
                    calls[call.index] = (name + (call.function.name or ""), arguments + (call.function.arguments or ""))
        return self.answer("".join(text), usage, finish, len(text), dropped, list(calls.values()))

    @staticmethod
    def answer(text, usage, finish, pieces, dropped, calls):
        details = usage.prompt_tokens_details
        return Answer(text, usage.prompt_tokens, usage.completion_tokens, (details and details.cached_tokens) or 0,
                      FINISH[finish], pieces, dropped, called(calls))

    def pieces(self, model, prompt):
        stream = self.create(model=model, stream=True, messages=[{"role": "user", "content": prompt}]).parse()
        with stream:
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content


def called(calls):
    """The only call, its arguments parsed."""
    return (calls[0][0], json.loads(calls[0][1])) if len(calls) == 1 else None


class Responses:
    def __init__(self, sdk):
        self.sdk = sdk.responses

    def ask(self, model, kind, most, is_stream):
        request = {"model": model, **({"input": LONG_PROMPT} if kind == "long" else REQUESTS["responses"][kind])}
        if most:
            request["max_output_tokens"] = most
        if not is_stream:
            return self.answer(self.sdk.create(**request), 1)
        # Without the SDK's helper, which knows no end but `response.completed`.
        text, done = [], None
        with self.sdk.create(**request, stream=True) as stream:
            for event in stream:
                text += [event.delta] if event.type == "response.output_text.delta" else []
                done = event.response if event.type in ("response.completed", "response.incomplete") else done
        if done is None:
            raise IncompleteStream
        if "".join(text) != done.output_text:
            raise AssertionError(f"the pieces are {''.join(text)!r} and the answer {done.output_text!r}")
        return self.answer(done, len(text))

    @staticmethod
    def answer(done, pieces):
        usage = done.usage
        call = called([(item.name, item.arguments) for item in done.output if item.type == "function_call"])
        return Answer(done.output_text, usage.input_tokens, usage.output_tokens, usage.input_tokens_details.cached_tokens,
                      "call" if call else FINISH[done.status], pieces, call=call)

    def pieces(self, model, prompt):
        with self.sdk.create(model=model, input=prompt, stream=True) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    yield event.delta
