// The package `@anthropic-ai/sdk`.

import Anthropic from "@anthropic-ai/sdk";

import { CLIENT_KEY, LONG_PROMPT, REQUESTS, isCut } from "./cases.mjs";

const FINISH = { end_turn: "stop", max_tokens: "length", tool_use: "call" };

export function clients(gateway) {
  const sdk = new Anthropic({ baseURL: gateway, apiKey: CLIENT_KEY, maxRetries: 0, timeout: 30_000 });
  return [
    {
      name: "@anthropic-ai/sdk",
      kinds: ["system", "history", "tools", "call", "image", "settings"],
      ask: (...of) => messages(sdk, ...of),
      pieces: (...of) => pieces(sdk, ...of),
      isNotFound: (error) => error instanceof Anthropic.NotFoundError,
      isRateLimited: (error) => error instanceof Anthropic.RateLimitError,
      isBroken: (error) => error instanceof Anthropic.AnthropicError || isCut(error),
    },
  ];
}

async function messages(sdk, model, kind, most, isStream) {
  const long = { max_tokens: 1000, messages: [{ role: "user", content: LONG_PROMPT }] };
  const request = { model, ...(kind === "long" ? long : REQUESTS.messages[kind]) };
  if (most) request.max_tokens = most;
  if (!isStream) return answer(await sdk.messages.create(request), 1);
  let seen = 0;
  const stream = sdk.messages.stream(request).on("text", () => seen++);
  return answer(await stream.finalMessage(), seen);
}

function answer(done, pieces) {
  const text = done.content.map((block) => (block.type === "text" ? block.text : "")).join("");
  const cached = done.usage.cache_read_input_tokens ?? 0;
  const { input_tokens, output_tokens } = done.usage;
  const used = done.content.find((block) => block.type === "tool_use");
  const call = used && { name: used.name, arguments: used.input };
  return { text, input: input_tokens + cached, output: output_tokens, cached, finish: FINISH[done.stop_reason], pieces, call };
}

async function* pieces(sdk, model, prompt, signal) {
  const request = { model, max_tokens: 5000, stream: true, messages: [{ role: "user", content: prompt }] };
  for await (const event of await sdk.messages.create(request, { signal })) {
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") yield event.delta.text;
  }
}
