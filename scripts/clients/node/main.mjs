// Runs the Node.js SDKs against a gateway: `main.mjs GATEWAY UPSTREAMS [CLIENT…]`, where UPSTREAMS is JSON.

import { run } from "./cases.mjs";

const MODULES = ["of_openai", "of_anthropic", "of_ai"];

const [gateway, upstreams, ...wanted] = process.argv.slice(2);
for (const name of MODULES) {
  if (wanted.length && !wanted.includes(name.replace("of_", ""))) continue;
  const { clients } = await import(`./${name}.mjs`);
  // Cohere has nothing that these clients ask for.
  await run(clients(gateway), JSON.parse(upstreams).filter(({ name }) => name !== "Cohere"));
}
