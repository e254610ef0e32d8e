// Buttons beside the lines of %condor_why that can be run: asks first, lets the kernel do it, shows what came of it.

const QUEUED_MS = 700;
const STYLE = `
.htcmagic-run { font: 12px/20px var(--jp-ui-font-family, system-ui, sans-serif); margin: 2px 0 4px 1.4em; }
.htcmagic-run button { font: inherit; color: inherit; cursor: pointer; background: none; border: 1px solid #8886; border-radius: 4px; padding: 0 9px; margin-right: 6px; }
.htcmagic-run button:hover { background: #8882; }
.htcmagic-run button:focus-visible { outline: 2px solid var(--jp-brand-color1, #2f7ed8); outline-offset: 1px; }
.htcmagic-run button.yes { background: var(--jp-brand-color1, #2f7ed8); border-color: transparent; color: #fff; }
.htcmagic-run .says { margin-right: 8px; white-space: pre-wrap; overflow-wrap: anywhere; }
.htcmagic-run .well { color: #2e9e5b; }
.htcmagic-run .ill { color: #d33f49; }`;

function button(text, action, kind = "") {
  const made = document.createElement("button");
  made.type = "button";
  made.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take its keys
  made.className = kind;
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
}

function words(text, kind = "") {
  const made = document.createElement("span");
  made.className = `says ${kind}`;
  made.textContent = text;
  return made;
}

class Run {
  constructor(model, number, lines) {
    Object.assign(this, { model, number, lines, element: document.createElement("div") });
    this.element.className = "htcmagic-run";
    this.offer();
  }

  offer() {
    const many = this.lines.length > 1 ? "these lines" : "this line";
    this.element.replaceChildren(button("Do it", () => this.ask(), "do"), words(""));
    this.element.firstChild.title = `Runs ${many}:\n${this.lines.join("\n")}`;
  }

  ask() {
    const yes = button("Yes", () => this.send(), "yes");
    this.element.replaceChildren(words(this.lines.length > 1 ? `Run these ${this.lines.length} lines?` : "Run this line?"), yes, button("Cancel", () => this.offer()));
    yes.focus();
  }

  send() {
    this.id = `${this.number}-${Date.now()}`;
    this.element.replaceChildren(words("asking the schedd …"));
    this.model.send({ kind: "run", id: this.id, number: this.number });
    this.wait = setTimeout(() => {
      this.element.replaceChildren(words("queued: the kernel is busy. It is done when the cell has ended."));
    }, QUEUED_MS);
  }

  heard(said) {
    if (said.id !== this.id) return;
    clearTimeout(this.wait);
    if (said.kind === "outcome") {
      this.element.replaceChildren(words(said.says, said.ok ? "well" : "ill"), ...(said.ok ? [] : [button("Again", () => this.ask())]));
    }
  }
}

export default {
  initialize({ model }) {
    const lines = model.get("lines");
    const runs = lines.map((some, number) => (some.length ? new Run(model, number, some) : null));
    const style = document.createElement("style");
    style.textContent = STYLE;
    const look = () => {
      for (const place of document.getElementsByClassName(`htcmagic-${model.get("token")}`)) {
        if (!style.isConnected) document.head.append(style);
        [...place.getElementsByClassName("htcmagic-fix")].forEach((fix, number) => {
          if (runs[number] && runs[number].element.parentNode !== fix) fix.append(runs[number].element);
        });
      }
    };
    model.on("msg:custom", (said) => runs.forEach((run) => run?.heard(said)));
    const observer = new MutationObserver(look);
    observer.observe(document.body, { childList: true, subtree: true });
    look();
    return () => {
      observer.disconnect();
      style.remove();
      runs.forEach((run) => run?.element.remove());
    };
  },
};
