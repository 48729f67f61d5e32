"""litellm, as a client of OpenAI's and of Anthropic's API."""

import os

# Its list of prices is not fetched.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402 - reads that variable

from cases import CLIENT_KEY, LONG_PROMPT, REQUESTS, Answer, Client  # noqa: E402
from of_openai import transport_errors  # noqa: E402

litellm.suppress_debug_info = True


def clients(gateway):
    for provider, base in (("openai", f"{gateway}/v1"), ("anthropic", gateway)):
        chat = Chat(provider, base)
        broken = (litellm.exceptions.APIError, litellm.exceptions.APIConnectionError,
                  litellm.exceptions.MidStreamFallbackError, litellm.exceptions.InternalServerError, *transport_errors())
        yield Client(f"litellm, {provider}", chat.ask, chat.pieces, (litellm.exceptions.NotFoundError,),
                     (litellm.exceptions.RateLimitError,), broken, kinds=("system", "tools"))


class Chat:
    def __init__(self, provider, base):
        self.provider = provider
        self.fixed = {"api_base": base, "api_key": CLIENT_KEY, "max_retries": 0, "num_retries": 0, "timeout": 30}

    def ask(self, model, kind, most, is_stream):
        long = {"messages": [{"role": "user", "content": LONG_PROMPT}]}
        request = {"model": f"{self.provider}/{model}", **self.fixed,
                   **(long if kind == "long" else REQUESTS["chat"][kind])}
        if most:
            request["max_tokens"] = most
        if not is_stream:
            done = litellm.completion(**request)
            return self.answer(done.choices[0].message.content, done.usage, done.choices[0].finish_reason, 1)
        text, finish, usage = [], None, None
        for chunk in litellm.completion(**request, stream=True, stream_options={"include_usage": True}):
            usage = getattr(chunk, "usage", None) or usage
            for choice in chunk.choices:
                text += [choice.delta.content] if choice.delta.content else []
                finish = choice.finish_reason or finish
        return self.answer("".join(text), usage, finish, len(text))

    @staticmethod
    def answer(text, usage, finish, pieces):
        details = usage.prompt_tokens_details
        return Answer(text, usage.prompt_tokens, usage.completion_tokens, (details and details.cached_tokens) or 0, finish,
                      pieces)

    def pieces(self, model, prompt):
        stream = litellm.completion(model=f"{self.provider}/{model}", **self.fixed, stream=True,
                                    messages=[{"role": "user", "content": prompt}], max_tokens=5000)
        try:
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content
        finally:
            inner = stream.completion_stream
            closes = getattr(inner, "close", None) or getattr(getattr(inner, "response", None), "close", None)
            if closes:
                closes()
