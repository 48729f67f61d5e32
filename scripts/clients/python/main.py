"""Runs the Python SDKs against a gateway: `main.py GATEWAY UPSTREAMS [CLIENT…]`, where UPSTREAMS is JSON."""

import importlib
import json
import sys

import cases

MODULES = ("of_openai", "of_anthropic", "of_boto3", "of_google", "of_langchain", "of_litellm")


def main():
    gateway, upstreams, wanted = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
    for module in MODULES:
        if not wanted or module.removeprefix("of_") in wanted:
            cases.run(importlib.import_module(module).clients(gateway), [one for one in upstreams if one["name"] != "Cohere"])
    if not wanted or "vectors" in wanted:
        importlib.import_module("of_vectors").run(gateway, upstreams)


main()
