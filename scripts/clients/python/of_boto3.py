"""boto3's `converse` and `converse_stream`, to Bedrock's API as it is. The gateway signs with its own key."""

import json

import boto3
import botocore.exceptions
import urllib3.exceptions
from botocore.config import Config

from cases import LONG_PROMPT, REQUESTS, Answer, Client

FINISH = {"end_turn": "stop", "max_tokens": "length", "tool_use": "call"}


def clients(gateway):
    sdk = boto3.client("bedrock-runtime", endpoint_url=gateway, region_name="us-west-2", aws_access_key_id="AKIAOFTHECLIENT",
                       aws_secret_access_key="of-the-client", aws_session_token="session-of-the-client",
                       config=Config(retries={"total_max_attempts": 1}, read_timeout=30))
    converse = Converse(sdk)
    broken = (botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError, BrokenStream)
    yield Client("boto3", converse.ask, converse.pieces, (sdk.exceptions.ResourceNotFoundException,),
                 (sdk.exceptions.ThrottlingException,), broken, kinds=("system", "tools", "call"), upstreams=("AWSBedrock",),
                 model_of=lambda upstream: upstream["served"])


class BrokenStream(Exception):
    """botocore ends a stream quietly when the connection does; its last events say whether it was complete."""


class Converse:
    def __init__(self, sdk):
        self.sdk = sdk

    def ask(self, model, kind, most, is_stream):
        long = {"messages": [{"role": "user", "content": [{"text": LONG_PROMPT}]}]}
        request = {"modelId": model, **(long if kind == "long" else REQUESTS["converse"][kind])}
        if most:
            request["inferenceConfig"] = {"maxTokens": most}
        if not is_stream:
            done = self.sdk.converse(**request)
            block = done["output"]["message"]["content"][0]
            call = (block["toolUse"]["name"], block["toolUse"]["input"]) if "toolUse" in block else None
            return self.answer(block.get("text", ""), done["usage"], done["stopReason"], 1, call)
        text, finish, usage, name, arguments = [], None, None, None, ""
        for event in self.sdk.converse_stream(**request)["stream"]:
            delta = event.get("contentBlockDelta", {}).get("delta", {})
            text += [delta["text"]] if "text" in delta else []
            name = event.get("contentBlockStart", {}).get("start", {}).get("toolUse", {}).get("name", name)
            arguments += delta.get("toolUse", {}).get("input", "")
            finish = event.get("messageStop", {}).get("stopReason", finish)
            usage = event.get("metadata", {}).get("usage", usage)
        if finish is None:
            raise BrokenStream
        return self.answer("".join(text), usage, finish, len(text), (name, json.loads(arguments)) if name else None)

    @staticmethod
    def answer(text, usage, finish, pieces, call):
        cached = usage["cacheReadInputTokens"]
        return Answer(text, usage["inputTokens"] + cached, usage["outputTokens"], cached, FINISH[finish], pieces, call=call)

    def pieces(self, model, prompt):
        messages = [{"role": "user", "content": [{"text": prompt}]}]
        stream = self.sdk.converse_stream(modelId=model, messages=messages)["stream"]
        try:
            for event in stream:
                if "contentBlockDelta" in event:
                    yield event["contentBlockDelta"]["delta"]["text"]
        finally:
            stream.close()
