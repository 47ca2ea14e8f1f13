// Talks to the service: the key, problem documents, and streams of one JSON object a line.

const KEY = "caig-rl-key";

export class Problem extends Error {
  constructor(document, retryAfter) {
    super(document.detail || document.title || "the service did not answer");
    this.status = document.status;
    this.code = document.code;
    this.field = document.field;
    this.retryAfter = retryAfter;
  }
}

// A key in the address (#key=...) is taken and wiped from it, so that it is not left in the history or shared with a link.
export function takeKeyFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
}

export const hasKey = () => Boolean(sessionStorage.getItem(KEY));
export const setKey = (key) => sessionStorage.setItem(KEY, key);

export async function call(path, options = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) || ""}`, ...options.headers };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem({ status: 0, code: "unreachable", detail: "The service cannot be reached. Is it running?" });
  }
  if (answer.ok) return answer;
  const document = await answer.json().catch(() => ({ status: answer.status, title: `The service answered ${answer.status}` }));
  throw new Problem(document, answer.headers.get("Retry-After"));
}

export const getJson = async (path) => (await call(path)).json();

export const decide = async (creativeId, approved) =>
  (await call(`/v1/creatives/${creativeId}/decision`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ approved, by: "studio" }),
  })).json();

export async function* make(form) {
  const answer = await call("/v1/creatives", { method: "POST", body: form, headers: { Accept: "application/x-ndjson" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const cutOff = () => new Problem({ status: 0, code: "cut_off", detail: "The connection ended before all creatives came. What came is kept." });
  let rest = "";
  let ended = false;
  for (;;) {
    const { value, done } = await reader.read().catch(() => { throw cutOff(); });
    rest += value || "";
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const message = JSON.parse(line);
      if (message.type === "problem") throw new Problem(message.problem);
      ended = message.type === "end";
      yield message;
    }
    if (done && !ended) throw cutOff();
    if (done) return;
  }
}
