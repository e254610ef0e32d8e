// What a live view knows in the browser, and the jobs of one batch. Foreign text only ever becomes text: textContent and
// attributes, never markup. Put before watch.js by widget.py: one module, no build, nothing from the network.

const STATE = { I: "idle", R: "running", H: "held", S: "suspended", D: "done", F: "failed", X: "removed" };
const FITS = { hold: "IRS", release: "H", remove: "IRHS", edit: "IRHS" };
const WORDS = { hold: "Hold", release: "Release", remove: "Remove", edit: "Edit" };
const ROW_PX = 24;
const LINES = 11;
const ICONS = {
  hold: "M5 3h2v10H5zM9 3h2v10H9z",
  release: "M5 3l8 5-8 5z",
  remove: "M4.5 3.4 8 6.9l3.5-3.5 1.1 1.1L9.1 8l3.5 3.5-1.1 1.1L8 9.1l-3.5 3.5-1.1-1.1L6.9 8 3.4 4.5z",
  edit: "M11.2 2.5l2.3 2.3-7.6 7.6-3 .7.7-3zM10 5.1l.9.9-5.3 5.3-.9-.9z",
  open: "M6 3.5 10.5 8 6 12.5 5 11.5 8.4 8 5 4.5z",
};
// control codes, and marks that turn or hide the text around them
const HARMFUL = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]/g;

const harmless = (text) => String(text ?? "").replace(HARMFUL, " ");
const count = (number) => number.toLocaleString("en");
const jobs = (number) => `${count(number)} job${number === 1 ? "" : "s"}`;

function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  // JupyterLab takes keys for its own wherever the element with the focus itself does not forbid it
  if (tag === "button" || tag === "select" || "tabindex" in attributes) element.dataset.lmSuppressShortcuts = "true";
  element.append(...inside);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tip(element, text) {
  if ((element.getAttribute("title") ?? "") !== text) text ? element.setAttribute("title", text) : element.removeAttribute("title");
}

function elapsed(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${two(Math.floor((s % 86400) / 3600))} h`;
}

// One batch's jobs: a letter each, and what is known of those that matter.
class Jobs {
  constructor() {
    this.version = 0;
    this.letters = [];
    this.infos = new Map();
    this.spans = [];
  }

  take(change) {
    this.version += 1;
    if (change.spans) {
      let offset = 0;
      this.spans = change.spans.map(([cluster, first, number]) => {
        offset += number;
        return { cluster, first, from: offset - number, to: offset };
      });
      this.letters = [];
      for (const [number, letter] of change.letters) for (let i = 0; i < number; i++) this.letters.push(letter);
      this.infos.clear();
    }
    for (const [at, letters] of change.set ?? []) {
      for (let i = 0; i < letters.length; i++) this.letters[at + i] = letters[i];
    }
    for (const [at, number, ...info] of change.infos ?? []) {
      for (let i = 0; i < number; i++) this.infos.set(at + i, info);
    }
  }

  id(index) {
    let low = 0;
    let high = this.spans.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (index >= this.spans[middle].to) low = middle + 1;
      else high = middle;
    }
    const span = this.spans[low];
    return span ? `${span.cluster}.${span.first + index - span.from}` : "";
  }

  told(index) {
    const [, , host, reason, command] = this.infos.get(index) ?? [];
    const letter = this.letters[index];
    return { host: host ?? "", text: (letter === "H" || letter === "X" || letter === "F" ? reason : "") || command || "" };
  }

  has(index, text) {
    if (this.id(index).includes(text)) return true;
    const told = this.told(index);
    return told.host.toLowerCase().includes(text) || told.text.toLowerCase().includes(text);
  }
}

const JOB_COLUMNS = [
  ["id", "Job"],
  ["state", "State"],
  ["since", "Runs for"],
  ["host", "Host"],
  ["told", "Why, or what"],
];

// The list of a batch's jobs: as many lines as are seen, however many there are.
class JobList {
  constructor(view, key) {
    this.view = view;
    this.key = key;
    this.sort = ["id", 1];
    this.lines = [];
    this.known = "";
    this.inner = make("div", { class: "inner" });
    this.scroller = make("div", { class: "jobs", tabindex: "0", "aria-label": "Jobs", onscroll: () => this.scrolled() }, this.inner);
    this.heads = JOB_COLUMNS.map(([id, name]) =>
      make("button", { type: "button", class: `sort ${id}`, onclick: () => this.by(id) }, name),
    );
    this.number = make("span", { class: "number" });
    const head = make("div", { class: "job head" }, ...this.heads, this.number);
    this.element = make("div", { class: "joblist" }, head, this.scroller);
  }

  by(id) {
    this.sort = this.sort[0] === id ? [id, -this.sort[1]] : [id, 1];
    this.draw();
  }

  draw() {
    const { store } = this.view;
    const data = store.jobs.get(this.key) ?? new Jobs();
    const { text, states } = store.ui;
    const row = store.rows.get(this.key);
    const words = text && row && !this.view.named(row, text) ? text : "";
    const known = [data.version, words, [...states].join(), this.sort.join()].join("|");
    if (known !== this.known) {
      this.known = known;
      this.data = data;
      this.shown = this.choose(data, words, states);
      this.heads.forEach((head, i) => {
        const mine = JOB_COLUMNS[i][0] === this.sort[0];
        head.setAttribute("aria-sort", mine ? (this.sort[1] > 0 ? "ascending" : "descending") : "none");
      });
      const all = data.letters.length;
      const some = this.shown ? this.shown.length : all;
      const unseen = row ? row.total - all : 0;
      put(this.number, (some < all ? `${count(some)} of ${jobs(all)}` : jobs(all)) + (unseen > 0 ? `, ${count(unseen)} not listed` : ""));
      this.size = some;
      this.inner.style.height = `${some * ROW_PX}px`;
      this.scroller.style.height = `${Math.max(1, Math.min(some, LINES)) * ROW_PX}px`;
    }
    this.fill();
  }

  choose(data, words, states) {
    const [column, direction] = this.sort;
    if (!words && !states.size && column === "id" && direction > 0) return null; // all of them, as they are
    const found = [];
    for (let i = 0; i < data.letters.length; i++) {
      if (states.size && !states.has(STATE[data.letters[i]])) continue;
      if (!words || data.has(i, words)) found.push(i);
    }
    if (column === "id") return direction > 0 ? found : found.reverse();
    const value = {
      state: (i) => data.letters[i],
      since: (i) => (data.letters[i] === "R" ? -(data.infos.get(i)?.[1] ?? 0) : 1),
      host: (i) => data.told(i).host || "\uffff",
      told: (i) => data.told(i).text || "\uffff",
    }[column];
    const values = new Map(found.map((i) => [i, value(i)]));
    return found.sort((a, b) => {
      const [x, y] = [values.get(a), values.get(b)];
      return x < y ? -direction : x > y ? direction : a - b;
    });
  }

  scrolled() {
    if (!this.scroller.isConnected) return;
    this.top = this.scroller.scrollTop;
    this.fill();
  }

  restore() {
    this.scroller.scrollTop = this.top ?? 0;
    this.fill();
  }

  fill() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW_PX) - 1);
    const wanted = Math.min((this.size ?? 0) - first, LINES + 3);
    while (this.lines.length < wanted) this.lines.push(this.line());
    this.lines.forEach((line, n) => {
      line.element.hidden = n >= wanted;
      if (n < wanted) this.write(line, first + n);
    });
  }

  line() {
    const cells = Object.fromEntries(JOB_COLUMNS.map(([id]) => [id, make("span", { class: id })]));
    const acts = Object.keys(FITS).map((action) =>
      make(
        "button",
        { type: "button", class: `act ${action}`, onclick: () => this.view.ask(this.key, action, [line.id]) },
        icon(action),
      ),
    );
    const element = make("div", { class: "job" }, ...Object.values(cells), make("span", { class: "acts" }, ...acts));
    const line = { element, cells, acts, id: "" };
    this.inner.append(element);
    return line;
  }

  write(line, place) {
    const index = this.shown ? this.shown[place] : place;
    const letter = this.data.letters[index];
    const info = this.data.infos.get(index) ?? [];
    const { host, text } = this.data.told(index);
    line.id = this.data.id(index);
    line.element.style.transform = `translateY(${place * ROW_PX}px)`;
    line.element.classList.toggle("odd", place % 2 === 1);
    put(line.cells.id, line.id);
    put(line.cells.state, STATE[letter]);
    line.cells.state.className = `state ${STATE[letter]}`;
    put(line.cells.since, letter === "R" && info[1] ? elapsed(this.view.now() - info[1]) : "");
    put(line.cells.host, letter === "I" ? "" : harmless(host));
    put(line.cells.told, harmless(text));
    tip(line.cells.told, harmless(text));
    tip(line.cells.host, harmless(host));
    Object.keys(FITS).forEach((action, n) => {
      const button = line.acts[n];
      button.hidden = !FITS[action].includes(letter);
      const label = `${WORDS[action]} job ${line.id}`;
      tip(button, label);
      if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
    });
  }
}
