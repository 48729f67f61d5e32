"""langchain-openai and langchain-anthropic."""

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from cases import CLIENT_KEY, LONG_PROMPT, PROMPT, Answer, Client
from of_openai import transport_errors

FINISH = {"stop": "stop", "length": "length", "end_turn": "stop", "max_tokens": "length"}
CALLS = [("call_1", "Rome", "21 degrees"), ("call_2", "Köln", "9 degrees")]


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


def clients(gateway):
    def of_openai(model, most):
        return ChatOpenAI(model=model, base_url=f"{gateway}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30,
                          max_completion_tokens=most, stream_usage=True)

    def of_anthropic(model, most):
        return ChatAnthropic(model=model, base_url=gateway, api_key=CLIENT_KEY, max_retries=0, timeout=30,
                             max_tokens=most or 5000)

    for name, make, sdk in (("langchain-openai", of_openai, openai), ("langchain-anthropic", of_anthropic, anthropic)):
        chain = Chain(make)
        yield Client(name, chain.ask, chain.pieces, (sdk.NotFoundError,), (sdk.RateLimitError,),
                     (sdk.APIError, IncompleteStream, *transport_errors()), kinds=("system", "tools"))


class IncompleteStream(Exception):
    """LangChain puts together what came; only the reason says whether that was all."""


def messages(kind):
    prompt = HumanMessage(LONG_PROMPT if kind == "long" else PROMPT)
    if kind == "system":
        return [SystemMessage("You are a careful zoologist, and you answer in whole sentences only."), prompt]
    if kind == "tools":
        calls = [{"id": id, "name": "get_weather", "args": {"city": city}} for id, city, _ in CALLS]
        results = [ToolMessage(result, tool_call_id=id) for id, _, result in CALLS]
        return [HumanMessage("How warm is it in Rome and in Köln?"), AIMessage("", tool_calls=calls), *results, prompt]
    return [prompt]


class Chain:
    def __init__(self, make):
        self.make = make

    def ask(self, model, kind, most, is_stream):
        model = self.make(model, most)
        if kind == "tools":
            model = model.bind_tools([get_weather])
        if not is_stream:
            return self.answer(model.invoke(messages(kind)), 1)
        whole, pieces = None, 0
        for chunk in model.stream(messages(kind)):
            whole = chunk if whole is None else whole + chunk
            pieces += bool(chunk.text)
        return self.answer(whole, pieces)

    @staticmethod
    def answer(done, pieces):
        usage, about = done.usage_metadata, done.response_metadata
        finish = about.get("finish_reason") or about.get("stop_reason")
        if finish is None:
            raise IncompleteStream
        return Answer(str(done.text), usage["input_tokens"], usage["output_tokens"],
                      usage.get("input_token_details", {}).get("cache_read") or 0, FINISH[finish], pieces)

    def pieces(self, model, prompt):
        stream = self.make(model, None).stream([HumanMessage(prompt)])
        try:
            for chunk in stream:
                if chunk.text:
                    yield str(chunk.text)
        finally:
            stream.close()
