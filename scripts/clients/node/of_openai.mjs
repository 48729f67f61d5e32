// The package `openai`: chat and Responses.

import OpenAI from "openai";

import { CLIENT_KEY, LONG_PROMPT, REQUESTS, isCut } from "./cases.mjs";

const FINISH = { stop: "stop", length: "length", tool_calls: "call", completed: "stop", incomplete: "length" };

export function clients(gateway) {
  const sdk = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: CLIENT_KEY, maxRetries: 0, timeout: 30_000 });
  const common = {
    kinds: ["system", "history", "tools", "call", "image", "schema", "settings"],
    isNotFound: (error) => error instanceof OpenAI.NotFoundError,
    isRateLimited: (error) => error instanceof OpenAI.RateLimitError,
    isBroken: (error) => error instanceof OpenAI.APIError || isCut(error),
  };
  return [
    { ...common, name: "openai (Node), chat", ask: (...of) => chat(sdk, ...of), pieces: (...of) => chatPieces(sdk, ...of) },
    {
      ...common,
      name: "openai (Node), Responses",
      ask: (...of) => responses(sdk, ...of),
      pieces: (...of) => responsePieces(sdk, ...of),
    },
  ];
}

async function chat(sdk, model, kind, most, isStream) {
  const of = kind === "long" ? { messages: [{ role: "user", content: LONG_PROMPT }] } : REQUESTS.chat[kind];
  const request = { model, ...of, max_completion_tokens: most };
  if (!isStream) {
    const done = await sdk.chat.completions.create(request);
    const { message, finish_reason } = done.choices[0];
    return chatAnswer(message.content, done.usage, finish_reason, 1, message.tool_calls?.[0]?.function);
  }
  const pieces = [];
  let finish, usage;
  const called = { name: "", arguments: "" };
  const stream = await sdk.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      if (choice.delta.content) pieces.push(choice.delta.content);
      finish = choice.finish_reason ?? finish;
      for (const call of choice.delta.tool_calls ?? []) {
        called.name += call.function?.name ?? "";
        called.arguments += call.function?.arguments ?? "";
      }
    }
  }
  return chatAnswer(pieces.join(""), usage, finish, pieces.length, called);
}

const parsed = (call) => (call?.name ? { name: call.name, arguments: JSON.parse(call.arguments) } : undefined);

function chatAnswer(text, usage, finish, pieces, called) {
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const { prompt_tokens: input, completion_tokens: output } = usage;
  return { text, input, output, cached, finish: FINISH[finish], pieces, call: parsed(called) };
}

async function* chatPieces(sdk, model, prompt, signal) {
  const request = { model, stream: true, messages: [{ role: "user", content: prompt }] };
  for await (const chunk of await sdk.chat.completions.create(request, { signal })) {
    if (chunk.choices[0]?.delta.content) yield chunk.choices[0].delta.content;
  }
}

async function responses(sdk, model, kind, most, isStream) {
  const of = kind === "long" ? { input: LONG_PROMPT } : REQUESTS.responses[kind];
  const request = { model, ...of, max_output_tokens: most };
  if (!isStream) return responsesAnswer(await sdk.responses.create(request), 1);
  const pieces = [];
  // The helper puts the answer together from the events and refuses what does not fit.
  const stream = sdk.responses.stream(request);
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
  }
  const done = await stream.finalResponse();
  if (pieces.join("") !== done.output_text) throw new Error(`the pieces are not the answer ${done.output_text}`);
  return responsesAnswer(done, pieces.length);
}

function responsesAnswer(done, pieces) {
  const { input_tokens, output_tokens, input_tokens_details } = done.usage;
  const cached = input_tokens_details.cached_tokens;
  const call = parsed(done.output.find((item) => item.type === "function_call"));
  const finish = call ? "call" : FINISH[done.status];
  return { text: done.output_text, input: input_tokens, output: output_tokens, cached, finish, pieces, call };
}

async function* responsePieces(sdk, model, prompt, signal) {
  for await (const event of await sdk.responses.create({ model, input: prompt, stream: true }, { signal })) {
    if (event.type === "response.output_text.delta") yield event.delta;
  }
}
