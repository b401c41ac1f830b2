// The official Node SDK on Responses. node responses.mjs BASE_URL: prints one line of JSON, of what each scene gave.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const tools = [{ type: "function", name: "get_weather", description: "The weather.", parameters, strict: true }];
const seen = {};

const plain = await client.responses.create({ model: "a", input: "Tell me the secret" });
seen.plain = [plain.output.map((item) => item.type), plain.output_text];

seen.stream = "";
for await (const event of await client.responses.create({ model: "a", input: "Tell me the secret", stream: true }))
  if (event.type === "response.output_text.delta") seen.stream += event.delta;

seen.helper = (await client.responses.stream({ model: "a", input: "Tell me the secret" }).finalResponse()).output_text;

const asked = await client.responses.create({ model: "a", input: "How is the weather?", tools });
const { name, arguments: given, call_id: callId } = asked.output[0];
seen.call = [name, given];
const result = { type: "function_call_output", call_id: callId, output: "21 degrees" };
seen.result = (await client.responses.create({ model: "a", previous_response_id: asked.id, input: [result], tools })).output_text;

const City = z.object({ city: z.string(), degrees: z.number() });
const parsed = await client.responses.parse({ model: "a", input: "As JSON", text: { format: zodTextFormat(City, "city") } });
seen.parsed = parsed.output_parsed;

seen.retrieved = (await client.responses.retrieve(plain.id)).output_text;
await client.responses.delete(plain.id);
seen.deleted = await client.responses.retrieve(plain.id).catch((error) => [error.constructor.name, error.status]);

seen.unknown = await client.responses.create({ model: "nobody", input: "Hi" }).catch((error) => [error.constructor.name, error.status, error.code]);

for await (const event of await client.responses.create({ model: "a", input: "Talk forever", stream: true }))
  if (event.type === "response.output_text.delta") break;
seen.left = true;

const running = await client.responses.create({ model: "a", input: "Talk forever", background: true });
seen.cancelled = (await client.responses.cancel(running.id)).status;
console.log(JSON.stringify(seen));
