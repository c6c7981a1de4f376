// Step 3: tag. A tagger, thresholds whose effect is seen while they move, and the run itself.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    const EXISTING = [["skip", "keep them as they are"], ["overwrite", "write them anew"], ["merge", "add what is missing"], ["append", "append"], ["prepend", "put before"]];

    Studio.panel("tag", {
        title: "Tag",
        create(root) {
            const page = h("div.ls-tagging");
            root.append(page);
            let project = null, models = [], state = null, options = null, names = [], seed = 0, asked = 0, found = null, form = null;
            const report = h("div.ls-tag-report"), summary = h("div.ls-hint.ls-tag-summary");
            const bar = Studio.jobBar("tag", ended), fetching = Studio.jobBar("tagger", fetched, {page: true});
            const preview = Studio.tagPreview({exclude: leaveOut, others: () => { seed += 1; names = []; return look(); }});
            const start = Studio.button(t("Tag"), begin, {kind: "primary", class: "ls-tag-start"});
            const empty = (text, button, step) => Studio.fill(page, h("div.ls-empty", {}, h("p", {}, text), h("button.ls-button.ls-primary", {type: "button", onclick: () => Studio.open(step)}, button)));

            async function load() {
                const opened = Studio.state.project;
                if (!opened) { project = null; return empty(t("No project is open."), t("Choose a project"), "project"); }
                const id = opened.id, [list, now] = await Promise.all([Studio.api.get("tagging/models"), Studio.api.get(p`projects/${id}/tagging`)]);
                if (Studio.state.project !== opened && (!Studio.state.project || Studio.state.project.id !== id)) return;
                models = list.models;
                state = now;
                if (!state.pictures) { project = null; return empty(t("There is nothing to tag yet: crop the pictures first."), t("Go to Crop"), "crop"); }
                if (id !== project) {
                    project = id;
                    report.replaceChildren();
                    options = {...state.options};
                    if (!chosen().length || chosen().some((one) => !one)) options.model = (models.find((m) => m.here && m.kind !== "demo") || models.find((m) => m.name === "wd-swinv2-tagger-v3") || models[0]).name;
                    if (!state.chosen && !model().here && /demo/i.test(opened.name) && models.some((m) => m.kind === "demo")) options.model = "demo";
                    build();
                } else drawModel();
                await look();
            }
            // "a+b": taggers that judge together.
            const chosen = () => options.model.split("+").map((name) => models.find((m) => m.name === name));
            const model = () => chosen()[0];
            function take(first, second) {
                options.model = [first, second === first ? "" : second].filter(Boolean).join("+");
                options.general_threshold = options.character_threshold = null;
                names = [];
                drawModel();
            }

            // -- settings -------------------------------------------------------------------
            function build() {
                const check = (name) => h("input", {type: "checkbox", checked: options[name], dataset: {name}, onchange: (e) => { options[name] = e.target.checked; draw(); }});
                const tags = (name, hint) => { const box = Studio.tagInput({multiple: true, value: options[name].join(", "), label: hint, placeholder: ""}); box.input.addEventListener("change", () => { options[name] = Studio.splitTags(box.input.value); soon(); }); box.input.dataset.name = name; return box; };
                form = {
                    facts: h("div"),
                    general: slider("general_threshold"), character: slider("character_threshold"),
                    exclude: tags("exclude", t("Tags to leave out")), add: tags("add", t("Tags to put first")),
                    rename: h("input", {type: "text", spellcheck: false, dataset: {name: "rename"}, value: options.rename.map(([a, b]) => a + "=" + b).join(", "), onchange: (e) => { options.rename = Studio.splitTags(e.target.value).map((x) => x.split("=").map((y) => y.trim())).filter((x) => x.length === 2 && x[0] && x[1]); soon(); }}),
                    model: h("select.ls-input", {dataset: {name: "model"}, onchange: (e) => take(e.target.value, form.second.value)}),
                    second: h("select.ls-input", {dataset: {name: "second"}, onchange: (e) => take(form.model.value, e.target.value)}),
                };
                const left = h("div.ls-card.ls-tag-settings", {},
                    h("h3", {}, t("Tagger")), Studio.field(t("Model"), form.model),
                    Studio.field(t("Together with"), form.second, {hint: t("Two judge better than one, and take twice as long: their probabilities are averaged.")}), form.facts, fetching.node,
                    h("h4", {}, t("How sure the tagger has to be")), form.general.node, form.character.node,
                    Studio.field(t("A threshold for each picture (MCut)"), check("mcut"), {hint: t("Where its probabilities fall most steeply, instead of the two above.")}),
                    h("h4", {}, t("What is written")),
                    Studio.field(t("Leave out"), form.exclude.node, {hint: t("Click a tag on the right to put it here.")}), Studio.field(t("Put first"), form.add.node),
                    Studio.field(t("Replace (old=new, …)"), form.rename),
                    Studio.field(t("Pictures that have tags already"), Studio.select(EXISTING.map(([v, text]) => [v, t(text)]), options.on_existing, (v) => { options.on_existing = v; draw(); }, {dataset: {name: "on_existing"}})),
                    h("details", {}, h("summary", {}, t("Spelling")),
                        Studio.field(t("Keep underscores"), check("underscores")), Studio.field(t("Escape brackets for prompts"), check("escape")), Studio.field(t("Add the rating"), check("ratings"))));
                Studio.fill(page, h("div.ls-columns", {}, left, h("div", {}, h("div.ls-card", {}, h("div.ls-row", {}, start, summary), bar.node, report), preview.node)));
                drawModel();
            }
            // A threshold: null stands for the model's own.
            function slider(name) {
                const general = name === "general_threshold";
                const range = h("input", {type: "range", min: 0.05, max: 1, step: 0.01, dataset: {name}, oninput: () => { options[name] = Number(range.value); label(); soon(); }});
                const value = h("span.ls-threshold"), own = h("button.ls-link", {type: "button", onclick: () => { options[name] = null; label(); soon(); }}, t("the model's own"));
                const own_value = () => { const known = chosen().filter(Boolean); return known.length ? known.reduce((sum, m) => sum + m[name], 0) / known.length : 0.35; };
                function label() {
                    range.value = options[name] === null ? own_value() : options[name];
                    range.disabled = options.mcut;
                    value.textContent = Number(range.value).toFixed(2);
                    own.hidden = options[name] === null || Math.abs(options[name] - own_value()) < 0.005;
                }
                return {label, node: Studio.field(general ? t("Tags") : t("Characters"), h("div.ls-row.ls-nowrap", {}, range, value), {hint: own})};
            }
            function drawModel() {
                const name = (m) => (m.kind === "demo" ? t("Demo (knows the demo's drawn pictures only)") : m.name) + (m.here ? "" : " · " + t("to download, {size}", {size: Studio.bytes(m.size)}));
                const [first, second] = options.model.split("+");
                const group = (title, list, now) => (list.length ? h("optgroup", {label: title}, list.map((m) => h("option", {value: m.name, selected: m.name === now}, name(m)))) : null);
                const groups = (list, now) => [group(t("On this machine"), list.filter((m) => m.here), now), group(t("To download"), list.filter((m) => !m.here), now)];
                Studio.fill(form.model, groups(models, first));
                Studio.fill(form.second, h("option", {value: ""}, t("no other")), groups(models.filter((m) => m.name !== first), second));
                draw();
            }
            function draw() {
                const found = chosen().filter(Boolean), rows = Math.min(...found.map((m) => state.stored[m.name] || 0), state.pictures);
                Studio.fill(form.facts, found.map((m) => h("div.ls-hint", {}, ts(m.about))),
                    found.filter((m) => !m.here).map((m) => h("div.ls-row", {}, Studio.button(m.part ? t("Go on downloading ({n} here)", {n: Studio.bytes(m.part)}) : t("Download ({n})", {n: Studio.bytes(m.size)}), async () => fetching.follow(await Studio.api.post(p`tagging/models/${m.name}/download`)), {kind: "small"}))),
                    rows ? h("div.ls-hint", {}, t("{n} of {total} pictures read by it already: thresholds need no second run.", {n: rows, total: state.pictures})) : null);
                form.general.label();
                form.character.label();
                soon();
            }
            function leaveOut(tag) {
                if (!options.exclude.includes(tag)) options.exclude = [...options.exclude, tag];
                form.exclude.set(options.exclude.join(", "));
                soon();
            }

            // -- what it would do -----------------------------------------------------------
            async function look() {
                if (!project) return;
                const mine = ++asked, id = project;
                try {
                    const got = await Studio.api.post(p`projects/${id}/tagging/preview`, {options, names, count: 6, seed});
                    if (mine !== asked || id !== project) return;
                    found = got && got.samples ? got : null;
                } catch (error) {
                    if (mine !== asked) return;
                    found = null;
                    summary.textContent = ts(error.message);
                    return;
                }
                if (found) names = found.samples.map((s) => s.name);
                preview.show(id, found);
                const write = found ? found.write : state.pictures, kept = found ? found.kept : 0;
                summary.textContent = Studio.sentences(write ? t("{n} {caption|captions} will be written.", {n: write}) : t("Every picture has tags already."), kept ? t("{n} {stays as it is|stay as they are}.", {n: kept}) : "", found && found.instant && write ? t("At once: their probabilities are stored.") : "");
                start.disabled = !write || bar.running() || (Boolean(model()) && !ready());
                if (!ready()) summary.textContent = t("The training packages are not installed yet: see the top of the page.");
            }
            const soon = Studio.debounce(() => Studio.attempt(look), 100);
            // Without onnxruntime nothing can be read; what is stored can still be written.
            const ready = () => Studio.state.session.environment.ready || Boolean(found && found.instant);

            async function begin() {
                report.replaceChildren();
                bar.follow(await Studio.api.post(p`projects/${project}/tagging/start`, options));
                start.disabled = true;
            }
            async function ended(job) {
                if (job.state === "done") {
                    const r = job.result;
                    Studio.fill(report,
                        h("div.ls-ok-text", {}, t("{n} {caption|captions} written, {kept} kept, {rate} pictures a second.", {n: r.tagged, kept: r.kept, rate: r.images_per_second.toFixed(1)})),
                        h("div.ls-hint", {}, r.explanation ? ts(r.explanation) : t("From stored probabilities; the model was not needed.")),
                        r.warnings.map((w) => h("div.ls-run-warning", {}, ts(w))),
                        r.skipped.length ? h("details.ls-hint", {}, h("summary", {}, t("{n} {picture was|pictures were} left out", {n: r.skipped.length})), r.skipped.map(([name, reason]) => h("div", {}, h("strong", {translate: "no"}, name), ": ", ts(reason)))) : null,
                        h("div.ls-row", {}, Studio.button(t("Go on to Edit"), () => Studio.open("edit"), {kind: "small"})));
                }
                await load();
            }
            async function fetched(job) {
                if (job.state === "failed") Studio.toast(ts(job.error), "error", ts(job.hint));
                if (job.state === "done") Studio.toast(t("{name} is here.", {name: job.result.name}), "ok");
                if (Studio.state.step === "tag") await load();
            }
            Studio.on("dataset", Studio.debounce(() => { if (Studio.state.step === "tag" && Studio.visible && !bar.running()) Studio.attempt(load); }, 600));
            Studio.on("reload", () => { if (Studio.state.step === "tag" && Studio.visible) Studio.attempt(load); });
            return {show: load, project: load};
        },
    });
})();
