// The live view: batches in a table that is sorted, filtered and opened here, without the kernel's help.

const STATES = ["done", "running", "idle", "held", "suspended", "failed", "removed"];
const ALWAYS = new Set(["done", "running", "idle", "held"]);
const BAR = ["done", "failed", "removed", "running", "suspended", "held", "idle"];
const MOST = 200;
const QUIET_S = 15;
const QUEUED_MS = 700;
const EDITS = { request_memory: "2 GB", request_disk: "1 GB", request_cpus: "2", priority: "10" };
const stores = new Map(); // by the view's token: one for all places where a view is shown

function storeOf(model) {
  const token = model.get("token");
  if (!stores.has(token)) {
    stores.set(token, {
      model,
      head: {},
      order: [],
      rows: new Map(),
      jobs: new Map(),
      asks: new Map(),
      views: new Set(),
      ui: { sort: ["", 1], text: "", states: new Set(), open: new Set(), most: MOST },
      next: -1,
      clicks: 0,
    });
  }
  return stores.get(token);
}

function take(store, said) {
  if (said.kind === "ack" || said.kind === "outcome") return answered(store, said);
  if (said.kind === "table") {
    if (said.number !== 0 && said.number !== store.next) {
      store.model.send({ kind: "hello" });
      return;
    }
    const anew = said.number === 0 && store.next < 0;
    store.next = said.number + 1;
    if (said.number === 0) {
      store.rows.clear();
      store.jobs.clear();
    }
    if (said.order) store.order = said.order;
    for (const row of said.rows) store.rows.set(row.key, row);
    for (const change of said.jobs) {
      if (!store.jobs.has(change.key)) store.jobs.set(change.key, new Jobs());
      store.jobs.get(change.key).take(change);
    }
    for (const key of [...store.rows.keys()]) if (!store.order.includes(key)) store.rows.delete(key);
    for (const key of [...store.jobs.keys()]) if (!store.rows.has(key)) store.jobs.delete(key);
    if (anew && said.nobatch) store.order.forEach((key) => store.ui.open.add(key));
  }
  store.head = { ...store.head, ...said };
  store.heard = Date.now() / 1000;
  store.ahead = store.heard - said.now; // the browser's clock against the kernel's
  store.views.forEach((view) => view.soon());
}

function answered(store, said) {
  for (const ask of store.asks.values()) {
    if (ask.id !== said.id) continue;
    if (said.kind === "ack") ask.phase = "sent";
    else if (said.count) Object.assign(ask, { phase: "ask", count: said.count, says: said.says });
    else {
      Object.assign(ask, { phase: "done", ok: said.ok, says: said.says });
      if (said.ok) setTimeout(() => store.asks.get(ask.key) === ask && close(store, ask), 12000);
    }
    ask.known = said.kind === "ack" || ask.known;
    ask.version += 1;
  }
  store.views.forEach((view) => view.soon());
}

function close(store, ask) {
  store.asks.delete(ask.key);
  store.views.forEach((view) => view.soon());
}

class View {
  constructor(store, place) {
    this.store = store;
    this.lines = new Map();
    this.where = make("b");
    this.chips = make("span", { class: "chips" });
    this.filter = make("input", {
      type: "search",
      placeholder: "filter",
      "aria-label": "Filter by name, owner, job, host or reason",
      title: "Name, owner, job, host or reason",
      oninput: () => this.narrow(),
    });
    this.filter.value = store.ui.text;
    this.age = make("span", { class: "age", role: "status" });
    this.end = make("button", { type: "button", class: "end", title: "End this view; the jobs go on", onclick: () => this.stop() }, "stop");
    this.note = make("div", { class: "note" });
    this.head = make("tr");
    this.body = make("tbody", { onmouseenter: () => (this.over = true), onmouseleave: () => (this.over = false) });
    this.more = make("button", { type: "button", class: "more", onclick: () => this.showMore() });
    this.none = make("div", { class: "none" });
    const table = make("table", {}, make("thead", {}, this.head), this.body);
    const bar = make("div", { class: "bar" }, this.where, this.chips, make("span", { class: "right" }, this.filter, this.age, this.end));
    const box = make("div", { class: "scroll" }, table, this.none, this.more);
    this.element = make("div", { class: "htcmagic-live", onkeydown: (e) => this.key(e) }, bar, this.note, box);
    this.element.addEventListener("focusin", (event) => (this.focused = event.target));
    this.element.addEventListener("focusout", () => this.element.isConnected && (this.focused = null));
    this.place = place;
    place.replaceChildren(this.element);
    this.clock = setInterval(() => this.tick(), 1000);
    store.views.add(this);
    this.draw();
  }

  now() {
    return Date.now() / 1000 - (this.store.ahead ?? 0);
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  stop() {
    this.store.model.send({ kind: "stop" });
    put(this.end, "stopping");
  }

  narrow() {
    this.store.ui.text = this.filter.value.trim().toLowerCase();
    this.force = true;
    this.soon();
  }

  showMore() {
    this.store.ui.most += MOST;
    this.soon();
  }

  // Arrow keys go from line to line; right opens a batch and left closes it.
  key(event) {
    const line = event.target.closest?.("tr.batch");
    if (event.key === "Escape") {
      const ask = event.target.closest?.("tr.under") && this.store.asks.get(event.target.closest("tr.under").dataset.key);
      if (ask && ask.phase !== "sent") close(this.store, ask);
    }
    if (!line || !event.target.classList.contains("toggle")) return;
    const all = [...this.body.querySelectorAll("tr.batch .toggle")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) all[all.indexOf(event.target) + step]?.focus();
    else if (event.key === "ArrowRight") this.open(line.dataset.key, true);
    else if (event.key === "ArrowLeft") this.open(line.dataset.key, false);
    else return;
    event.preventDefault();
  }

  open(key, wanted) {
    const { open } = this.store.ui;
    if (wanted ?? !open.has(key)) open.add(key);
    else open.delete(key);
    this.draw();
  }

  ask(key, action, ids) {
    const row = this.store.rows.get(key);
    const letters = FITS[action];
    const fitting = Object.entries(STATE).reduce((sum, [letter, state]) => sum + (letters.includes(letter) ? (row.counts[state] ?? 0) : 0), 0);
    const number = ids ? ids.length : fitting;
    this.store.asks.set(key, { key, action, ids: ids ?? [], count: number, phase: "ask", says: "", version: 0, fresh: true });
    this.draw();
  }

  send(ask, name, value) {
    const { store } = this;
    ask.id = `${store.model.get("token")}-${++store.clicks}-${Date.now()}`;
    ask.phase = "sent";
    ask.known = false;
    ask.version += 1;
    store.model.send({ kind: "click", id: ask.id, action: ask.action, key: ask.key, ids: ask.ids, count: ask.count, name, value });
    setTimeout(() => {
      if (ask.phase !== "sent" || ask.known) return;
      ask.phase = "queued";
      ask.version += 1;
      store.views.forEach((view) => view.soon());
    }, QUEUED_MS);
    this.draw();
  }

  named(row, text) {
    return label(row).toLowerCase().includes(text) || row.owner.toLowerCase().includes(text) || row.ids.includes(text);
  }

  fits(row) {
    const { text, states } = this.store.ui;
    if (states.size && ![...states].some((state) => row.counts[state])) return false;
    if (!text || this.named(row, text) || row.hold.toLowerCase().includes(text)) return true;
    const known = this.store.jobs.get(row.key);
    return !!known && known.letters.some((_, index) => known.has(index, text));
  }

  columns(rows) {
    const owners = new Set(rows.map((row) => row.owner)).size > 1;
    const some = STATES.filter((state) => ALWAYS.has(state) || rows.some((row) => row.counts[state]));
    return ["name", ...(owners ? ["owner"] : []), "submitted", "share", ...some, "total", "ids", "acts"];
  }

  draw() {
    const { store } = this;
    const all = store.order.map((key) => store.rows.get(key)).filter(Boolean);
    const columns = this.columns(all);
    this.header(columns);
    this.counts(all);
    const fitting = all.filter((row) => this.fits(row));
    const [by, direction] = store.ui.sort;
    if (by) {
      const value = VALUES[by] ?? ((row) => row.counts[by] ?? 0);
      fitting.sort((a, b) => (value(a) < value(b) ? -direction : value(a) > value(b) ? direction : 0));
    }
    const shown = fitting.slice(0, store.ui.most);
    this.arrange(shown, columns);
    put(this.more, fitting.length > shown.length ? `${count(fitting.length - shown.length)} more batches` : "");
    this.more.hidden = fitting.length <= shown.length;
    put(this.none, all.length ? (fitting.length ? "" : "Nothing fits the filter.") : store.next < 0 ? "…" : "No jobs.");
    this.none.hidden = fitting.length > 0;
    this.tick();
  }

  // Under the pointer lines stay where they are, or a click would meet the wrong one.
  arrange(shown, columns) {
    const keys = shown.map((row) => row.key);
    for (const [key, line] of this.lines) {
      if (!keys.includes(key)) {
        line.element.remove();
        line.under.remove();
        this.lines.delete(key);
      }
    }
    shown.forEach((row) => {
      if (!this.lines.has(row.key)) this.lines.set(row.key, new Line(this, row.key));
      this.lines.get(row.key).write(row, columns);
    });
    const still = this.over && !this.force && this.body.childElementCount === 2 * keys.length;
    this.force = false;
    if (still) return;
    let place = this.body.firstElementChild;
    for (const key of keys) {
      for (const element of [this.lines.get(key).element, this.lines.get(key).under]) {
        if (place === element) place = place.nextElementSibling;
        else this.body.insertBefore(element, place);
      }
    }
  }

  header(columns) {
    const [by, direction] = this.store.ui.sort;
    const known = [...columns, by, direction].join();
    if (known === this.headed) return;
    const focused = this.head.contains(document.activeElement) ? document.activeElement.dataset.column : "";
    this.headed = known;
    const cells = columns.map((column) => {
      const sort = column === by ? (direction > 0 ? "ascending" : "descending") : "none";
      if (column === "acts") return make("th", { class: "acts" });
      const button = make("button", { type: "button", class: "sort", "data-column": column, "aria-sort": sort, onclick: () => this.by(column) }, HEADS[column] ?? column);
      return make("th", { class: column, scope: "col", "aria-sort": sort }, button);
    });
    this.head.replaceChildren(...cells);
    if (focused) this.head.querySelector(`[data-column="${focused}"]`)?.focus();
  }

  by(column) {
    const { ui } = this.store;
    const first = column === "name" || column === "owner" || column === "ids" ? 1 : -1;
    if (ui.sort[0] !== column) ui.sort = [column, first];
    else ui.sort = ui.sort[1] === first ? [column, -first] : ["", 1]; // a third click: as they were sent
    this.force = true;
    this.draw();
  }

  counts(all) {
    const sums = Object.fromEntries(STATES.map((state) => [state, all.reduce((sum, row) => sum + (row.counts[state] ?? 0), 0)]));
    const { states } = this.store.ui;
    for (const state of STATES) {
      let chip = this.chips.querySelector(`.${state}`);
      if (!chip) {
        chip = make("button", { type: "button", class: `chip ${state}`, onclick: () => this.only(state) });
        this.chips.append(chip);
      }
      chip.hidden = !sums[state] && !states.has(state);
      chip.setAttribute("aria-pressed", states.has(state));
      put(chip, `${count(sums[state])} ${state}`);
      tip(chip, `Only ${state} jobs`);
    }
  }

  only(state) {
    const { states } = this.store.ui;
    if (!states.delete(state)) states.add(state);
    this.force = true;
    this.draw();
  }

  tick() {
    const { head, heard, ui } = this.store;
    const quiet = heard === undefined ? 0 : Date.now() / 1000 - heard;
    const deaf = !head.ended && (quiet > QUIET_S || !!this.store.dead);
    const old = head.seen ? this.now() - head.seen : 0;
    let said = head.seen ? `${elapsed(old)} ago` : "waiting";
    if (head.ended) said = `${head.ended}, ${clockOf(head.seen)}`;
    else if (this.store.dead) said = `kernel ended, ${clockOf(head.seen)}`;
    else if (deaf) said = `no news from the kernel for ${elapsed(quiet)}`;
    else if (head.stale) said = head.seen ? `${elapsed(old)} old` : "no answer yet";
    put(this.age, said);
    put(this.where, harmless(head.where || "own clusters"));
    put(this.note, harmless(head.note));
    this.note.hidden = !head.note;
    this.end.hidden = !!head.ended;
    this.element.classList.toggle("stale", !!head.stale || deaf);
    this.element.classList.toggle("deaf", deaf);
    this.element.classList.toggle("ended", !!head.ended);
    if (this.store.greeted && !head.heard && !head.ended && Date.now() - this.store.greeted > 3000) this.store.greet();
    for (const [key, line] of this.lines) if (ui.open.has(key)) line.list?.fill();
  }

  // The output was drawn anew: what was seen and had the focus is to be so still.
  moveTo(place) {
    this.place = place;
    place.replaceChildren(this.element);
    for (const line of this.lines.values()) line.list?.restore();
    this.focused?.focus({ preventScroll: true });
  }

  remove() {
    clearInterval(this.clock);
    this.store.views.delete(this);
  }
}

// The output itself is plain HTML, which stays in the notebook; wherever it is on the page, the view takes its place.
function dwell(store, model) {
  const name = `htcmagic-${model.get("token")}`;
  store.greet = () => {
    store.greeted = Date.now();
    model.send({ kind: "hello" });
  };
  const look = () => {
    for (const place of document.getElementsByClassName(name)) {
      if ([...store.views].some((view) => view.place === place)) continue;
      const adrift = [...store.views].find((view) => lost(view.place));
      if (adrift) adrift.moveTo(place);
      else new View(store, place);
      if (!store.greeted) store.greet();
    }
    if (store.views.size && [...store.views].every((view) => lost(view.place))) store.leaving ??= setTimeout(leave, 3000);
  };
  const leave = () => {
    store.leaving = null;
    if (![...store.views].every((view) => lost(view.place))) return;
    store.views.forEach((view) => view.remove());
    model.send({ kind: "gone" });
  };
  const observer = new MutationObserver(look);
  observer.observe(document.body, { childList: true, subtree: true });
  look();
  return () => {
    observer.disconnect();
    store.dead = true;
    store.views.forEach((view) => view.tick());
  };
}

// A cell that is scrolled out of sight may be taken off the page, but stays in one piece.
const lost = (place) => !place.isConnected && !place.closest(".jp-Cell");

export default {
  initialize({ model }) {
    const store = storeOf(model);
    model.on("msg:custom", (said) => take(store, said));
    take(store, model.get("start"));
    return dwell(store, model);
  },
};
