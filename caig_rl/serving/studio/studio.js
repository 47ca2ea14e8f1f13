// The studio page: make creatives, approve them, watch how they do.

import { Problem, call, decide, getJson, hasKey, make, setKey, takeKeyFromAddress } from "./api.js";
import { creativeCard, element, percent, runningRow, waitingCard } from "./cards.js";

const REFRESH_MS = 4000;
const NOTICE_MS = 8000;
const MOST_COMPARED = 4;
const at = (id) => document.getElementById(id);
const shown = new Map(); // creative id -> creative, of the last request
const picked = new Map(); // creative id -> creative
const FIELDS = ["image", "title", "category", "candidates", "product_id", "description", "seed"];
let busy = false;
let leftOut = []; // why candidates of the last request cannot be shown
let refreshing = false;
let noticeTimer = 0;

takeKeyFromAddress();

// --- the photo ---------------------------------------------------------------------------------------------------------------

function setPhoto(file) {
  const transfer = new DataTransfer();
  transfer.items.add(file);
  at("image").files = transfer.files;
  showPhoto();
}

function showPhoto() {
  const [file] = at("image").files;
  const preview = at("preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.hidden = !file;
  at("drop-text").hidden = Boolean(file);
  if (!file) return;
  preview.src = URL.createObjectURL(file);
  preview.alt = `the photo ${file.name}`;
  complain("image", "");
}

at("image").addEventListener("change", showPhoto);
for (const kind of ["dragenter", "dragover"]) {
  at("drop").addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) at("drop").addEventListener(kind, () => at("drop").classList.remove("over"));
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
at("drop").addEventListener("drop", (event) => { if (event.dataTransfer.files[0]) setPhoto(event.dataTransfer.files[0]); });
window.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) setPhoto(file);
});

// --- making ------------------------------------------------------------------------------------------------------------------

function complain(field, message) {
  const input = at(field);
  if (input) input.ariaInvalid = message ? "true" : "false";
  at(`${field}-error`).textContent = message;
}

function clearComplaints() {
  for (const field of [...FIELDS, "form"]) complain(field, "");
}

function report(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return askKey(hasKey() ? "This key is not known to the service." : "");
  const field = FIELDS.includes(error.field) ? error.field : "form";
  if (at("more").contains(at(field))) at("more").open = true;
  const detail = field === "form" ? error.message : error.message.replace(`${field}: `, "");
  complain(field, detail.charAt(0).toUpperCase() + detail.slice(1) + (error.retryAfter ? ` (again in ${error.retryAfter} s)` : ""));
  if (field !== "form") at(field).focus();
}

// What goes wrong away from the form is said where it is seen wherever the page was scrolled to.
function notify(text) {
  clearTimeout(noticeTimer);
  at("notice").textContent = text;
  at("notice").hidden = !text;
  noticeTimer = setTimeout(() => { at("notice").hidden = true; }, NOTICE_MS);
}

// Draws the cards or rows of `list` anew. The keyboard's focus stays on the same button, or goes to its neighbour where that is gone.
function redraw(list, ...made) {
  const held = document.activeElement?.closest?.("[data-creative]");
  const inside = held && list.contains(held);
  const nameOf = (one) => one.ariaLabel || one.textContent;
  const [index, label] = inside ? [[...list.children].indexOf(held), nameOf(document.activeElement)] : [0, ""];
  list.replaceChildren(...made);
  if (!inside) return;
  const same = list.querySelector(`[data-creative="${held.dataset.creative}"]`);
  const neighbour = same || list.children[Math.min(index, list.children.length - 1)];
  const buttons = [...(neighbour?.querySelectorAll("button, a, input") || [])];
  (buttons.find((one) => label && nameOf(one) === label) || buttons[0] || list.closest("section")).focus();
}

function missing() {
  if (!at("image").files.length) return ["image", "Choose a photo of the product."];
  if (!at("title").value.trim()) return ["title", "Say what the product is."];
  return null;
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  clearComplaints();
  const lack = missing();
  if (lack) {
    complain(...lack);
    at(lack[0]).focus();
    return;
  }
  if (!hasKey()) return askKey("");
  busy = true;
  at("submit").disabled = true;
  at("submit").textContent = "Painting …";
  const started = performance.now();
  try {
    const form = new FormData(at("form"));
    for (const [name, value] of [...form]) if (value === "") form.delete(name); // left empty: the service's default
    for await (const message of make(form)) take(message, started);
  } catch (error) {
    at("status").textContent = "";
    report(error);
  } finally {
    for (const card of at("cards").querySelectorAll(".waiting")) card.remove();
    busy = false;
    at("submit").disabled = false;
    at("submit").textContent = "Make creatives";
    refresh();
  }
});

function take(message, started) {
  if (message.type === "start") {
    shown.clear();
    leftOut = [];
    clearPicks();
    at("cards").replaceChildren(...Array.from({ length: message.candidates }, waitingCard));
    at("status").textContent = "Painting …";
    if (matchMedia("(max-width: 820px)").matches) at("results").scrollIntoView();
  } else if (message.type === "creative") {
    shown.set(message.creative.creative_id, message.creative);
    at("cards").querySelector(".waiting")?.remove();
    arrange();
    at("status").textContent = `${shown.size} painted …`;
  } else if (message.type === "left_out") {
    at("cards").querySelector(".waiting")?.remove();
    leftOut.push(message.left_out.reason.replaceAll("_", " "));
  } else {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const best = shown.get(message.ranking[0]);
    const lacking = leftOut.length ? ` ${leftOut.length} left out (${[...new Set(leftOut)].join(", ")}).` : "";
    at("status").textContent = `${shown.size} creatives in ${seconds} s, by policy ${best.policy_version}.${lacking} Best: ${percent(best.predicted_ctr)} predicted.`;
  }
}

function arrange() {
  const waiting = [...at("cards").querySelectorAll(".waiting")];
  const ranked = [...shown.values()].sort((a, b) => b.score - a.score);
  const cards = ranked.map((creative, index) => {
    const card = creativeCard(creative, {
      onDecide, onPick, picked: picked.has(creative.creative_id), badge: index === 0 ? "most promising" : `${index + 1}`,
    });
    card.classList.toggle("best", index === 0);
    return card;
  });
  redraw(at("cards"), ...cards, ...waiting);
}

// --- comparing ---------------------------------------------------------------------------------------------------------------

function onPick(creative, isPicked) {
  if (isPicked) picked.set(creative.creative_id, creative);
  else picked.delete(creative.creative_id);
  showBar();
}

function showBar() {
  at("compare-bar").hidden = picked.size < 1;
  at("compare-open").disabled = picked.size < 2 || picked.size > MOST_COMPARED;
  const many = picked.size > MOST_COMPARED ? `; ${MOST_COMPARED} fit side by side` : "";
  at("compare-text").textContent = picked.size === 1 ? "Pick one more to compare" : `${picked.size} picked${many}`;
}

function clearPicks() {
  picked.clear();
  for (const box of document.querySelectorAll(".pick input")) box.checked = false;
  showBar();
}

at("compare-open").addEventListener("click", () => {
  at("compare-cards").replaceChildren(...[...picked.values()].map((creative) => creativeCard(creative, {})));
  at("compare").showModal();
});
at("compare-clear").addEventListener("click", clearPicks);

// --- approving ---------------------------------------------------------------------------------------------------------------

async function onDecide(creative, approved, button) {
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true"; // not disabled: the keyboard's focus would be lost with it
  try {
    const decided = await decide(creative.creative_id, approved);
    if (shown.has(decided.creative_id)) {
      shown.set(decided.creative_id, decided);
      arrange();
    }
    at("status").textContent = `${approved ? "Approved" : "Rejected"}: ${decided.prompt}`;
    await Promise.all([refreshQueue(), refreshRunning()]);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) askKey("This key is not known to the service.");
    else notify(error.message);
  } finally {
    button.ariaDisabled = "false";
  }
}

async function refreshQueue() {
  if (!hasKey()) return;
  const { creatives, total } = await getJson("/v1/creatives?status=pending&limit=24");
  const ids = creatives.map((creative) => creative.creative_id).join();
  at("queue-count").hidden = !total;
  at("queue-count").textContent = total;
  // Drawn again only where it changed, so that the keyboard's focus stays.
  if (at("queue-cards").dataset.ids === ids) return;
  at("queue-cards").dataset.ids = ids;
  redraw(at("queue-cards"), ...creatives.map((creative) => creativeCard(creative, { onDecide, badge: creative.title })));
}

// --- running -----------------------------------------------------------------------------------------------------------------

async function refreshRunning() {
  if (!hasKey()) return;
  const { rows, live, candidate, traffic } = await getJson("/v1/report");
  const top = Math.max(0.001, ...rows.map((row) => (row.impressions > 50 ? row.high : row.ctr || 0)));
  redraw(at("rows"), ...rows.map((row) => runningRow(row, Math.min(1, 1.1 * top), onDecide)));
  at("live").replaceChildren("live policy: ", element("code", {}, live),
    ...(candidate ? [", trying ", element("code", {}, candidate), ` on ${percent(traffic, 0)} of visitors`] : []));
}

async function refresh() {
  if (document.hidden || refreshing || at("key-dialog").open) return;
  refreshing = true;
  try {
    await Promise.all([refreshQueue(), refreshRunning()]);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) askKey("This key is not known to the service.");
    else notify(error.message); // the table is no longer live
  } finally {
    refreshing = false;
  }
}

// --- the key -----------------------------------------------------------------------------------------------------------------

function askKey(message) {
  at("key-error").textContent = message;
  if (!at("key-dialog").open) at("key-dialog").showModal();
  at("key").focus();
}

at("key-button").addEventListener("click", () => askKey(""));
at("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  setKey(at("key").value.trim());
  try {
    await call("/v1/creatives?limit=1");
    at("key-dialog").close();
    refresh();
  } catch (error) {
    at("key-error").textContent = error.message;
  }
});

refresh();
if (!hasKey()) askKey("");
setInterval(refresh, REFRESH_MS);
