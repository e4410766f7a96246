// The first page: lists runs, shows one, draws its metrics; everything by the public REST. Text is only ever set as text.
const main = document.getElementById("main"), state = document.getElementById("state");

function element(name, attributes = {}, ...children) {
  const made = name === "svg" || name === "path" || name === "text" || name === "circle"
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

async function ask(path, query = {}) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined));
  const answer = await fetch(`${path}?${parameters}`, { headers: { accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.message), body);
  return body;
}

const number = (value) => value === null || value === undefined ? "" : Number.isInteger(value) ? String(value) : Number(value.toPrecision(5)).toString();
const moment = (microseconds) => new Date(microseconds / 1000);
function ago(microseconds) {
  const seconds = Math.max(0, (Date.now() - microseconds / 1000) / 1000);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  return "just now";
}
const time = (microseconds) => element("time", { datetime: moment(microseconds).toISOString(), title: moment(microseconds).toLocaleString() }, ago(microseconds));
const status = (run) => element("span", { class: `status ${run.status}`, title: run.reason || run.status }, run.status);
const parameters = () => new URLSearchParams(location.search);

function go(changes) {
  const next = parameters();
  for (const [key, value] of Object.entries(changes)) value ? next.set(key, value) : next.delete(key);
  history.pushState(null, "", `${location.pathname}?${next}`);
  show();
}

async function runsPage() {
  document.title = "Runs · Larder";
  const wanted = parameters();
  const field = (name, label, placeholder) => element("input", { name, value: wanted.get(name) ?? "", placeholder, "aria-label": label, spellcheck: "false" });
  const form = element("form", { class: "search", onsubmit: (event) => { event.preventDefault(); go(Object.fromEntries(new FormData(form))); } },
    field("text", "Free text", "name, tag, note or a number you remember"),
    field("where", "Where", "metrics.val/mae < 3 and params.depth in (4, 8)"), element("button", { hidden: "" }));
  let page, problem = null;
  try {
    page = await ask("/v1/runs", { text: wanted.get("text") ?? "", where: wanted.get("where") ?? "", project: wanted.get("project") ?? "",
      order_by: wanted.get("order_by") ?? "", descending: wanted.get("descending") ?? "", limit: 100 });
  } catch (error) {
    if (error.code !== "invalid") throw error;
    problem = error; page = { runs: [], total: 0 };
  }
  const filtered = wanted.get("text") || wanted.get("where") || wanted.get("project");
  if (!page.runs.length && !filtered) return draw(emptyState());
  const names = new Map();
  for (const run of page.runs) for (const name of Object.keys(run.metrics)) if (!name.startsWith("system/")) names.set(name, (names.get(name) ?? 0) + 1);
  const metrics = [...names].sort((a, b) => Number(b[0].startsWith("val")) - Number(a[0].startsWith("val")) || b[1] - a[1]).slice(0, 6).map(([name]) => name);
  const heading = (label, order, kind) => {
    const current = wanted.get("order_by") === order, down = wanted.get("descending") === "true";
    return element("th", { class: kind ?? "", "aria-sort": current ? (down ? "descending" : "ascending") : undefined },
      element("button", { type: "button", tabindex: "0", onclick: () => go({ order_by: order, descending: current ? String(!down) : "false" }) }, label + (current ? (down ? " ↓" : " ↑") : "")));
  };
  const quoted = (name) => `metrics.${/^[\w./-]+$/.test(name) ? name : JSON.stringify(name)}`;
  draw(element("h1", {}, wanted.get("project") || "Runs"), form, problem && element("pre", { class: "problem", role: "alert" }, problem.message),
    element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, heading("Name", "name"), element("th", {}, "Status"), element("th", {}, "Project"), heading("Started", "created"), element("th", {}, "User"), element("th", {}, "Tags"),
        ...metrics.map((name) => heading(name, quoted(name), "number")))),
      element("tbody", {}, ...page.runs.map((run) => element("tr", {},
        element("td", {}, element("a", { href: `/runs/${run.id}`, title: run.name }, run.name || run.id.slice(-8))), element("td", {}, status(run)),
        element("td", {}, element("a", { href: `/?project=${encodeURIComponent(run.project)}` }, run.project)), element("td", {}, time(run.started ?? run.created)), element("td", {}, run.user),
        element("td", {}, ...run.tags.map((tag) => element("span", { class: "tag" }, tag))),
        ...metrics.map((name) => element("td", { class: "number" }, number(run.metrics[name]?.last)))))))),
    element("p", { class: "quiet" }, page.total ? `${page.runs.length} of ${page.total} runs` : "No run matches."));
}

function emptyState() {
  const lines = `import larder\nrun = larder.init(project="bakery", params={"lr": 0.1})\nrun.log({"loss": 0.5})`;
  return element("section", { class: "empty" }, element("h1", {}, "No runs yet"),
    element("p", {}, "Add these lines to a script on this machine and start it; the run appears here by itself."), element("pre", {}, lines),
    element("p", { class: "quiet" }, "Or record a script untouched: ", element("code", {}, "larder run -- python train.py")));
}

function chart(data) {
  const shown = data.steps.map((step, index) => [step, data.values[index]]);
  const finite = shown.filter(([, value]) => value !== null);
  if (!finite.length) return element("p", { class: "quiet" }, "no finite value");
  const [left, right] = [finite[0][0], finite[finite.length - 1][0]];
  let low = Infinity, high = -Infinity;
  for (const [, value] of finite) { low = Math.min(low, value); high = Math.max(high, value); }
  const x = (step) => right === left ? 200 : 46 + (step - left) / (right - left) * 346, y = (value) => high === low ? 80 : 150 - (value - low) / (high - low) * 138;
  let path = "", pen = "M";
  for (const [step, value] of shown) { if (value === null) { pen = "M"; continue; } path += `${pen}${x(step).toFixed(1)} ${y(value).toFixed(1)}`; pen = "L"; }
  const label = `from ${number(finite[0][1])} to ${number(finite[finite.length - 1][1])}, lowest ${number(low)}, highest ${number(high)}`;
  const drawing = element("svg", { viewBox: "0 0 400 170", preserveAspectRatio: "none", role: "img", "aria-label": label }, element("path", { d: path }),
    element("text", { x: 0, y: 14 }, number(high)), element("text", { x: 0, y: 152 }, number(low)), element("text", { x: 46, y: 168 }, number(left)), element("text", { x: 392, y: 168, "text-anchor": "end" }, number(right)));
  if (finite.length === 1) drawing.append(element("circle", { cx: x(left), cy: y(finite[0][1]), r: 3 }));
  return drawing;
}

async function runPage(id) {
  const run = await ask(`/v1/runs/${id}`);
  document.title = `${run.name || "run"} · Larder`;
  const names = Object.keys(run.metrics).sort((a, b) => Number(a.startsWith("system/")) - Number(b.startsWith("system/")) || a.localeCompare(b)).slice(0, 60);
  const [charts, console_, artifacts] = await Promise.all([Promise.all(names.map((name) => ask(`/v1/runs/${id}/chart`, { name, points: 400 }))),
    ask(`/v1/runs/${id}/console`, { tail: 200 }), ask(`/v1/runs/${id}/artifacts`)]);
  const pairs = (entries) => element("dl", {}, ...entries.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value instanceof Node ? value : String(value))]));
  const facts = run.facts, code = facts.code ?? {}, command = facts.command ?? {};
  const about = [["status", status(run)], ["project", element("a", { href: `/?project=${encodeURIComponent(run.project)}` }, run.project)], ["id", run.id], ["user", run.user], ["host", run.host || "–"],
    ["created", time(run.created)], ["took", run.started && run.ended ? `${((run.ended - run.started) / 1e6).toFixed(1)} s` : "–"],
    ...(run.parent ? [["clone of", element("a", { href: `/runs/${run.parent}` }, run.parent.slice(-8))]] : []), ...(run.reason ? [["reason", run.reason]] : []),
    ...(run.commit ? [["commit", `${run.commit.slice(0, 12)} ${run.branch}${code.dirty ? " + changes" : ""}`]] : []), ...(command.argv ? [["command", command.argv.join(" ")]] : []),
    ...(run.tags.length ? [["tags", run.tags.join(", ")]] : []), ...(run.notes ? [["notes", run.notes]] : [])];
  draw(element("h1", {}, run.name || run.id), element("div", { class: "columns" }, element("section", {}, element("h2", {}, "About"), pairs(about)),
    element("section", {}, element("h2", {}, "Parameters"), Object.keys(run.params).length ? pairs(Object.entries(run.params)) : element("p", { class: "quiet" }, "none recorded"))),
    element("h2", {}, "Metrics"), names.length ? element("div", { class: "charts" }, ...charts.map((data) => element("figure", {},
      element("figcaption", {}, element("strong", {}, data.name), element("span", { class: "quiet" }, `last ${number(run.metrics[data.name]?.last)} · ${data.total} point${data.total === 1 ? "" : "s"}`)), chart(data)))) : element("p", { class: "quiet" }, "nothing logged yet"),
    element("h2", {}, "Artifacts"), artifacts.artifacts.length ? pairs(artifacts.artifacts.map((artifact) => [artifact.name, element("span", {}, `${artifact.kind}, v${artifact.version}, ${artifact.size.toLocaleString()} bytes `,
      ...artifact.files.slice(0, 3).map((file) => element("a", { href: `/v1/runs/${id}/artifact-file?${new URLSearchParams({ name: artifact.name, path: file.path, version: artifact.version })}` }, `${file.path} `)))])) : element("p", { class: "quiet" }, "none"),
    element("h2", {}, "Console"), console_.lines.length ? element("pre", { class: "console", tabindex: "0" }, ...console_.lines.map(({ line }) => element("span", { class: line.stream === "err" ? "err" : "" }, line.text + "\n"))) : element("p", { class: "quiet" }, "no output"));
}

async function queuesPage() {
  document.title = "Queues · Larder";
  const { queues } = await ask("/v1/queues");
  const lists = await Promise.all(queues.map((queue) => ask(`/v1/queues/${encodeURIComponent(queue.name)}`)));
  draw(element("h1", {}, "Queues"), ...(queues.length ? queues.flatMap((queue, index) => [element("h2", {}, `${queue.name} · ${queue.waiting} waiting, ${queue.leased} running`),
    element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...lists[index].jobs.map((job) => element("tr", {}, element("td", {}, element("a", { href: `/runs/${job.subject}` }, job.subject.slice(-8))),
      element("td", {}, job.state), element("td", {}, job.agent || "–"), element("td", {}, time(job.created)))))))])
    : [element("p", {}, "Nothing waits. Put a run into a queue with ", element("code", {}, "larder runs clone RUN --param lr=0.05 --enqueue"), ".")]));
}

function draw(...children) {
  const focus = document.activeElement?.name, scrolled = main.querySelector("pre.console");
  const atEnd = !scrolled || scrolled.scrollTop + scrolled.clientHeight > scrolled.scrollHeight - 8, top = scrolled?.scrollTop;
  if (focus && document.activeElement instanceof HTMLInputElement && document.activeElement.value !== (parameters().get(focus) ?? "")) return; // never take a half-typed word away
  main.replaceChildren(...children.filter(Boolean));
  const console_ = main.querySelector("pre.console");
  if (console_) console_.scrollTop = atEnd ? console_.scrollHeight : top;
  if (focus) main.querySelector(`[name="${focus}"]`)?.focus();
}

async function show() {
  const run = location.pathname.match(/^\/runs\/([0-9a-f-]{36})$/), queues = location.pathname === "/queues";
  for (const link of document.querySelectorAll("[data-nav]")) link.toggleAttribute("aria-current", (link.dataset.nav === "queues") === queues);
  try {
    await (run ? runPage(run[1]) : queues ? queuesPage() : runsPage());
    state.textContent = ""; state.className = "";
  } catch (error) {
    if (error.code === "unauthenticated") draw(element("h1", {}, "Sign in"), element("p", {}, "This server needs a token. Open the address that ", element("code", {}, "larder open"), " prints, or ", element("code", {}, `${location.origin}/sign-in?token=…`), "."));
    else if (error.code) draw(element("h1", {}, "Not here"), element("p", {}, error.message));
    else { state.textContent = "The server does not answer; trying again…"; state.className = "bad"; }
  }
}

let waiting = null;
function showSoon() { waiting ??= setTimeout(() => { waiting = null; show(); }, 700); }

async function listen() {
  let last = null;
  for (;;) {
    try {
      const run = location.pathname.match(/^\/runs\/([0-9a-f-]{36})$/);
      if (last === null) last = (await ask("/v1/events", { after: -1 })).last;
      const answer = await ask("/v1/events", { after: last, wait: state.className === "bad" ? 0 : run ? 2 : 20, subject: run ? run[1] : "" });
      showSoon();
      last = answer.last;
    } catch (error) {
      if (error.code === "unauthenticated") return;
      state.textContent = "The server does not answer; trying again…"; state.className = "bad";
      await new Promise((resume) => setTimeout(resume, 2000));
    }
  }
}

addEventListener("popstate", () => { document.activeElement?.blur(); show(); });
addEventListener("keydown", (event) => {
  if (event.key === "/" && !(event.target instanceof HTMLInputElement)) { event.preventDefault(); main.querySelector("input")?.focus(); }
});
show().then(listen);
