// Anthropic's official Node SDK. node messages.mjs SERVER_URL: prints one line of JSON, of what each scene gave.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { z } from "zod";

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const ask = (content, more = {}) => ({ model: "a", max_tokens: 100, messages: [{ role: "user", content }], ...more });
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "get_weather", description: "The weather.", input_schema }];
const text = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const seen = {};

// The agent's own tool, in one piece, in a raw stream, and by the helper.
const plain = await client.messages.create(ask("Tell me the secret"));
seen.plain = text(plain);
seen.stop = plain.stop_reason;

seen.stream = "";
for await (const event of await client.messages.create(ask("Tell me the secret", { stream: true })))
  if (event.type === "content_block_delta" && event.delta.type === "text_delta") seen.stream += event.delta.text;

const helper = client.messages.stream(ask("Tell me the secret", { thinking: { type: "enabled", budget_tokens: 1024 } }));
seen.deltas = 0;
seen.thinking = "";
helper.on("text", () => (seen.deltas += 1));
helper.on("thinking", (delta) => (seen.thinking += delta));
seen.helper = text(await helper.finalMessage());
seen.usage = (await helper.finalMessage()).usage.output_tokens;

// A client's tool: by hand in a stream, and run by the SDK until the answer is there.
const calling = client.messages.stream(ask("The weather?", { tools }));
seen.inputs = 0;
calling.on("inputJson", () => (seen.inputs += 1));
const called = await calling.finalMessage();
const use = called.content.find((block) => block.type === "tool_use");
seen.call = { name: use.name, input: use.input, stop: called.stop_reason };

const result = { type: "tool_result", tool_use_id: use.id, content: [{ type: "text", text: "21 degrees in Paris" }] };
const history = [...ask("The weather?").messages, { role: "assistant", content: called.content }, { role: "user", content: [result] }];
seen.result = text(await client.messages.create({ ...ask(""), messages: history, tools }));

const weather = betaZodTool({ name: "get_weather", description: "The weather.", inputSchema: z.object({ city: z.string() }), run: ({ city }) => `21 degrees in ${city}` });
seen.run = text(await client.beta.messages.toolRunner(ask("The weather?", { tools: [weather] })));
seen.streamedRun = "";
for await (const stream of client.beta.messages.toolRunner(ask("The weather?", { tools: [weather], stream: true })))
  seen.streamedRun = text(await stream.finalMessage());

// Tokens, and raw.
seen.tokens = (await client.messages.countTokens({ model: "a", messages: ask("Hi").messages })).input_tokens;
const { response, request_id: requestId } = await client.messages.create(ask("Hi")).withResponse();
seen.raw = [response.status, requestId.slice(0, 4)];

// Errors: before an answer, and in a stream.
seen.unknown = await client.messages.create({ ...ask("Hi"), model: "nobody" }).catch((error) => [error.constructor.name, error.status, error.error.error.type]);
seen.broken = await (async () => {
  for await (const _ of await client.messages.create(ask("Please break", { stream: true })));
})().catch((error) => [error.constructor.name, error.message]);

// Cancelling: by leaving the loop, and by abort().
for await (const event of await client.messages.create(ask("Talk forever", { stream: true })))
  if (event.type === "content_block_delta") break;
seen.left = true;

const aborted = client.messages.stream(ask("Talk forever"));
aborted.on("text", () => aborted.abort());
seen.aborted = await aborted.done().catch((error) => error.constructor.name);

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);
seen.model = (await client.models.retrieve("a")).display_name;
console.log(JSON.stringify(seen));
