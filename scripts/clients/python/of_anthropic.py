"""The package `anthropic`."""

import anthropic

from cases import CLIENT_KEY, LONG_PROMPT, REQUESTS, Answer, Client
from of_openai import transport_errors

FINISH = {"end_turn": "stop", "max_tokens": "length", "tool_use": "call"}


def clients(gateway):
    sdk = anthropic.Anthropic(base_url=gateway, api_key=CLIENT_KEY, max_retries=0, timeout=30)
    messages = Messages(sdk.messages)
    yield Client("anthropic (Python)", messages.ask, messages.pieces, (anthropic.NotFoundError,),
                 (anthropic.RateLimitError,), (anthropic.APIError, *transport_errors()),
                 kinds=("system", "history", "tools", "call", "image", "settings"))


class Messages:
    def __init__(self, sdk):
        self.sdk = sdk

    def ask(self, model, kind, most, is_stream):
        long = {"max_tokens": 1000, "messages": [{"role": "user", "content": LONG_PROMPT}]}
        request = {"model": model, **(long if kind == "long" else REQUESTS["messages"][kind])}
        if most:
            request["max_tokens"] = most
        # Newer versions have no argument for it, as newer models do not take it.
        if "temperature" in request:
            request["extra_body"] = {"temperature": request.pop("temperature")}
        if not is_stream:
            return self.answer(self.sdk.create(**request), 1)
        with self.sdk.stream(**request) as stream:
            text = list(stream.text_stream)
            done = stream.get_final_message()
        if done.stop_reason is None:
            raise anthropic.AnthropicError("the stream ended without a reason")
        return self.answer(done, len(text))

    @staticmethod
    def answer(done, pieces):
        text = "".join(block.text for block in done.content if block.type == "text")
        cached = done.usage.cache_read_input_tokens or 0
        return Answer(text, done.usage.input_tokens + cached, done.usage.output_tokens, cached,
                      FINISH[done.stop_reason], pieces,
                      call=next(((block.name, block.input) for block in done.content if block.type == "tool_use"), None))

    def pieces(self, model, prompt):
        with self.sdk.stream(model=model, max_tokens=5000, messages=[{"role": "user", "content": prompt}]) as stream:
            yield from stream.text_stream
