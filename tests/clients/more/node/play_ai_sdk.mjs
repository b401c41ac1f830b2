// The AI SDK: its OpenAI provider on chat completions and on Responses (its default), and the OpenAI-compatible one.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { baseURL, same, scene, SECRET, turns, WEATHER } from "./scenes.mjs";

const openai = createOpenAI({ baseURL, apiKey: "unused" });
const compatible = createOpenAICompatible({ name: "gaia", baseURL, supportsStructuredOutputs: true });
const weather = tool({
  description: "Tell the weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `21 degrees in ${city}`,
});
const City = z.object({ city: z.string(), degrees: z.number() });

const ways = { compatible: (name) => compatible(name), chat: (name) => openai.chat(name), responses: (name) => openai(name) };
for (const [kind, make] of Object.entries(ways)) {
  const at = { model: make("a"), maxRetries: 0 };
  const tools = { get_weather: weather };
  await scene(`${kind}: tool`, async () => same((await generateText({ ...at, prompt: "Tell me the secret" })).text, SECRET));
  await scene(`${kind}: client tool`, async () => {
    const made = await generateText({ ...at, tools, stopWhen: stepCountIs(3), prompt: "How is the weather?" });
    same([made.text, made.steps.length], [WEATHER, 2]);
  });
  await scene(`${kind}: stream`, async () => {
    let text = "";
    for await (const piece of streamText({ ...at, prompt: "Tell me the secret" }).textStream) text += piece;
    same(text, SECRET);
  });
  await scene(`${kind}: client tool in a stream`, async () => {
    const made = streamText({ ...at, tools, stopWhen: stepCountIs(3), prompt: "How is the weather?" });
    let text = "";
    for await (const piece of made.textStream) text += piece;
    same(text, WEATHER);
  });
  await scene(`${kind}: form`, async () => {
    const made = await generateText({ ...at, output: Output.object({ schema: City }), prompt: "As JSON" });
    same(made.output, { city: "Paris", degrees: 21 });
  });
  await scene(`${kind}: error`, async () => {
    const failed = await generateText({ ...at, model: make("nobody"), prompt: "Hi" }).catch((error) => error);
    same([APICallError.isInstance(failed), failed.statusCode], [true, 404]);
    same(JSON.parse(failed.responseBody).error.code, "model_not_found");
  });
  await scene(`${kind}: cancel`, async () => {
    const stop = new AbortController();
    const made = streamText({ ...at, prompt: "Talk forever", abortSignal: stop.signal });
    let seen = false;
    for await (const part of made.fullStream) {
      if (part.type === "text-delta" && !seen) {
        seen = true;
        stop.abort();
      }
    }
    same(seen, true);
    await turns(0);
  });
}
await scene("embeddings", async () => {
  const model = compatible.embeddingModel("text-embedding-3-small");
  same((await embedMany({ model, values: ["one", "two"] })).embeddings, [[0.5, -1, 0.25], [0.5, -1, 0.25]]);
});
