// Step 1: the project. Make one by dropping pictures, open one, look at what is in it and what to think of it.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, p} = Studio;

    Studio.panel("project", {
        title: "Project",
        create(root) {
            const page = h("div.ls-project");
            root.append(page);
            let shown = null, where = "", sheet = null, bring = null, imports = null, checks = null, advice = null, trigger = null;

            // -- no project yet: those that are there, and a new one -------------------
            async function list() {
                const {projects, unreadable, paths_allowed} = await Studio.api.get("projects");
                if (Studio.state.project) return;
                shown = null;
                Studio.fill(page, h("div.ls-card", {}, h("h3", {}, t("New project")), Studio.bringIn({target: make}).node),
                    projects.length ? h("h3", {}, t("Your projects")) : null,
                    h("div.ls-projects", {}, projects.map(card)),
                    unreadable.map((one) => h("p.ls-run-warning", {title: one.folder}, t("{name} cannot be opened.", {name: one.name}), " ", Studio.ts(one.reason))),
                    paths_allowed ? h("div.ls-row", {}, Studio.button(t("Open another folder…"), byPath, {kind: "small"})) : null);
            }
            function card(one) {
                const picture = one.cover ? h("img", {src: Studio.api.url(p`projects/${one.id}/pictures/${one.cover[0]}/${one.cover[1]}`, {size: 256}), alt: "", loading: "lazy"}) : h("div.ls-project-empty", {}, "+");
                const open = h("button.ls-project-card", {type: "button", title: one.folder, onclick: () => Studio.attempt(() => enter(one.id))}, picture, h("strong", {translate: "no"}, one.name), h("span.ls-hint", {}, t("{n} {picture|pictures}", {n: one.pictures}), one.trigger ? " · " + one.trigger : ""));
                const forget = one.id.startsWith("@") ? h("button.ls-close.ls-project-forget", {type: "button", title: t("Take off the list"), "aria-label": t("Take off the list"), onclick: () => Studio.attempt(async () => { await Studio.api.delete(p`projects/${one.id}`); await list(); })}, "×") : null;
                return h("div.ls-project-slot", {}, open, forget);
            }
            async function enter(id) { await Studio.openProject(id); }

            // The name is the LoRA's file name too: it is asked once there is something to put in.
            async function make(proposal) {
                const input = h("input.ls-input", {type: "text", value: proposal.replace(/[\\/:*?"<>|]/g, "_").slice(0, 60), spellcheck: false, maxLength: 80});
                for (;;) {
                    const ok = await Studio.dialog({title: t("Name of the project"), body: Studio.field(t("Name"), input, {hint: t("Short and of its own, like hanako_v1: the LoRA files are called so.")}),
                        buttons: [{text: t("Cancel"), value: false}, {text: t("Make it"), value: true, kind: "primary"}]});
                    if (!ok) return null;
                    try {
                        const made = await Studio.api.post("projects", {name: input.value.trim()});
                        await enter(made.id);
                        return made.id;
                    } catch (error) { Studio.fail(error); }
                }
            }
            async function byPath() {
                const input = h("input.ls-input", {type: "text", spellcheck: false});
                const ok = await Studio.dialog({title: t("Open another folder"), body: Studio.field(t("Path of a project or of a Loras/<name> folder on this machine"), input), buttons: [{text: t("Cancel"), value: false}, {text: t("Open"), value: true, kind: "primary"}]});
                if (ok && input.value.trim()) await enter((await Studio.api.post("projects/open", {path: input.value.trim()})).id);
            }

            // -- a project ----------------------------------------------------------------
            function build() {
                imports = imports || Studio.jobBar("import", imported);
                checks = checks || Studio.jobBar("check", () => look());
                bring = Studio.bringIn({target: async () => Studio.state.project.id, started: imports.follow});
                sheet = Studio.contactSheet({removed: () => load(), turned: (folder) => Studio.attempt(() => turn(folder))});
                advice = h("div.ls-card.ls-advice", {hidden: true});
                trigger = h("input", {type: "text", spellcheck: false, maxLength: 80, onchange: () => Studio.attempt(setTrigger)});
                Studio.fill(page,
                    h("div.ls-row.ls-project-top", {}, Studio.button(t("All projects"), () => Studio.openProject(null), {kind: "small"}), Studio.button(t("Rename…"), rename, {kind: "small"}), h("span.ls-hint.ls-project-path", {translate: "no"}, Studio.state.project.folder)),
                    h("div.ls-columns", {},
                        h("div", {}, h("div.ls-card", {}, h("h3", {}, t("Add pictures")), bring.node, imports.node), advice, checks.node,
                            h("div.ls-card", {}, Studio.field(t("Trigger word"), trigger, {hint: t("A word of its own that no model knows, like hanako. It comes first in every caption once traits are removed under Edit.")}))),
                        sheet.node));
            }
            async function load() {
                const project = Studio.state.project;
                if (!project) return list();
                if (shown !== project.id) { shown = project.id; where = ""; build(); }
                if (document.activeElement !== trigger) trigger.value = project.trigger;
                const [raw, dataset] = await Promise.all(["raw", "dataset"].map((folder) => Studio.api.get(p`projects/${project.id}/pictures`, {where: folder, limit: 1})));
                if (shown !== project.id) return;
                const counts = {raw: raw.total, dataset: dataset.total};
                if (!counts[where]) where = raw.total || raw.unreadable.length ? "raw" : "dataset";
                await sheet.load(project.id, where, counts);
                await bring.load(project.id);
                await look(true);
            }
            async function turn(folder) { if (folder !== where) { where = folder; await load(); } }
            async function rename() {
                const {id, name} = Studio.state.project, input = h("input.ls-input", {type: "text", value: name, spellcheck: false, maxLength: 80});
                for (;;) {
                    const ok = await Studio.dialog({title: t("Rename the project"), buttons: [{text: t("Cancel"), value: false}, {text: t("Rename"), value: true, kind: "primary"}],
                        body: Studio.field(t("Name"), input, {hint: t("LoRA files that are there keep their names; the next training takes the new one.")})});
                    if (!ok) return;
                    try {
                        await Studio.openProject((await Studio.api.post(p`projects/${id}/rename`, {name: input.value.trim()})).id);
                        return;
                    } catch (error) { Studio.fail(error); }
                }
            }
            async function setTrigger() {
                await Studio.api.put(p`projects/${shown}`, {trigger: trigger.value.trim()});
                await Studio.refresh();
            }
            async function imported(job) {
                if (job.state === "done") {
                    const {added, skipped} = job.result;
                    Studio.toast(t("{n} {picture was|pictures were} added.", {n: added.length}), "ok");
                    await Studio.leftOut(skipped);
                }
                await load();
            }

            // -- what to think of the pictures ---------------------------------------------
            async function look(start) {
                const id = shown;
                if (!id) return;
                const found = await Studio.api.get(p`projects/${id}/check`);
                if (id !== shown) return;
                sheet.badges(found);
                // Looked at by itself once pictures came in; thousands only when asked.
                if (start && found.pending && found.pending <= 500 && !checks.running() && !imports.running()) await Studio.api.post(p`projects/${id}/check`).then(checks.follow, () => null);
                advice.hidden = !found.advice.length && !found.pending && !found.total;
                Studio.fill(advice, h("h3", {}, t("The pictures")),
                    found.advice.map((one) => h("div.ls-advice-row", {dataset: {kind: one.kind}}, h("span", {}, t(one.text, one.values)),
                        one.names.length ? h("button.ls-link", {type: "button", onclick: () => Studio.attempt(async () => { await turn(found.where); sheet.choose(one.names); })}, t("select them")) : null,
                        one.kind === "double" ? Studio.button(t("Take the lesser ones out"), async () => { await turn(found.where); await sheet.takeOut(one.names); }, {kind: "small", title: t("Of each group the largest stays, among equals the sharpest. They can be brought back.")}) : null)),
                    found.total && !found.advice.length && !found.pending ? h("div.ls-ok-text", {}, t("Nothing to complain of.")) : null,
                    found.pending > 500 && !checks.running() ? h("div.ls-row", {}, Studio.button(t("Look at {n} {picture|pictures}", {n: found.pending}), async () => checks.follow(await Studio.api.post(p`projects/${id}/check`)), {kind: "small"})) : null);
            }
            Studio.on("changed", Studio.debounce(() => { if (shown && Studio.state.step === "project" && Studio.visible) Studio.attempt(load); }, 500));
            Studio.on("reload", () => { if (Studio.state.step === "project" && Studio.visible) Studio.attempt(load); });
            return {show: load, project: load};
        },
    });
})();
