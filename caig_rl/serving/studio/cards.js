// Builds what the page shows of a creative. Text from outside goes in as text, never as markup.

export function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  const { class: classes, ...properties } = options;
  if (classes) made.className = classes;
  Object.assign(made, properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;

const STATES = { pending: "waits for approval", approved: "approved", rejected: "rejected", refused: "refused by a rule" };

export function waitingCard() {
  return element("li", { class: "card waiting", ariaHidden: "true" },
    element("div", { class: "picture" }), element("div", { class: "facts" }, "painting …"));
}

export function creativeCard(creative, { onDecide = null, onPick = null, picked = false, badge = "" } = {}) {
  const card = element("li", { class: "card" });
  card.dataset.creative = creative.creative_id;
  card.dataset.score = creative.score;
  const state = element("span", { class: `state-${creative.status}` }, STATES[creative.status]);
  const facts = element("div", { class: "facts" },
    element("p", { class: "rate" }, element("span", { class: "muted" }, "predicted CTR"), element("strong", {}, percent(creative.predicted_ctr))),
    element("p", { class: "prompt" }, creative.prompt),
    element("p", { class: "small-print" }, state, creative.objection ? `: ${creative.objection}` : "",
      ` · product ${creative.product_id} · policy ${creative.policy_version} · seed ${creative.seed}/${creative.candidate}`));
  if (onPick) facts.append(pickBox(creative, onPick, picked));
  card.append(
    element("div", { class: "picture" },
      element("img", { src: creative.image_url, alt: `${creative.title}: ${creative.prompt}`, loading: "lazy", width: 512, height: 512 }),
      badge ? element("span", { class: "badge" }, badge) : null),
    facts, actions(creative, onDecide));
  return card;
}

function pickBox(creative, onPick, picked) {
  const box = element("input", { type: "checkbox", checked: picked, ariaLabel: `Compare the creative "${creative.prompt}"` });
  box.addEventListener("change", () => onPick(creative, box.checked));
  return element("label", { class: "pick" }, box, "compare");
}

function actions(creative, onDecide) {
  const row = element("div", { class: "actions" });
  if (onDecide && creative.status !== "refused") {
    for (const [approved, name, style] of [[true, "Approve", "approve"], [false, "Reject", "reject"]]) {
      if (creative.status === (approved ? "approved" : "rejected")) continue;
      const button = element("button", { type: "button", class: style, ariaLabel: `${name} the creative "${creative.prompt}"` }, name);
      button.addEventListener("click", () => onDecide(creative, approved, button));
      row.append(button);
    }
  }
  const file = `${creative.product_id}-${creative.creative_id.slice(-6)}.png`.replace(/[^\w.-]+/g, "_");
  row.append(element("a", { class: "button", href: creative.image_url, download: file }, "Download"));
  return row;
}

// What a person can do with a creative that runs, or did: stop it, or let it run again.
function switchButton(creative, onDecide) {
  if (creative.status !== "approved" && creative.status !== "rejected") return null;
  const stops = creative.status === "approved";
  const name = stops ? "Stop" : "Run again";
  const button = element("button", { type: "button", class: stops ? "reject" : "approve", ariaLabel: `${name}: the creative "${creative.prompt}"` }, name);
  button.addEventListener("click", () => onDecide(creative, !stops, button));
  return button;
}

export function runningRow(row, top, onDecide) {
  const creative = row.creative;
  const interval = element("div", { class: "interval" });
  if (row.ctr !== null) {
    const band = element("i");
    band.style.left = `${(100 * row.low) / top}%`;
    band.style.width = `${(100 * (Math.min(row.high, top) - row.low)) / top}%`;
    const point = element("b");
    point.style.left = `calc(${(100 * row.ctr) / top}% - 1px)`;
    interval.append(band, point);
  }
  const range = row.ctr === null ? "–" : `${percent(row.ctr)}  (${percent(row.low)} to ${percent(row.high)})`;
  const stopped = creative.status === "approved" ? "" : `, ${STATES[creative.status]}`;
  const about = element("div", {}, element("p", {}, `${creative.title}${stopped}`), element("p", { class: "small-print" }, creative.prompt),
    element("p", { class: "small-print" }, `product ${creative.product_id}`));
  const cell = (name, ...content) => {
    const made = element("td", {}, element("div", {}, ...content));
    if (name) made.dataset.name = name; // shown on a phone, where the columns have no heads
    return made;
  };
  const made = element("tr", {},
    cell("", element("div", { class: "who" }, element("img", { src: creative.image_url, alt: "", loading: "lazy" }), about)),
    cell("Impressions", row.impressions.toLocaleString("en")), cell("Clicks", row.clicks.toLocaleString("en")),
    cell("CTR", range, interval), cell("Predicted", percent(creative.predicted_ctr)), cell("Policy", creative.policy_version),
    cell("", switchButton(creative, onDecide) || ""));
  made.dataset.creative = creative.creative_id;
  made.dataset.product = creative.product_id;
  return made;
}
