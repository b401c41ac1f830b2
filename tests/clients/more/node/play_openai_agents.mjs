// The Node agents SDK, on chat completions and on Responses.
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import { baseURL, same, scene, SECRET, turns, WEATHER } from "./scenes.mjs";

setTracingDisabled(true);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const weather = tool({
  name: "get_weather",
  description: "Tell the weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => `21 degrees in ${city}`,
});

for (const [kind, Model] of [["chat", OpenAIChatCompletionsModel], ["responses", OpenAIResponsesModel]]) {
  const agent = new Agent({ name: "Ann", instructions: "Be brief.", model: new Model(client, "a"), tools: [weather] });
  await scene(`${kind}: tool`, async () => same((await run(agent, "Tell me the secret")).finalOutput, SECRET));
  await scene(`${kind}: client tool`, async () => same((await run(agent, "How is the weather?")).finalOutput, WEATHER));
  await scene(`${kind}: stream`, async () => {
    const result = await run(agent, "Tell me the secret", { stream: true });
    let text = "";
    for await (const piece of result.toTextStream()) text += piece;
    await result.completed;
    same([text, result.finalOutput], [SECRET, SECRET]);
  });
  await scene(`${kind}: client tool in a stream`, async () => {
    const result = await run(agent, "How is the weather?", { stream: true });
    for await (const _ of result);
    same(result.finalOutput, WEATHER);
  });
  await scene(`${kind}: error`, async () => {
    const nobody = new Agent({ name: "Bob", model: new Model(client, "nobody") });
    same(await run(nobody, "Hi").catch((error) => [error.status, error.code]), [404, "model_not_found"]);
  });
  await scene(`${kind}: cancel`, async () => {
    const stop = new AbortController();
    const result = await run(agent, "Talk forever", { stream: true, signal: stop.signal });
    await turns(1);
    stop.abort();
    await result.completed.catch(() => {});
    await turns(0);
  });
}
