// The cases that every client goes through, as in ../python/cases.py, and how they are told: a line of JSON for each.

import { readFileSync } from "node:fs";

export const REQUESTS = JSON.parse(readFileSync(new URL("requests.json", import.meta.url), "utf8"));
export const PROMPT = REQUESTS.prompt;
// The simulators call a tool where they are told so; what arguments it has shows that they came back whole.
const CALL = { city: 'Köln "am" Rhein', days: [1, 2] };
const TELL = `sim:call get_weather ${JSON.stringify(CALL)}`;
REQUESTS.chat.call = { ...REQUESTS.chat.tools, messages: [{ role: "user", content: TELL }] };
REQUESTS.responses.call = { ...REQUESTS.responses.tools, input: TELL };
REQUESTS.messages.call = { ...REQUESTS.messages.tools, messages: [{ role: "user", content: TELL }] };
// Long enough that it can be left in the middle.
export const LONG_PROMPT = "once upon a time ".repeat(400);
// What clients show. The gateway shows upstreams keys of its own.
export const CLIENT_KEY = "sk-of-the-client";
const RELEASE_MS = 10_000;

// What the platform's fetch tells of a connection that breaks: an error like those of a mistake in here, with a cause.
export const isCut = (error) => error instanceof TypeError && error.cause instanceof Error;

// A client is {name, kinds, ask, pieces, isNotFound, isRateLimited, isBroken}:
//   ask(model, kind, most, isStream) resolves to {text, input, output, cached, finish, pieces, call}, a call being {name, arguments}
//   pieces(model, prompt, signal) is an async iterator over pieces of the answer; the signal cancels the request

function check(condition, what) {
  if (!condition) throw new Error(what);
}

function answered(answer, isStream) {
  // Images and results of tools are said back as well, before the text.
  check(answer.text.endsWith(PROMPT), `the answer is ${JSON.stringify(answer.text)}`);
  check(answer.input > 0 && answer.output > 0, `usage is ${answer.input} and ${answer.output}`);
  check(answer.finish === "stop", `it finished with ${answer.finish}`);
  check(!isStream || answer.pieces > 3, `${answer.pieces} pieces`);
}

class Simulators {
  constructor(urls) {
    this.urls = urls;
  }

  async call(method, path, body) {
    const headers = { "content-type": "application/json" };
    const one = async (url) => (await fetch(url + path, { method, headers, body: body && JSON.stringify(body) })).json();
    return Promise.all(this.urls.map(one));
  }

  async inFlight() {
    return (await this.call("GET", "/sim/stats")).reduce((sum, stats) => sum + stats.in_flight, 0);
  }
}

async function raises(isExpected, run) {
  let answer;
  try {
    answer = await run();
  } catch (error) {
    if (isExpected(error)) return;
    throw error;
  }
  throw new Error(`nothing was raised; the answer is ${JSON.stringify(answer).slice(0, 300)}`);
}

function cases(client, upstream) {
  const { model } = upstream;
  const simulators = new Simulators(upstream.simulators);
  const list = [];

  const faulty = async (action, isExpected, isStream) => {
    await simulators.call("POST", "/sim/faults", [{ action }]);
    try {
      await raises(isExpected, () => client.ask(model, "plain", undefined, isStream));
    } finally {
      await simulators.call("DELETE", "/sim/faults");
    }
  };

  for (const isStream of [false, true]) {
    const add = (name, run) => list.push([`${name}, ${isStream ? "streamed" : "whole"}`, run]);
    for (const kind of ["plain", ...client.kinds]) {
      add(kind, async () => {
        const answer = await client.ask(model, kind, undefined, isStream);
        if (kind === "call") {
          const expected = JSON.stringify({ name: "get_weather", arguments: CALL });
          check(JSON.stringify(answer.call) === expected, `the call is ${JSON.stringify(answer.call)}`);
          check(answer.finish === "call", `it finished with ${answer.finish}`);
          return;
        }
        answered(answer, isStream);
        if (["system", "history", "tools"].includes(kind)) {
          const plain = await client.ask(model, "plain", undefined, false);
          const more = answer.input - plain.input;
          check(more >= 10, `${kind} is ${more} tokens more than the prompt alone`);
        }
      });
    }
    add("max tokens", async () => {
      const answer = await client.ask(model, "plain", 2, isStream);
      check(answer.finish === "length", `it finished with ${answer.finish}`);
      check(answer.output === 2, `${answer.output} tokens`);
    });
    add("rate limit", () => faulty({ failure: { kind: "rate_limit" } }, client.isRateLimited, isStream));
    add("unknown model", () =>
      raises(client.isNotFound, () => client.ask("no-such-model", "plain", undefined, isStream)),
    );
  }
  list.push([
    "cached tokens",
    async () => {
      const first = await client.ask(model, "long", 2, false);
      const second = await client.ask(model, "long", 2, false);
      check(first.input === second.input, `${first.input} and ${second.input} input tokens for the same request`);
      check(upstream.is_spread || second.cached > 100, `${second.cached} of ${second.input} tokens are cached`);
    },
  ]);
  list.push(["stream breaks off", () => faulty({ close_after: { chunks: 5 } }, client.isBroken, true)]);
  list.push([
    "stream is cancelled",
    async () => {
      const abort = new AbortController();
      let seen = 0;
      try {
        for await (const _ of client.pieces(model, LONG_PROMPT, abort.signal)) {
          if (++seen === 3) {
            check((await simulators.inFlight()) > 0, "the stream had ended before it was left");
            abort.abort();
            break;
          }
        }
      } catch (error) {
        if (!abort.signal.aborted) throw error;
      }
      check(seen === 3, `${seen} pieces`);
      const end = Date.now() + RELEASE_MS;
      while (await simulators.inFlight()) {
        check(Date.now() < end, "the upstream still writes long after the client left");
        await new Promise((done) => setTimeout(done, 20));
      }
      answered(await client.ask(model, "plain", undefined, true), true);
    },
  ]);
  return list;
}

export async function run(clients, upstreams) {
  for (const client of clients) {
    for (const upstream of upstreams) {
      for (const [name, test] of cases(client, upstream)) {
        let error = null;
        try {
          await test();
        } catch (raised) {
          const causes = [];
          for (let cause = raised; cause && causes.length < 4; cause = cause.cause) {
            causes.push(`${cause.constructor?.name}: ${cause.message ?? cause}`);
          }
          error = causes.join(" <- ");
        }
        console.log(JSON.stringify({ client: client.name, upstream: upstream.name, case: name, error }));
      }
    }
  }
}
