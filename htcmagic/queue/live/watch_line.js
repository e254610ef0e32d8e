// One batch: its line, and under it a question, an answer, its jobs. Between watch_jobs.js and watch.js in the module.

const HEADS = { name: "Batch", owner: "Owner", submitted: "Submitted", share: "Progress", total: "Total", ids: "Jobs" };
const label = (row) => harmless(row.name || `ID ${row.ids.split(".")[0]}`);
const ended = (row) => (row.counts.done ?? 0) + (row.counts.failed ?? 0) + (row.counts.removed ?? 0);
const share = (row) => Math.min(1, Math.max(0, row.progress ?? ended(row) / Math.max(1, row.total)));
const VALUES = {
  name: (row) => label(row).toLowerCase(),
  owner: (row) => row.owner,
  submitted: (row) => row.submitted ?? 0,
  share,
  total: (row) => row.total,
  ids: (row) => Number.parseFloat(row.ids) || 0,
};

function clockOf(seconds) {
  if (!seconds) return "";
  const then = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const clock = `${two(then.getHours())}:${two(then.getMinutes())}`;
  if (then.toDateString() === new Date().toDateString()) return clock;
  return `${then.toLocaleString("en", { month: "short" })} ${then.getDate()} ${clock}`;
}

class Line {
  constructor(view, key) {
    this.view = view;
    this.key = key;
    this.cells = {};
    this.columns = "";
    this.element = make("tr", { class: "batch", "data-key": key });
    this.under = make("tr", { class: "under", "data-key": key });
    this.cell = make("td");
    this.under.append(this.cell);
  }

  build(columns) {
    this.columns = columns.join();
    const focused = this.element.contains(document.activeElement) && document.activeElement.classList.contains("toggle");
    this.cells = Object.fromEntries(columns.map((column) => [column, make("td", { class: column })]));
    this.toggle = make("button", { type: "button", class: "toggle", onclick: () => this.view.open(this.key) }, icon("open"), (this.name = make("span")));
    this.hold = make("div", { class: "reason" });
    this.cells.name.append(this.toggle, this.hold);
    this.bar = make("span", { class: "states" });
    this.percent = make("span", { class: "percent" });
    this.cells.share.append(make("span", { class: "both" }, this.bar, this.percent));
    this.acts = Object.fromEntries(
      Object.keys(FITS).map((action) => [
        action,
        make("button", { type: "button", class: `act ${action}`, onclick: () => this.view.ask(this.key, action) }, icon(action)),
      ]),
    );
    this.cells.acts.append(...Object.values(this.acts));
    this.element.replaceChildren(...Object.values(this.cells));
    this.cell.setAttribute("colspan", columns.length);
    if (focused) this.toggle.focus();
  }

  write(row, columns) {
    if (columns.join() !== this.columns) this.build(columns);
    const { store } = this.view;
    const open = store.ui.open.has(this.key);
    put(this.name, label(row));
    tip(this.name, label(row));
    this.toggle.setAttribute("aria-expanded", open);
    const hold = row.hold ? `held: ${harmless(row.hold)}` : "";
    put(this.hold, hold);
    tip(this.hold, hold);
    this.hold.hidden = !hold;
    this.element.classList.toggle("own", row.own);
    for (const [column, cell] of Object.entries(this.cells)) {
      if (STATES.includes(column)) {
        put(cell, row.counts[column] ? count(row.counts[column]) : "—");
        cell.classList.toggle("zero", !row.counts[column]);
      }
    }
    if (this.cells.owner) put(this.cells.owner, harmless(row.owner));
    put(this.cells.submitted, clockOf(row.submitted));
    put(this.cells.total, count(row.total));
    put(this.cells.ids, harmless(row.ids));
    this.progress(row);
    for (const [action, button] of Object.entries(this.acts)) {
      const fits = [...FITS[action]].some((letter) => row.counts[STATE[letter]]);
      button.classList.toggle("unfit", !fits);
      button.disabled = !fits;
      const said = `${WORDS[action]} ${label(row)}`;
      tip(button, fits ? said : "");
      button.setAttribute("aria-label", said);
    }
    this.below(open);
  }

  progress(row) {
    const whole = Math.max(row.total, Object.values(row.counts).reduce((sum, number) => sum + number, 0), 1);
    const known = BAR.map((state) => row.counts[state] ?? 0).join();
    if (known !== this.barred) {
      this.barred = known;
      BAR.forEach((state, n) => {
        const piece = this.bar.children[n] ?? this.bar.appendChild(make("span", { class: state }));
        piece.style.width = `${(100 * (row.counts[state] ?? 0)) / whole}%`;
      });
      tip(this.bar, BAR.filter((state) => row.counts[state]).map((state) => `${count(row.counts[state])} ${state}`).join(", "));
    }
    const part = share(row);
    put(this.percent, part >= 1 ? "100 %" : `${Math.min(99, Math.floor(100 * part))} %`);
  }

  below(open) {
    const ask = this.view.store.asks.get(this.key);
    this.under.hidden = !open && !ask;
    const known = ask ? `${ask.id} ${ask.version} ${ask.action} ${ask.ids} ${ask.count}` : "";
    if (known !== this.asked || (ask?.fresh && !this.question)) {
      this.asked = known;
      this.question?.remove();
      this.question = ask ? this.questionOf(ask) : null;
      if (this.question) this.cell.prepend(this.question);
      this.question?.querySelector("[autofocus]")?.focus();
    }
    if (open && !this.list) {
      this.list = new JobList(this.view, this.key);
      this.cell.append(this.list.element);
    }
    if (this.list) this.list.element.hidden = !open;
    if (open) this.list.draw();
  }

  questionOf(ask) {
    const row = this.view.store.rows.get(this.key);
    const cancel = (focus) => make("button", { type: "button", autofocus: focus, onclick: () => close(this.view.store, ask) }, ask.phase === "done" ? "OK" : "Cancel");
    const which = ask.ids.length === 1 ? `job ${ask.ids[0]}` : jobs(ask.count);
    const of = ask.ids.length ? "" : ` of ${label(row)}`;
    const box = make("div", { class: `question ${ask.phase} ${ask.action}`, role: "alertdialog" });
    if (ask.phase === "done") {
      box.classList.add(ask.ok ? "well" : "ill");
      box.append(make("span", { class: "says" }, harmless(ask.says)), cancel(false));
    } else if (ask.phase === "sent") {
      box.append(make("span", { class: "says" }, `${WORDS[ask.action]} ${which}${of}: asking the schedd …`));
    } else if (ask.phase === "queued") {
      box.append(make("span", { class: "says" }, `${WORDS[ask.action]} ${which}${of}: queued, the kernel is busy. It is done when the cell has ended.`));
    } else if (ask.action === "edit") {
      this.form(box, ask, which, of, cancel(false));
    } else {
      const before = ask.says ? `${harmless(ask.says)} ` : "";
      box.append(make("span", { class: "says" }, `${before}${WORDS[ask.action]} ${which}${of}?`));
      const careful = ask.action === "remove";
      box.append(make("button", { type: "button", class: "yes", autofocus: !careful, onclick: () => this.view.send(ask) }, `${WORDS[ask.action]} ${which}`), cancel(careful));
    }
    return box;
  }

  form(box, ask, which, of, cancel) {
    const value = make("input", { type: "text", size: "8", autofocus: true, "aria-label": "new value" });
    const name = make("select", { "aria-label": "what to set", onchange: () => (value.placeholder = EDITS[name.value]) });
    for (const one of Object.keys(EDITS)) name.append(make("option", { value: one }, one));
    value.placeholder = EDITS.request_memory;
    const go = () => value.value.trim() && this.view.send(ask, name.value, value.value);
    value.addEventListener("keydown", (event) => event.key === "Enter" && go());
    const before = ask.says ? `${harmless(ask.says)} ` : "";
    const says = make("span", { class: "says" }, `${before}In ${which}${of} set`);
    box.append(says, name, make("span", {}, "="), value, make("button", { type: "button", class: "yes", onclick: go }, `Set in ${which}`), cancel);
    box.append(make("span", { class: "hint" }, "running jobs: from their next start on"));
  }
}
