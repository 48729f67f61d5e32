"""google-genai, to Gemini's API as it is."""

from google import genai
from google.genai import errors, types

from cases import CLIENT_KEY, LONG_PROMPT, REQUESTS, Answer, Client
from of_openai import transport_errors

FINISH = {types.FinishReason.STOP: "stop", types.FinishReason.MAX_TOKENS: "length"}


def clients(gateway):
    sdk = genai.Client(api_key=CLIENT_KEY, vertexai=False, http_options=types.HttpOptions(base_url=gateway, timeout=30_000))
    gemini = Gemini(sdk.models)
    yield Client("google-genai", gemini.ask, gemini.pieces, (NotFound,), (RateLimited,),
                 (errors.APIError, BrokenStream, *transport_errors()), kinds=("system", "tools", "call"), upstreams=("Gemini",),
                 model_of=lambda upstream: upstream["served"])


class NotFound(Exception):
    pass


class RateLimited(Exception):
    pass


class BrokenStream(Exception):
    """The SDK ends a stream when the connection does; its last event says whether it was complete."""


def told(error):
    """The SDK has one class for all of them, with the status beside it."""
    return {404: NotFound, 429: RateLimited}.get(error.code, type(error))


class Gemini:
    def __init__(self, sdk):
        self.sdk = sdk

    def ask(self, model, kind, most, is_stream):
        request = {"model": model, **({"contents": LONG_PROMPT} if kind == "long" else REQUESTS["gemini"][kind])}
        if most:
            request["config"] = {"maxOutputTokens": most}
        try:
            return self.streamed(request) if is_stream else self.whole(request)
        except errors.ClientError as error:
            if error.code in (404, 429):
                raise told(error) from error
            raise

    def whole(self, request):
        done = self.sdk.generate_content(**request)
        return self.answer(done.text if not done.function_calls else "", done, 1)

    def streamed(self, request):
        text, last = [], None
        for last in self.sdk.generate_content_stream(**request):
            text += [last.text] if not last.function_calls and last.text else []
        if last is None or last.usage_metadata is None:
            raise BrokenStream
        return self.answer("".join(text), last, len(text))

    @staticmethod
    def answer(text, done, pieces):
        usage = done.usage_metadata
        call = next(((call.name, dict(call.args)) for call in done.function_calls or []), None)
        return Answer(text, usage.prompt_token_count, usage.candidates_token_count, usage.cached_content_token_count or 0,
                      "call" if call else FINISH[done.candidates[0].finish_reason], pieces, call=call)

    def pieces(self, model, prompt):
        for event in self.sdk.generate_content_stream(model=model, contents=prompt):
            if event.text:
                yield event.text
