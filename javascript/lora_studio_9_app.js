// The application: the row of six steps, the line that says what to do next, and what opens a project.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const ORDER = ["project", "crop", "tag", "edit", "train", "test"];
    let tabs = {}, bodies = {}, live = {}, headline = null, mounted = null;

    async function mount(root) {
        mounted = root;
        Studio.root = root;
        tabs = {}; bodies = {}; live = {};
        try {
            const session = await Studio.api.get("session");
            Studio.state.session = session;
            Studio.setWords(session.locale, session.words);
        } catch (error) {
            root.replaceChildren(h("div.ls-empty", {}, Studio.ts(error.message), h("div.ls-hint", {}, Studio.ts(error.hint)), h("button.ls-button", {type: "button", onclick: () => mount(root)}, t("Try again"))));
            return;
        }
        root.lang = Studio.locale.replace("_", "-");
        const bar = h("div.ls-steps", {role: "tablist", "aria-label": t("Steps")});
        const stage = h("div.ls-stage");
        headline = h("div.ls-headline");
        for (const name of ORDER) {
            const panel = Studio.panels.find((p) => p.name === name);
            if (!panel) continue;
            const tab = h("button.ls-step", {type: "button", role: "tab", id: "lora_studio_tab_" + name, "aria-controls": "lora_studio_panel_" + name, dataset: {step: name}, onclick: () => open(name)},
                h("span.ls-step-mark", {"aria-hidden": "true"}, String(ORDER.indexOf(name) + 1)), h("span.ls-step-title", {}, t(panel.title)), h("span.ls-step-note"));
            tabs[name] = tab;
            bar.append(tab);
            bodies[name] = h("div.ls-panel", {role: "tabpanel", id: "lora_studio_panel_" + name, "aria-labelledby": tab.id, hidden: true, dataset: {step: name}});
            stage.append(bodies[name]);
        }
        bar.addEventListener("keydown", (e) => {
            const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
            if (!step) return;
            const names = Object.keys(tabs), next = names[(names.indexOf(Studio.state.step) + step + names.length) % names.length];
            open(next); tabs[next].focus();
            e.preventDefault();
        });
        const help = h("button.ls-button.ls-small", {type: "button", title: t("Keyboard shortcuts (?)"), "aria-label": t("Keyboard shortcuts (?)"), onclick: shortcuts}, "?");
        root.replaceChildren(h("div.ls-top", {}, bar, help), headline, stage, h("div.ls-toasts", {"aria-live": "polite"}));
        Studio.keys("all", [{key: "?", text: t("Show the keyboard shortcuts"), run: shortcuts}, ...ORDER.filter((name) => tabs[name]).map((name, k) => ({key: "alt+" + (k + 1), text: t("Step {n}: {name}", {n: k + 1, name: t(Studio.panels.find((p) => p.name === name).title)}), run: () => open(name)}))]);
        root.classList.add("ls-ready");
        const wanted = Studio.remembered("project");
        if (wanted) await openProject(wanted).catch(() => Studio.remember("project", ""));
        if (!Studio.state.project && Studio.visible) Studio.listen("");
        open(Studio.state.project ? Studio.remembered("step") || "project" : "project");
        Studio.emit("mounted", root);
    }

    function shortcuts() {
        const rows = (name) => (Studio.shortcuts().get(name) || []).map((s) => h("tr", {}, h("td", {}, h("kbd", {}, s.key.replace("ctrl", /Mac/.test(navigator.platform) ? "⌘" : "Ctrl").replace(/\+/g, " + "))), h("td", {}, s.text)));
        Studio.dialog({title: t("Keyboard shortcuts"), body: h("table.ls-keys", {}, h("tbody", {}, rows(Studio.state.step), rows("all")))});
    }

    // Small things remembered in this browser: the open project and step.
    Studio.remembered = (key) => { try { return localStorage.getItem("lora_studio." + key) || ""; } catch (error) { return ""; } };
    Studio.remember = (key, value) => { try { localStorage.setItem("lora_studio." + key, value); } catch (error) { /* private mode */ } };

    function open(name) {
        if (!bodies[name]) name = "project";
        const before = Studio.state.step;
        if (live[before] && before !== name && live[before].hide) live[before].hide();
        Studio.state.step = name;
        for (const [each, body] of Object.entries(bodies)) {
            body.hidden = each !== name;
            tabs[each].setAttribute("aria-selected", String(each === name));
            tabs[each].tabIndex = each === name ? 0 : -1;
        }
        if (!live[name]) live[name] = Studio.panels.find((p) => p.name === name).create(bodies[name]) || {};
        if (live[name].show) Studio.attempt(() => live[name].show());
        Studio.remember("step", name);
        Studio.emit("step", name);
        head();
    }
    Studio.open = open;

    // Opens a project by its id for every step (null closes it).
    async function openProject(id) {
        Studio.state.project = id ? await Studio.api.get(Studio.p`projects/${id}`) : null;
        Studio.remember("project", id || "");
        Studio.listen(Studio.visible === false ? null : id || "");
        Studio.emit("project", Studio.state.project);
        head();
        if (live[Studio.state.step] && live[Studio.state.step].project) await live[Studio.state.step].project();
        return Studio.state.project;
    }
    Studio.openProject = openProject;

    // Ask anew how the project stands (after a job, an edit, another tab's change); the marks of the steps follow.
    let asking = null;
    Studio.refresh = function () {
        if (!Studio.state.project) return Promise.resolve(null);
        const id = Studio.state.project.id;
        asking = asking || Studio.api.get(Studio.p`projects/${id}`).then((found) => {
            if (Studio.state.project && Studio.state.project.id === id) { Studio.state.project = found; head(); Studio.emit("refreshed", found); }
            return found;
        }).finally(() => { asking = null; });
        return asking;
    };

    // overview: {step: {done: bool, note: [text, values], next: [text, values]}} from the server.
    function head() {
        const project = Studio.state.project, overview = (project && project.overview) || {};
        for (const [name, tab] of Object.entries(tabs)) {
            const step = overview[name] || {};
            tab.classList.toggle("ls-done", Boolean(step.done));
            tab.querySelector(".ls-step-mark").textContent = step.done ? "✓" : String(ORDER.indexOf(name) + 1);
            tab.querySelector(".ls-step-note").textContent = step.note ? t(step.note[0], step.note[1]) : "";
        }
        const next = (overview[Studio.state.step] || {}).next, go = next && next[2];
        headline.replaceChildren();
        Studio.append(headline, [
            project ? h("span.ls-project-name", {}, project.name) : null,
            h("span.ls-next", {}, project ? (next ? t(next[0], next[1]) : "") : t("Make a project or open one: everything else starts there.")),
            go && go !== Studio.state.step ? h("button.ls-button.ls-small", {type: "button", onclick: () => open(go)}, t("Go there")) : null,
        ]);
    }

    Studio.visible = false;
    function sight(root) {
        new IntersectionObserver((entries) => {
            const now = entries[entries.length - 1].isIntersecting;
            if (now === Studio.visible) return;
            Studio.visible = now;
            if (!Studio.state.session) return;
            Studio.listen(now ? (Studio.state.project ? Studio.state.project.id : "") : null);
            if (now) { Studio.refresh(); Studio.emit("show"); if (live[Studio.state.step] && live[Studio.state.step].show) Studio.attempt(() => live[Studio.state.step].show()); }
            else Studio.emit("hide");
        }).observe(root);
    }
    Studio.on("job", (job) => { if (job.state !== "running") Studio.refresh(); });
    Studio.on("dataset", Studio.debounce(() => Studio.refresh(), 400));
    Studio.on("changed", Studio.debounce(() => Studio.refresh(), 400));
    Studio.on("changed", (message) => { if (message.renamed && Studio.state.project && message.project === Studio.state.project.id) Studio.attempt(() => openProject(message.renamed)); });
    Studio.on("run", Studio.debounce(() => Studio.refresh(), 1500));

    // gradio builds its page late, and from version 4 on builds a tab when it is opened.
    function look() {
        const host = typeof gradioApp === "function" ? gradioApp() : document;
        const root = host.querySelector("#lora_studio");
        if (!root || root === mounted) return;
        // gradio lays out what an HTML component holds like an article, down to every button and table cell: ours is none.
        for (let node = root.parentElement; node; node = node.parentElement) node.classList.remove("prose", "gradio-style");
        mounted = root;
        sight(root);
        mount(root);
    }
    document.addEventListener("keydown", (e) => Studio.onKey(e));
    new MutationObserver(Studio.debounce(look, 60)).observe(document, {childList: true, subtree: true});
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", look); else look();
})();
