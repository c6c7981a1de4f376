// Lora Studio, the core every widget stands on: elements, words, requests, events, messages. One namespace, nothing else global.
"use strict";
(function () {
    const Studio = (window.LoraStudio = window.LoraStudio || {});
    const SVG = "http://www.w3.org/2000/svg";

    // -- elements ------------------------------------------------------------
    // h("button.ls-primary", {onclick, title, disabled, dataset: {tag}}, "text", child, [children]): text is always text, never HTML.
    Studio.h = function (kind, props, ...children) {
        const [tag, ...classes] = kind.split(".");
        const svg = ["svg", "path", "g", "line", "circle", "rect", "polyline", "text", "title"].includes(tag) && (tag !== "title" || (props && props.svg));
        const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag || "div");
        if (classes.length) node.setAttribute("class", classes.join(" "));
        for (const [name, value] of Object.entries(props || {})) {
            if (value === null || value === undefined || value === false || name === "svg") continue;
            if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
            else if (name === "class") node.setAttribute("class", [...classes, value].join(" "));
            else if (name === "style" && typeof value === "object") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
            else if (name === "dataset") Object.assign(node.dataset, value);
            else if (!svg && name in node && name !== "list" && name !== "form") node[name] = value;
            else node.setAttribute(name, value === true ? "" : value);
        }
        Studio.append(node, children);
        return node;
    };
    Studio.append = function (node, children) {
        for (const child of [children].flat(Infinity)) {
            if (child === null || child === undefined || child === false) continue;
            node.append(child instanceof Node ? child : document.createTextNode(String(child)));
        }
        return node;
    };
    Studio.fill = function (node, ...children) {
        node.replaceChildren();
        return Studio.append(node, children);
    };

    // -- words ---------------------------------------------------------------
    let words = Object.create(null);
    let templates = null;
    // {one|several} stands behind a number that is filled in and follows it: "{n} {picture|pictures}".
    function fillIn(text, values) {
        let number;
        return text.replace(/\{(\w+)\}|\{([^{}|]*)\|([^{}|]*)\}/g, (all, name, one, several) => {
            if (name === undefined) return Number(number) === 1 ? one : several;
            if (!values || !(name in values)) return all;
            if (typeof values[name] === "number" || /^\d+$/.test(values[name])) number = values[name];
            return String(values[name]);
        });
    }
    // t("{n} {picture|pictures}", {n: 3}): our own words in the person's language.
    Studio.t = (text, values) => fillIn(words[text] || text, values);
    // ts(message): what the server says. Its messages are English; those with values in them match a template like "There is no project {}.".
    // A message made of several (sentences, lines, "option: mistake") is known when each of them is.
    const GAPS = [/(\n\s*|(?<=[.!?]) )/, /(; )/, /(: )/];
    Studio.ts = function (text) {
        if (!text || !Object.keys(words).length) return text || "";
        if (words[text]) return words[text];
        const sentences = text.split(GAPS[0]);
        if (sentences.length > 1 && sentences.every((one, k) => k % 2 || whole(one) !== null)) return joined(sentences.map((one, k) => (k % 2 ? one : whole(one))));
        const all = whole(text);
        if (all !== null) return all;
        for (const gap of GAPS) {
            const parts = text.split(gap);
            if (parts.length < 2) continue;
            const said = parts.map((part, k) => (k % 2 ? part : inside(part)));
            if (said.some((one, k) => one !== parts[k])) return joined(said);
        }
        return text;
    };
    // One message of ours, or null.
    function whole(text) {
        if (words[text]) return words[text];
        if (templates === null) {
            templates = Object.keys(words).filter((key) => key.includes("{}")).sort((a, b) => b.length - a.length).map((key) => {
                const parts = key.split("{}").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
                return [new RegExp("^" + parts.join("([\\s\\S]*?)") + "$"), words[key]];
            });
        }
        for (const [pattern, translated] of templates) {
            const found = pattern.exec(text);
            if (found) { let k = 0; return translated.replace(/\{(\d*)\}/g, (all, n) => inside(found[n === "" ? ++k : Number(n) + 1] || "")); }
        }
        return null;
    }
    // What a message holds may be one of our messages too. A single word is a name or a value, and stays.
    const inside = (piece) => (piece.trim().includes(" ") ? Studio.ts(piece) : piece);
    // Parts and, at odd places, what stands between them: no space after a Chinese full stop.
    const joined = (parts) => parts.map((part, k) => (k % 2 === 0 ? part : part === " " ? Studio.gap(parts[k - 1]) : words[part] || part)).join("");
    // What stands between two sentences: a Chinese one brings the room behind it along.
    Studio.gap = (before) => (!before || /[。！？]$/.test(before) ? "" : " ");
    Studio.sentences = (...all) => all.flat().filter(Boolean).reduce((before, one) => before + Studio.gap(before) + one, "");
    Studio.locale = "en";
    Studio.setWords = function (locale, known) { Studio.locale = locale; words = Object.assign(Object.create(null), known); templates = null; };

    Studio.duration = function (seconds) {
        if (seconds === null || seconds === undefined) return "";
        const s = Math.max(0, Math.round(seconds)), pad = (n) => String(n).padStart(2, "0");
        if (s < 60) return Studio.t("{s} s", {s});
        if (s < 3600) return Studio.t("{m} min {s} s", {m: Math.floor(s / 60), s: pad(s % 60)});
        return Studio.t("{h} h {m} min", {h: Math.floor(s / 3600), m: pad(Math.floor((s % 3600) / 60))});
    };
    Studio.bytes = function (n) {
        if (n === null || n === undefined) return "";
        for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) if (n >= size) return (n / size).toFixed(n / size < 10 ? 1 : 0) + " " + unit;
        return n + " B";
    };

    // -- requests ------------------------------------------------------------
    class ApiError extends Error {
        constructor(status, answer) {
            super(answer.error || "HTTP " + status);
            Object.assign(this, {status, hint: answer.hint || "", data: answer.data});
        }
    }
    Studio.ApiError = ApiError;
    const base = () => new URL("lora-studio/api/v1/", document.baseURI.replace(/[^/]*$/, ""));
    const plain = function (path, params) {
        const full = new URL(path.replace(/^\//, ""), base());
        for (const [k, v] of Object.entries(params || {})) if (v !== undefined && v !== null && v !== "") full.searchParams.set(k, typeof v === "object" ? JSON.stringify(v) : v);
        return full.href;
    };
    // An address for what sends no header of ours (pictures, downloads, events): the word in it says that it is of this page.
    const url = (path, params) => plain(path, {...params, token: Studio.state.session && Studio.state.session.token});
    async function request(method, path, params, body, raw) {
        let answer;
        try {
            answer = await fetch(plain(path, params), {
                method,
                credentials: "same-origin",
                headers: {"X-Lora-Studio": "1", ...(body === undefined || raw ? {} : {"Content-Type": "application/json"})},
                body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
            });
        } catch (error) {
            throw new ApiError(0, {error: Studio.t("The program does not answer."), hint: Studio.t("Is it still running? Look at its window, then try again.")});
        }
        let found = {};
        try { found = await answer.json(); } catch (error) { if (answer.ok) found = {}; }
        if (!answer.ok) throw new ApiError(answer.status, found.error ? found : {error: answer.status === 401 ? Studio.t("Log in first.") : "HTTP " + answer.status});
        return found;
    }
    // path segments of names go through p(): Studio.p`projects/${id}/pictures/raw/${name}`
    Studio.p = (parts, ...names) => parts.reduce((path, part, k) => path + encodeURIComponent(names[k - 1]) + part);
    Studio.api = {
        url,
        get: (path, params) => request("GET", path, params),
        post: (path, body, params) => request("POST", path, params, body === undefined ? {} : body),
        put: (path, body, params) => request("PUT", path, params, body === undefined ? {} : body),
        delete: (path, params) => request("DELETE", path, params),
        // One file as the request's body, with the share sent so far.
        upload: (path, file, params, sent) => new Promise((resolve, reject) => {
            const x = new XMLHttpRequest();
            x.open("POST", plain(path, params));
            x.setRequestHeader("X-Lora-Studio", "1");
            x.setRequestHeader("Content-Type", "application/octet-stream");
            x.upload.onprogress = (e) => sent && e.lengthComputable && sent(e.loaded / e.total);
            x.onload = () => {
                let found = {};
                try { found = JSON.parse(x.responseText); } catch (error) { found = {}; }
                if (x.status < 300) resolve(found); else reject(new ApiError(x.status, found));
            };
            x.onerror = () => reject(new ApiError(0, {error: Studio.t("The program does not answer."), hint: ""}));
            x.send(file);
        }),
    };

    // -- what happens --------------------------------------------------------
    // Own events: "project" (opened or closed), "step" (tab opened: name), "show"/"hide" (our tab in sight), and the server's:
    // "job", "run", "dataset", "changed", "loras", "reload".
    const bus = new EventTarget();
    Studio.on = function (name, fn) {
        const listener = (e) => fn(e.detail);
        bus.addEventListener(name, listener);
        return () => bus.removeEventListener(name, listener);
    };
    Studio.emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, {detail}));
    let source = null;
    Studio.listen = function (project) {
        if (source) source.close();
        source = null;
        if (project === null) return;
        follow(project, true);
    };
    // A program that was started anew takes the old word no more: the next one is asked for, and everything is drawn anew with it.
    async function renew(project, ended) {
        try { Studio.state.session = await Studio.api.get("session"); } catch (error) { /* not yet */ }
        if (source === ended) follow(project, false);
    }
    function follow(project, first) {
        const own = source = new EventSource(url("events", {project}));
        own.onerror = () => { if (own.readyState === EventSource.CLOSED) setTimeout(() => source === own && renew(project, own), 3000); };
        source.addEventListener("hello", () => { if (!first) Studio.emit("reload", {}); first = false; });
        for (const name of ["job", "run", "dataset", "changed", "loras", "reload"]) source.addEventListener(name, (e) => Studio.emit(name, JSON.parse(e.data)));
    }

    // The page's state: the open project ({id, name, trigger, traits, overview …} or null) and what the server said about itself.
    Studio.state = {project: null, session: null, step: "project"};

    // -- messages ------------------------------------------------------------
    Studio.toast = function (text, kind = "info", hint = "", seconds = 6) {
        const box = Studio.root.querySelector(".ls-toasts");
        const note = Studio.h("div.ls-toast", {class: "ls-" + kind, role: kind === "error" ? "alert" : "status"},
            Studio.h("div", {}, text), hint ? Studio.h("div.ls-hint", {}, hint) : null,
            Studio.h("button.ls-close", {type: "button", title: Studio.t("Close"), "aria-label": Studio.t("Close"), onclick: () => note.remove()}, "×"));
        box.append(note);
        while (box.children.length > 4) box.firstChild.remove();
        if (kind !== "error") setTimeout(() => note.remove(), 1000 * seconds);
        return note;
    };
    // Show an error and go on: attempt(async () => …) gives undefined when it failed.
    Studio.fail = function (error) {
        if (!(error instanceof ApiError)) console.error(error);
        Studio.toast(Studio.ts(error.message), "error", Studio.ts(error.hint || ""));
    };
    Studio.attempt = async function (work) {
        try { return await work(); } catch (error) { Studio.fail(error); return undefined; }
    };
    // A button that shows it is busy and cannot be pressed twice.
    Studio.button = function (text, work, props = {}) {
        const {kind = "", ...more} = props;
        const button = Studio.h("button.ls-button", {type: "button", ...more, class: [kind && "ls-" + kind, more.class].filter(Boolean).join(" ")}, text);
        button.addEventListener("click", async (event) => {
            if (button.classList.contains("ls-busy")) return;
            button.classList.add("ls-busy");
            try { await Studio.attempt(() => work(event)); } finally { button.classList.remove("ls-busy"); }
        });
        return button;
    };
    // dialog({title, body, buttons: [{text, value, kind}]}) resolves to the pressed button's value, null when it was closed.
    Studio.dialog = function ({title, body, buttons, wide}) {
        return new Promise((resolve) => {
            const before = document.activeElement;
            const close = (value) => { document.removeEventListener("keydown", onKey, true); veil.remove(); if (before && before.focus) before.focus(); resolve(value); };
            const onKey = (e) => { if (e.key === "Escape" && !e.isComposing) { e.stopPropagation(); close(null); } };
            const veil = Studio.h("div.ls-veil", {onclick: (e) => e.target === veil && close(null)},
                Studio.h("div.ls-dialog", {role: "dialog", "aria-modal": "true", "aria-label": title, class: wide ? "ls-wide" : ""},
                    Studio.h("h3", {}, title), Studio.h("div.ls-dialog-body", {}, body),
                    Studio.h("div.ls-row.ls-end", {}, (buttons || [{text: Studio.t("Close"), value: null}]).map((b) =>
                        Studio.h("button.ls-button", {type: "button", class: b.kind ? "ls-" + b.kind : "", onclick: () => close(b.value)}, b.text)))));
            document.addEventListener("keydown", onKey, true);
            Studio.root.append(veil);
            const last = veil.querySelector("input, select, textarea") || veil.querySelector("button.ls-primary, button.ls-danger, button");
            if (last) last.focus();
        });
    };
    Studio.confirm = ({title, body, ok, kind = "primary"}) =>
        Studio.dialog({title, body, buttons: [{text: Studio.t("Cancel"), value: false}, {text: ok, value: true, kind}]}).then(Boolean);

    // -- long work -----------------------------------------------------------
    // A bar that follows the jobs of one kind in the open project: jobBar("crop", (job) => …when it ended). Gives {node, follow(job), running()}.
    // {page: true}: jobs of no project; the caller shows how they failed.
    Studio.jobBar = function (kind, ended, {page = false} = {}) {
        const text = Studio.h("div.ls-job-text"), fillBar = Studio.h("div.ls-bar-fill");
        const stop = Studio.button(Studio.t("Stop"), () => Studio.api.post(Studio.p`jobs/${current.id}/cancel`), {kind: "small"});
        const node = Studio.h("div.ls-job", {hidden: true, dataset: {job: kind}}, Studio.h("div.ls-bar", {role: "progressbar"}, fillBar), Studio.h("div.ls-row", {}, text, stop));
        let current = null;
        const seen = new Set();
        function follow(job) {
            if (!job || job.kind !== kind || seen.has(job.id)) return;
            current = job;
            node.hidden = job.state !== "running";
            fillBar.classList.toggle("ls-unknown", !job.total);
            fillBar.style.width = job.total ? (100 * job.done / job.total).toFixed(1) + "%" : "";
            node.firstChild.setAttribute("aria-valuenow", job.total ? Math.round(100 * job.done / job.total) : 0);
            const rate = job.rate ? (job.rate >= 1 ? Studio.t("{n}/s", {n: job.rate.toFixed(1)}) : Studio.t("{n} s each", {n: (1 / job.rate).toFixed(1)})) : "";
            const left = job.seconds_left ? Studio.t("{time} left", {time: Studio.duration(job.seconds_left)}) : "";
            text.textContent = [job.total ? job.done + " / " + job.total : job.done || "", rate, left, Studio.ts(job.message)].filter(Boolean).join(" · ");
            if (job.state !== "running") {
                seen.add(job.id);
                if (job.state === "failed" && !page) Studio.fail(new ApiError(422, {error: job.error, hint: job.hint}));
                if (job.state === "cancelled") Studio.toast(Studio.t("Stopped. What was done so far is kept."));
                if (ended) Studio.attempt(() => ended(job));
            }
        }
        const wanted = () => (page ? "" : Studio.state.project ? Studio.state.project.id : null);
        Studio.on("job", (job) => job.project === wanted() && follow(job));
        const look = async () => {
            const id = wanted();
            if (id === null) { node.hidden = true; return; }
            const found = await Studio.api.get("jobs", {project: id}).catch(() => ({jobs: []}));
            if (!current || current.project !== id) node.hidden = true;
            for (const job of found.jobs.filter((j) => j.kind === kind && j.project === id && (j.state === "running" || (current && j.id === current.id)))) follow(job);
        };
        Studio.on("project", look);
        Studio.on("reload", look);
        if (page) look();
        return {node, follow, running: () => Boolean(current && current.state === "running")};
    };

    // -- keyboard ------------------------------------------------------------
    // keys("edit", [{key: "Delete", text: t("Remove…"), run}]): work only while our tab and that step are in sight, never in a field, never while
    // an input method is composing. key: "z", "ctrl+z", "shift+ctrl+z", "Delete", "?" …; ctrl is Command on a Mac.
    const shortcuts = new Map();
    Studio.keys = (step, list) => shortcuts.set(step, list);
    Studio.shortcuts = () => shortcuts;
    Studio.onKey = function (event) {
        if (event.isComposing || event.keyCode === 229 || event.defaultPrevented || !Studio.visible) return;
        if (!Studio.root || Studio.root.querySelector(".ls-veil")) return;
        const at = event.target;
        if (at !== document.body && at !== document.documentElement && !Studio.root.contains(at)) return;
        const field = at.closest && at.closest("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable=true]");
        const name = [event.shiftKey && event.key.length > 1 ? "shift" : "", event.ctrlKey || event.metaKey ? "ctrl" : "", event.altKey ? "alt" : "", event.key.length === 1 ? event.key.toLowerCase() : event.key]
            .filter(Boolean).join("+");
        const shifted = event.shiftKey && event.key.length === 1 && (event.ctrlKey || event.metaKey) ? "shift+" + name : name;
        const presses = ["Enter", " "].includes(event.key) && at.closest && at.closest("button, a[href], summary"); // what has the focus is meant
        if (field || presses) return;
        for (const step of [Studio.state.step, "all"]) {
            const found = (shortcuts.get(step) || []).find((s) => s.key === shifted);
            if (found) { event.preventDefault(); found.run(event); return; }
        }
    };

    // -- fields --------------------------------------------------------------
    // field(label, control, {hint}) : a labelled control. The label is tied to the control for screen readers.
    let ids = 0;
    Studio.field = function (label, control, {hint, inline} = {}) {
        const input = control.matches && control.matches("input, select, textarea") ? control : control.querySelector("input, select, textarea");
        if (input && !input.id) input.id = "lora_studio_field_" + ++ids;
        const box = input && input.type === "checkbox";
        const text = Studio.h("label.ls-label", input ? {htmlFor: input.id} : {}, label);
        return Studio.h("div.ls-field", {class: inline || box ? "ls-inline" : ""}, box ? [control, text] : [text, control], hint ? Studio.h("div.ls-hint", {}, hint) : null);
    };
    Studio.select = (options, value, change, props) => Studio.h("select.ls-input", {...props, onchange: (e) => change && change(e.target.value)},
        options.map((o) => { const [v, text] = Array.isArray(o) ? o : [o, o]; return Studio.h("option", {value: v, selected: v === value}, text); }));
    Studio.debounce = function (fn, wait = 250) {
        let timer = 0;
        return (...args) => { clearTimeout(timer); timer = setTimeout(() => fn(...args), wait); };
    };

    // -- steps ---------------------------------------------------------------
    // panel("crop", {title, create(root) -> {show(), hide(), project()}}): one of the six. create runs once, when the step is first opened;
    // show each time it comes in sight, hide when it goes, project when another project was opened while it is in sight.
    Studio.panels = [];
    Studio.panel = (name, definition) => Studio.panels.push({name, ...definition});
})();
