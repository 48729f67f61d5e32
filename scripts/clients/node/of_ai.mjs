// The AI SDK (`ai`) with its providers for OpenAI (chat and Responses) and Anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, generateText, jsonSchema, streamText, tool } from "ai";

import { CLIENT_KEY, LONG_PROMPT, PROMPT } from "./cases.mjs";

const IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const CALLS = [
  ["call_1", "Rome", "21 degrees"],
  ["call_2", "Köln", "9 degrees"],
];

// The SDK ends a stream when the connection does; the reason says whether it was complete.
class IncompleteStream extends Error {}
// What the SDK tells of a stream beside its text: an error event as the provider sent it, or a broken connection.
class StreamFailed extends Error {}

globalThis.AI_SDK_LOG_WARNINGS = false;

export function clients(gateway) {
  const openai = createOpenAI({ baseURL: `${gateway}/v1`, apiKey: CLIENT_KEY });
  const anthropic = createAnthropic({ baseURL: `${gateway}/v1`, apiKey: CLIENT_KEY });
  return [
    client("ai, OpenAI chat", (model) => openai.chat(model)),
    client("ai, OpenAI Responses", (model) => openai.responses(model)),
    client("ai, Anthropic", (model) => anthropic(model)),
  ];
}

function client(name, of) {
  return {
    name,
    kinds: ["system", "tools", "image"],
    ask: (model, ...more) => ask(of(model), ...more),
    pieces: (model, prompt, abortSignal) => streamText({ model: of(model), prompt, abortSignal, onError() {} }).textStream,
    isNotFound: (error) => APICallError.isInstance(error) && error.statusCode === 404,
    isRateLimited: (error) => APICallError.isInstance(error) && error.statusCode === 429,
    isBroken: (error) => error instanceof IncompleteStream || error instanceof StreamFailed || APICallError.isInstance(error),
  };
}

async function ask(model, kind, most, isStream) {
  const request = { model, maxRetries: 0, maxOutputTokens: most, ...requests()[kind] };
  if (!isStream) return answer(await generateText(request), 1);
  const pieces = [];
  let failure;
  const stream = streamText({ ...request, onError: ({ error }) => (failure = error) });
  for await (const piece of stream.textStream) pieces.push(piece);
  if (APICallError.isInstance(failure)) throw failure;
  if (failure) throw new StreamFailed(String(failure.message ?? failure));
  if (pieces.length === 0) throw new Error("no text came");
  const done = { text: pieces.join(""), usage: await stream.usage, finishReason: await stream.finishReason };
  if (!["stop", "length"].includes(done.finishReason)) throw new IncompleteStream(`it ended with ${done.finishReason}`);
  return answer(done, pieces.length);
}

function answer(done, pieces) {
  const { inputTokens, outputTokens, cachedInputTokens, inputTokenDetails } = done.usage;
  const cached = inputTokenDetails?.cacheReadTokens ?? cachedInputTokens ?? 0;
  return { text: done.text, input: inputTokens, output: outputTokens, cached, finish: done.finishReason, pieces };
}

function requests() {
  const user = { role: "user", content: PROMPT };
  const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
  const calls = CALLS.map(([toolCallId, city]) => ({ type: "tool-call", toolCallId, toolName: "get_weather", input: { city } }));
  const results = CALLS.map(([toolCallId, _, value]) => {
    return { type: "tool-result", toolCallId, toolName: "get_weather", output: { type: "text", value } };
  });
  return {
    plain: { messages: [user] },
    long: { prompt: LONG_PROMPT },
    system: { system: "You are a careful zoologist, and you answer in whole sentences only.", messages: [user] },
    tools: {
      tools: { get_weather: tool({ description: "The weather in a city.", inputSchema: jsonSchema(city) }) },
      messages: [
        { role: "user", content: "How warm is it in Rome and in Köln?" },
        { role: "assistant", content: calls },
        { role: "tool", content: results },
        user,
      ],
    },
    image: {
      messages: [
        { role: "user", content: [{ type: "image", image: IMAGE, mediaType: "image/png" }, { type: "text", text: PROMPT }] },
      ],
    },
  };
}
