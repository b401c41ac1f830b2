// What a client's scenes share: each is shown as a line of JSON, {"scene", "error"}; see ../python/scenes.py.
export const url = process.argv[2];
export const baseURL = `${url}/v1`;
export const SECRET = "I was told: the secret number is 42.";
export const WEATHER = "I was told: 21 degrees in Paris.";
const MILLISECONDS = 30_000;

export async function scene(name, play) {
  let error = null;
  try {
    await play();
  } catch (raised) {
    console.error(raised);
    error = `${raised?.name}: ${raised?.message}`.slice(0, 300);
    process.exitCode = 1;
  }
  console.log(JSON.stringify({ scene: name, error }));
}

export function same(seen, expected) {
  const [left, right] = [JSON.stringify(seen), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${left} is not ${right}`);
}

// Returns when *count* turns run.
export async function turns(count) {
  const end = Date.now() + MILLISECONDS;
  for (;;) {
    const text = await (await fetch(`${url}/metrics`)).text();
    const running = Number(/^gaia_turns_running (\S+)$/m.exec(text)[1]);
    if (running === count) return;
    if (Date.now() > end) throw new Error(`${running} turns run, not ${count}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
