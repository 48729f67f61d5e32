"""Embeddings by `openai` and reranking by `litellm`, at every upstream that has models for it."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402 - reads that variable
import openai  # noqa: E402

from cases import CLIENT_KEY, check, tell  # noqa: E402

TEXT = "The quick brown fox jumps over the lazy dog."
# Those that embed one text at a time; the gateway says so to a client that sends more.
ONE_BY_ONE = ("amazon.titan", "amazon.nova")
DIMENSIONS = 256


def run(gateway, upstreams):
    sdk = openai.OpenAI(base_url=f"{gateway}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
    for upstream in upstreams:
        if upstream["name"] in ("pool", "pool as is"):
            embeds, ranks = [upstream["model"]], [upstream["model"]]
        else:
            models = [*upstream["more"], *([upstream["model"]] if "rerank" in upstream["model"] else [])]
            embeds = [model for model in models if "embed" in model]
            ranks = [model for model in models if "rank" in model]
        for model in embeds:
            # The Gemini API does not say how many it counted.
            for case, test in embeddings(sdk, model, 0 if upstream["name"] == "Gemini" else 11):
                tell("openai (Python), embeddings", upstream["name"], f"{model}, {case}", test)
        for model in ranks:
            tell("litellm, rerank", upstream["name"], model, lambda model=model: rerank(gateway, model))


def embeddings(sdk, model, tokens):
    def vector(**more):
        done = sdk.embeddings.create(model=model, input=TEXT, **more)
        check(done.usage.prompt_tokens == tokens, f"{done.usage.prompt_tokens} tokens")
        check(len(done.data) == 1, f"{len(done.data)} vectors")
        return done.data[0].embedding

    def alike():
        # The SDK asks for base64 by itself.
        packed, plain = vector(dimensions=DIMENSIONS), vector(dimensions=DIMENSIONS, encoding_format="float")
        check(len(packed) == len(plain) == DIMENSIONS, f"vectors of {len(packed)} and {len(plain)}")
        off = max(abs(one - other) for one, other in zip(packed, plain))
        check(off < 1e-6, f"they differ by {off}")

    def several():
        texts = [TEXT, "something else", TEXT]
        if model.startswith(ONE_BY_ONE):
            try:
                sdk.embeddings.create(model=model, input=texts)
            except openai.BadRequestError as error:
                check("input" in str(error), f"the error is {error}")
                return
            raise AssertionError("three texts were taken")
        data = sdk.embeddings.create(model=model, input=texts).data
        check([item.index for item in data] == [0, 1, 2], f"indices are {[item.index for item in data]}")
        check(data[0].embedding == data[2].embedding != data[1].embedding, "vectors are out of order")

    def missing():
        try:
            sdk.embeddings.create(model="no-such-model", input=TEXT)
        except openai.NotFoundError:
            return
        raise AssertionError("nothing was raised")

    return (("base64 and numbers", alike), ("several texts", several), ("unknown model", missing))


def rerank(gateway, model):
    documents = ["a blue whale", "the lazy dog", "nothing of it"]
    done = litellm.rerank(model=f"cohere/{model}", query="lazy dog", documents=documents, top_n=2, api_key=CLIENT_KEY,
                          api_base=f"{gateway}/v2/rerank")
    results = [(result["index"], result["relevance_score"]) for result in done.results]
    check(len(results) == 2 and results[0][0] == 1, f"results are {results}")
    check(results[0][1] > results[1][1], f"scores are {results}")
