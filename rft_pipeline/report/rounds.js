"use strict";
// Texts come from models and users: they enter the page through textContent only.
const PER_PAGE = 10;
const NOTHING = "\u2013";
const shown = { view: "0", sort: "order", mark: "", search: "", page: 0 };
const views = new Map();
const at = (id) => document.getElementById(id);
const words = (name) => name.replaceAll("_", " ");
const digits = (value, count) => (value === null ? NOTHING : value.toFixed(count).replace("-", "\u2212"));
const signed = (value) => (value > 0 ? "+" : "") + digits(value, 2);

function add(parent, tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function prepared(view) {
  const newest = view.kind === "held_out" ? view.policies.at(-1) : null;
  const rewards = (replies, who) => replies.filter((each) => who === null || each[0] === who).map((each) => each[2]);
  view.prompts = view.prompts.map(([id, text, replies, own], order) => {
    const now = rewards(replies, newest);
    const before = newest === null || newest === view.baseline ? null : mean(rewards(replies, view.baseline));
    const known = now.filter((value) => value !== null);
    return {
      id, own: own === id ? null : own, text, replies, order,
      mean: mean(now),
      worst: known.length ? Math.min(...known) : null,
      spread: known.length ? Math.max(...known) - Math.min(...known) : null,
      change: before === null || mean(now) === null ? null : mean(now) - before,
      words: [id, own ?? "", text, ...replies.map((each) => each[1])].join("\n").toLowerCase(),
    };
  });
  return view;
}

function view() {
  if (!views.has(shown.view)) views.set(shown.view, prepared(JSON.parse(at(`view-${shown.view}`).textContent)));
  return views.get(shown.view);
}

// Name, title, value to sort by, direction; prompts without the value come last.
const SORTS = {
  order: ["In order", "order", 1],
  improved: ["Most improved first", "change", -1],
  fell: ["Fell most first", "change", 1],
  worst: ["Worst reply first", "worst", 1],
  best: ["Best mean reward first", "mean", -1],
  spread: ["Replies differ most first", "spread", -1],
};

function sorts(found) {
  const comparable = found.kind === "held_out" && found.policies.length > 1;
  return Object.keys(SORTS).filter((name) => comparable || SORTS[name][1] !== "change");
}

function chosen(found) {
  const [, key, way] = SORTS[shown.sort];
  const wanted = shown.search.toLowerCase();
  return found.prompts
    .filter((each) => !wanted || each.words.includes(wanted))
    .filter((each) => !shown.mark || each.replies.some((reply) => reply[5].includes(shown.mark)))
    .sort((a, b) => (a[key] === null) - (b[key] === null) || way * (a[key] - b[key]) || a.order - b.order);
}

function dimmed(reply) {
  return shown.mark && !reply[5].includes(shown.mark) ? " dim" : "";
}

function marks(parent, reply) {
  if (!reply[5].length) return;
  const line = add(parent, "p", "marks");
  for (const mark of reply[5]) add(line, "span", mark === "gated" ? "chip gate" : "chip rule", mark);
}

function text(parent, reply) {
  const quote = add(parent, "blockquote", reply[1].trim() ? "" : "empty", reply[1].trim() || "(empty reply)");
  quote.dir = "auto";
  marks(parent, reply);
}

function sideBySide(parent, found, prompt) {
  const sides = add(parent, "div", "sides");
  for (const reply of prompt.replies) {
    const card = add(sides, "div", "reply" + (reply[0].startsWith("round ") ? " tuned" : "") + dimmed(reply));
    const head = add(card, "h4");
    add(head, "span", "", reply[0]);
    add(head, "b", "", digits(reply[2], 2));
    text(card, reply);
    const scores = add(card, "ul", "scores");
    found.criteria.forEach((name, place) => {
      const line = add(scores, "li");
      add(line, "span", "", words(name));
      add(add(line, "span", "meter"), "i").style.width = `${100 * (reply[4][place] ?? 0)}%`;
      add(line, "b", "", digits(reply[4][place], 2));
    });
  }
}

function table(parent, found, prompt) {
  const generations = prompt.replies.some((reply) => reply[0] !== null);
  const heads = ["Reply", "Reward", "Advantage", ...(generations ? ["Generation"] : []), ...found.criteria.map(words)];
  const made = add(add(parent, "div", "scroll"), "table", "stack");
  const line = add(add(made, "thead"), "tr");
  heads.forEach((head, place) => add(line, "th", place ? "n" : "", head));
  const body = add(made, "tbody");
  for (const reply of prompt.replies) {
    const row = add(body, "tr", dimmed(reply));
    text(add(row, "td", "said"), reply);
    const generation = generations ? [reply[0] === null ? NOTHING : String(reply[0])] : [];
    const advantage = reply[3] === null ? NOTHING : signed(reply[3]);
    const cells = [digits(reply[2], 2), advantage, ...generation, ...reply[4].map((score) => digits(score, 2))];
    cells.forEach((cell, place) => add(row, "td", "n", cell).setAttribute("data-label", heads[place + 1]));
  }
}

function article(parent, found, prompt) {
  const made = add(parent, "article", "example");
  const head = add(made, "header");
  const asked = add(head, "div");
  add(asked, "p", "prompt", prompt.text).dir = "auto";
  add(asked, "small", "", [prompt.own, prompt.id].filter(Boolean).join(" \u00b7 "));
  if (prompt.change !== null) {
    const way = prompt.change > 0.005 ? "up" : prompt.change < -0.005 ? "down" : "unclear";
    add(head, "span", `badge ${way}`, signed(prompt.change)).title = `${found.policies.at(-1)} minus ${found.baseline}`;
  } else if (prompt.mean !== null) {
    add(head, "span", "badge", `mean ${digits(prompt.mean, 2)}`);
  }
  (found.kind === "held_out" ? sideBySide : table)(made, found, prompt);
}

function show() {
  const found = view();
  const names = sorts(found);
  if (!names.includes(shown.sort)) shown.sort = "order";
  at("sort").replaceChildren(...names.map((name) => new Option(SORTS[name][0], name, false, name === shown.sort)));
  const prompts = chosen(found);
  const pages = Math.max(1, Math.ceil(prompts.length / PER_PAGE));
  shown.page = Math.min(Math.max(shown.page, 0), pages - 1);
  const start = shown.page * PER_PAGE;
  const page = prompts.slice(start, start + PER_PAGE);
  at("count").textContent = page.length
    ? `${start + 1} to ${start + page.length} of ${prompts.length} prompts` : "No prompt matches";
  at("back").disabled = shown.page === 0;
  at("next").disabled = shown.page === pages - 1;
  at("prompts").replaceChildren();
  for (const prompt of page) article(at("prompts"), found, prompt);
}

for (const name of ["view", "sort", "mark", "search"]) {
  const control = at(name);
  control.addEventListener(name === "search" ? "input" : "change", () => {
    shown[name] = control.value;
    shown.page = 0;
    show();
  });
}
for (const [name, step] of [["back", -1], ["next", 1]]) {
  at(name).addEventListener("click", () => {
    shown.page += step;
    show();
    at("controls").scrollIntoView();
  });
}
for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
  if (!["view", "sort", "mark", "search"].includes(name)) continue;
  if (name === "view" && !at(`view-${value}`)) continue;
  if (name === "sort" && !Object.hasOwn(SORTS, value)) continue;
  shown[name] = value;
  if (name !== "sort") at(name).value = value;
}
show();
