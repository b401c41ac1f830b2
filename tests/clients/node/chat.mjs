// The official Node SDK on chat completions. node chat.mjs BASE_URL: prints one line of JSON, of what each scene gave.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const say = (content) => [{ role: "user", content }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", description: "The weather.", parameters } }];
const seen = {};

// The agent's own tool, in one piece and in a stream.
const plain = await client.chat.completions.create({ model: "a", messages: say("Tell me the secret") });
seen.plain = plain.choices[0].message.content;

seen.stream = "";
for await (const chunk of await client.chat.completions.create({ model: "a", messages: say("Tell me the secret"), stream: true }))
  seen.stream += chunk.choices[0].delta.content ?? "";

const helper = client.chat.completions.stream({ model: "a", messages: say("Tell me the secret") });
seen.deltas = 0;
helper.on("content", () => (seen.deltas += 1));
seen.helper = await helper.finalContent();

// A client's tool: by hand in a stream, and run by the SDK until the answer is there.
const calling = client.chat.completions.stream({ model: "a", messages: say("The weather?"), tools });
seen.call = (await calling.finalMessage()).tool_calls[0].function;

const runner = client.chat.completions.runTools({
  model: "a",
  messages: say("The weather?"),
  tools: [{ type: "function", function: { name: "get_weather", description: "The weather.", parameters, parse: JSON.parse, function: ({ city }) => `21 degrees in ${city}` } }],
});
seen.run = await runner.finalContent();

const streamed = client.chat.completions.runTools({
  model: "a",
  stream: true,
  messages: say("The weather?"),
  tools: [{ type: "function", function: { name: "get_weather", description: "The weather.", parameters, parse: JSON.parse, function: ({ city }) => `21 degrees in ${city}` } }],
});
seen.streamedRun = await streamed.finalContent();

// A form.
const City = z.object({ city: z.string(), degrees: z.number() });
const parsed = await client.chat.completions.parse({ model: "a", messages: say("As JSON"), response_format: zodResponseFormat(City, "city") });
seen.parsed = parsed.choices[0].message.parsed;

// Raw.
const { response, request_id: requestId } = await client.chat.completions.create({ model: "a", messages: say("Hi") }).withResponse();
seen.raw = [response.status, requestId.slice(0, 4)];

// Errors: before an answer, and in a stream.
seen.unknown = await client.chat.completions.create({ model: "nobody", messages: say("Hi") }).catch((error) => [error.constructor.name, error.status, error.code]);
seen.broken = await (async () => {
  for await (const _ of await client.chat.completions.create({ model: "a", messages: say("Please break"), stream: true }));
})().catch((error) => [error.constructor.name, error.message]);

// Cancelling: by leaving the loop, and by abort().
for await (const chunk of await client.chat.completions.create({ model: "a", messages: say("Talk forever"), stream: true }))
  if (chunk.choices[0].delta.content) break;
seen.left = true;

const aborted = client.chat.completions.stream({ model: "a", messages: say("Talk forever") });
aborted.on("content", () => aborted.abort());
seen.aborted = await aborted.done().catch((error) => error.constructor.name);

seen.models = (await client.models.list()).data.map((model) => model.id);
console.log(JSON.stringify(seen));
