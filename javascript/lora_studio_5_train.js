// Step 5: train. A base, a card, options that differ; what it will take is said before it starts. The run itself is a process of its own.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    const CARDS = [
        ["character", "Character", "A person or figure, with everything that belongs to it. About 10 epochs."],
        ["face", "Face", "A face alone: a smaller LoRA that leaves clothes and body to the prompt."],
        ["style", "Style", "How pictures are drawn: a larger LoRA, mirrored pictures, some without a caption."],
        ["quick", "Quick test", "Two short epochs, to see in minutes that everything works."],
    ];
    const PERSONAL = ["output_name", "trigger", "sample_prompts", "vae", "network_weights", "repeats", "mask_dir", "reg_dir", "reg_repeats"]; // of this project alone: not for a preset

    Studio.panel("train", {
        title: "Train",
        create(root) {
            const page = h("div.ls-train");
            root.append(page);
            let project = null, form = null, options = null, draft = null, history = null, asked = 0, starting = false;
            let choice = {base: "", preset: "character", settings: {}}, release = null;

            const picker = Studio.basePicker({picked: (path) => { choice.base = path; look(); }});
            const card = Studio.runCard({changed: () => Studio.attempt(() => loadHistory(false))});
            const past = Studio.runHistory({open: (name) => { shown = name; Studio.attempt(() => card.show(project, name)); past.draw(project, history, name); card.node.scrollIntoView({block: "nearest"}); }, changed: (found) => { history = found; follow(); }});
            const cards = h("div.ls-cards", {role: "radiogroup", "aria-label": t("What do you train?")});
            const own = h("div.ls-row.ls-own-presets"), side = h("aside.ls-card.ls-preflight", {"aria-label": t("Before it starts")}), main = h("div");
            const maker = h("details.ls-card.ls-new-training", {open: true},
                h("summary", {}, h("h3", {}, t("New training"))),
                h("h4", {}, t("Base model")), picker.node, h("h4", {}, t("What do you train?")), cards, own,
                h("div.ls-train-columns", {}, main, side));
            const carry = Studio.carry({choice: () => choice, runs: () => (history ? history.runs : []), changed: () => Studio.attempt(() => loadHistory(true))});
            let shown = "";
            const empty = (text, button, step) => Studio.fill(page, h("div.ls-empty", {}, h("p", {}, text), h("button.ls-button.ls-primary", {type: "button", onclick: () => Studio.open(step)}, button)));

            async function load() {
                const opened = Studio.state.project;
                if (!opened) { project = null; empty(t("No project is open."), t("Choose a project"), "project"); return; }
                const id = opened.id, fresh = id !== project;
                if (fresh) { project = id; draft = null; shown = ""; card.clear(); }
                if (!form) { form = await Studio.api.get("training/form"); options = Studio.optionForm({groups: form.groups, changed: (settings) => { choice.settings = {...settings}; look(); }}); main.append(options.node); }
                const [found] = await Promise.all([Studio.api.get(p`projects/${id}/runs`), picker.load()]);
                if (id !== project) return;
                history = found;
                if (!page.contains(maker)) Studio.fill(page, card.node, maker, carry.node, past.node);
                if (fresh) {
                    choice = remembered() || {base: "", preset: "character", settings: {}, ...(found.chosen || {})};
                    choice.base = picker.known(choice.base) || picker.proposal();
                    picker.set(choice.base);
                    options.set(choice.settings);
                    maker.open = !history.runs.some((r) => r.state === "running");
                }
                drawPresets();
                await Promise.all([follow(), carry.load(id)]);
                await ask();
            }

            // -- what was chosen: kept in this browser until it is started -------------
            const key = () => "train." + project;
            // What was stored with the project since (a training was started, settings were imported) comes before what was typed here earlier.
            const stored = () => JSON.stringify((history && history.chosen) || null);
            function remembered() {
                try { const found = JSON.parse(Studio.remembered(key())); return found && found.from === stored() ? {base: found.base, preset: found.preset, settings: {...found.settings}} : null; } catch (error) { return null; }
            }
            const keep = () => Studio.remember(key(), JSON.stringify({...choice, from: stored()}));
            function look() { keep(); drawPresets(); askSoon(); }

            function drawPresets() {
                const pick = (name, settings) => { choice.preset = name; if (settings) { choice.settings = settings; options.set(settings); } look(); };
                Studio.fill(cards, CARDS.map(([name, title, text]) => h("button.ls-choice", {type: "button", role: "radio", tabIndex: choice.preset === name || !CARDS.some(([x]) => x === choice.preset) ? 0 : -1, "aria-checked": String(choice.preset === name), dataset: {preset: name}, onclick: () => pick(name)}, h("strong", {}, t(title)), h("span.ls-hint", {}, t(text)))));
                const mine = form.presets.filter((x) => x.own);
                Studio.fill(own,
                    mine.length ? [h("span.ls-hint", {}, t("My presets")), mine.map((x) => h("button.ls-toggle", {type: "button", "aria-pressed": String(choice.preset === x.name), title: x.problem ? Studio.ts(x.problem) : null, onclick: () => pick(x.name)}, x.name, x.problem ? " · " + t("cannot be read") : null))] : null,
                    Studio.button(t("Save as a preset…"), savePreset, {kind: "small"}),
                    Studio.state.session.paths_allowed ? Studio.button(t("Import from kohya…"), importKohya, {kind: "small", title: t("config.toml and dataset.toml of sd-scripts, or the .json of its GUI")}) : null,
                    mine.some((x) => x.name === choice.preset) ? Studio.button(t("Delete this preset"), removePreset, {kind: "small"}) : null);
            }
            async function savePreset() {
                const base = form.presets.find((x) => x.name === choice.preset && x.own);
                const input = h("input.ls-input", {type: "text", value: base ? base.name : ""});
                const ok = await Studio.dialog({title: t("Save as a preset"), body: h("div", {}, Studio.field(t("Name"), input), h("p.ls-hint", {}, t("What you changed is kept; everything else follows the card and the base model. Names, trigger word, repeats and sample prompts stay with this project."))),
                    buttons: [{text: t("Cancel"), value: false}, {text: t("Save"), value: true, kind: "primary"}]});
                const name = input.value.trim();
                if (!ok || !name) return;
                const kept = Object.fromEntries(Object.entries(choice.settings).filter(([k]) => PERSONAL.includes(k)));
                form = await Studio.api.put("training/presets", {name, preset: base ? base.preset : choice.preset, settings: {...(base ? base.settings : {}), ...choice.settings}});
                choice = {...choice, preset: (form.presets.find((x) => x.own && x.name === name.normalize("NFC")) || {name: choice.preset}).name, settings: kept};
                options.set(kept);
                look();
                Studio.toast(t("Saved: {name}", {name}), "ok");
            }
            // Settings of another trainer: they become a preset, which is chosen; what was not taken is said.
            async function importKohya() {
                const files = await new Promise((done) => {
                    const input = h("input", {type: "file", multiple: true, accept: ".toml,.json,.txt", onchange: () => done([...input.files]), oncancel: () => done([])});
                    input.click();
                });
                if (!files.length) return;
                const sent = await Promise.all(files.map(async (file) => ({name: file.name, text: await file.text()})));
                const found = await Studio.api.post(p`projects/${project}/training/import`, {files: sent});
                [form, history] = await Promise.all([Studio.api.get("training/form"), Studio.api.get(p`projects/${project}/runs`)]);
                choice = {base: picker.known(found.base) || choice.base, preset: found.preset, settings: {...found.settings}};
                picker.set(choice.base);
                options.set(choice.settings);
                look();
                const list = (title, items) => (items.length ? [h("h4", {}, title), h("ul", {}, items.map((x) => h("li", {translate: "no"}, Array.isArray(x) ? x[0] + ": " + ts(x[1]) : ts(x))))] : null);
                await Studio.dialog({title: t("Imported as the preset {name}", {name: found.preset}), wide: true, body: h("div", {},
                    list(t("Good to know"), found.notes), list(t("Not known, left out"), found.unknown), list(t("Not done as asked"), found.unsupported), list(t("Not needed here"), found.unneeded),
                    !found.notes.length && !found.unknown.length && !found.unsupported.length && !found.unneeded.length ? h("p", {}, t("Everything was taken.")) : null)});
            }
            async function removePreset() {
                const gone = form.presets.find((x) => x.name === choice.preset && x.own);
                if (!(await Studio.confirm({title: t("Delete the preset {name}?", {name: gone.name}), body: "", ok: t("Delete"), kind: "danger"}))) return;
                form = await Studio.api.delete(p`training/presets/${gone.name}`);
                choice.preset = CARDS.some(([name]) => name === gone.preset) ? gone.preset : "character";
                look();
            }

            // -- before it starts --------------------------------------------------------
            async function ask() {
                if (!project || !choice.base) { draft = null; drawSide(); return; }
                const mine = ++asked, id = project;
                side.classList.add("ls-asking");
                try {
                    const found = await Studio.api.post(p`projects/${id}/training/draft`, choice);
                    if (mine !== asked || id !== project) return;
                    draft = found;
                    options.draft(found);
                    picker.problems(found.problems.base || []);
                } catch (error) {
                    if (mine !== asked) return;
                    // A preset that is gone: the card that is always there.
                    if (error.status === 422 && !CARDS.some(([name]) => name === choice.preset)) { choice.preset = "character"; look(); return; }
                    Studio.fail(error);
                } finally { if (mine === asked) side.classList.remove("ls-asking"); }
                drawSide();
            }
            const askSoon = Studio.debounce(() => Studio.attempt(ask), 300);

            function drawSide() {
                const check = draft && draft.preflight, problems = Object.entries((draft && draft.problems) || {}).flatMap(([name, list]) => list.map((text) => [name, text]));
                const running = Boolean(history && history.runs.some((r) => r.state === "running")), ready = Studio.state.session.environment.ready;
                const fact = (name, value, hint) => h("div.ls-fact", {}, h("span", {}, name), h("strong", {translate: "no"}, value), hint ? h("div.ls-hint", {}, hint) : null);
                if (release === null) release = Boolean(Studio.state.session.settings.release_model);
                const box = h("input", {type: "checkbox", checked: release, onchange: () => { release = box.checked; }});
                const start = Studio.button(t("Start training"), () => begin(release), {kind: "primary", class: "ls-start"});
                start.disabled = !check || problems.length > 0 || running || !ready || starting;
                Studio.fill(side, h("h4", {}, t("Before it starts")),
                    check ? h("div.ls-facts", {},
                        fact(t("Pictures"), String(check.images), t("{n} an epoch with repeats", {n: check.images_with_repeats})),
                        fact(t("Steps"), check.steps.toLocaleString("en"), t("{n} an epoch × {epochs} {epoch|epochs}", {n: check.steps_per_epoch, epochs: check.epochs})),
                        fact(t("Time"), check.seconds === null ? "–" : Studio.duration(check.seconds), check.seconds === null ? t("Shown after a first run with this base and size.") : t("as fast as the last run like this")),
                        check.vram_needed && draft.vram.total ? fact(t("Graphics memory"), t("about {n}", {n: Studio.bytes(check.vram_needed)}), t("{n} free", {n: Studio.bytes(draft.vram.free)})) : null,
                        fact(t("Disk"), Studio.bytes(check.disk_needed), t("{n} free", {n: Studio.bytes(check.disk_free)}))) : null,
                    check && check.buckets.length > 1 ? h("details.ls-hint", {}, h("summary", {}, t("{n} {bucket|buckets}", {n: check.buckets.length})), check.buckets.map(([size, n]) => h("div", {}, size.replace("x", " × ") + ": " + n))) : null,
                    check ? tight(check) : null,
                    draft && draft.elsewhere.length ? h("div.ls-run-warning", {}, t("A training of {names} runs already: two at once share the graphics card and its memory.", {names: draft.elsewhere.join(", ")})) : null,
                    check ? check.warnings.map((text) => h("div.ls-run-warning", {}, ts(text))) : null,
                    problems.map(([name, text]) => h("div.ls-problem", {}, name ? h("button.ls-link", {type: "button", onclick: () => options.focus(name)}, name === "base" ? t("Base model") : options.label(name)) : null, name ? ": " : "", ts(text))),
                    !choice.base ? h("div.ls-problem", {}, t("Choose a base model first.")) : null,
                    !ready ? h("div.ls-problem", {}, t("The training packages are not installed yet: see the top of the page.")) : null,
                    running ? h("p.ls-hint", {}, t("A training runs already. Stop it, or wait for its end.")) : null,
                    Studio.state.session.has_txt2img ? Studio.field(t("Take the WebUI's checkpoint out of graphics memory"), box) : null,
                    start);
            }
            // The trainer measures by itself and splits batches; still it is good to know before.
            function tight(check) {
                const {free, total} = draft.vram;
                if (!check.vram_needed || !total || check.vram_needed <= free) return null;
                return h("div.ls-run-warning", {}, check.vram_needed > total
                    ? t("That is more than this graphics card has: lower the resolution or the batch size, or turn on gradient checkpointing.")
                    : t("That is more than is free now: close other programs that use the card, or take the WebUI's checkpoint out."));
            }

            // Arrow keys walk the cards, as they do in any row of choices.
            cards.addEventListener("keydown", (e) => {
                const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[e.key];
                if (!step) return;
                e.preventDefault();
                const at = CARDS.findIndex(([name]) => name === choice.preset), next = CARDS[(at + step + CARDS.length) % CARDS.length][0];
                cards.querySelector(`[data-preset=${next}]`).click();
                cards.querySelector(`[data-preset=${next}]`).focus();
            });
            Studio.keys("train", [{key: "/", text: t("Search in the options"), run: () => { maker.open = true; options.search(); }}]);

            async function begin(release) {
                starting = true;
                try {
                    const found = await Studio.api.post(p`projects/${project}/training/start`, {...choice, release: Boolean(Studio.state.session.has_txt2img && release)});
                    if (found.released) Studio.toast(ts(found.released.message));
                    shown = found.run;
                    maker.open = false;
                    await loadHistory(true);
                    keep();
                    card.node.scrollIntoView({block: "start", behavior: "smooth"});
                } finally { starting = false; drawSide(); }
            }

            // -- the runs ----------------------------------------------------------------
            async function loadHistory(reload) {
                const id = project;
                if (!id) return;
                const found = await Studio.api.get(p`projects/${id}/runs`);
                if (id !== project) return;
                history = found;
                await follow(reload);
            }
            // Which run is shown: the one that was asked for, else the one that runs, else the newest.
            async function follow() {
                const names = history.runs.map((r) => r.name);
                if (!names.includes(shown)) shown = (history.runs.find((r) => r.state === "running") || history.runs[0] || {name: ""}).name;
                past.draw(project, history, shown);
                drawSide();
                if (shown) await card.show(project, shown); else card.clear();
            }

            Studio.on("run", (message) => {
                if (!project || message.project !== project) return;
                if (!history || !history.runs.some((r) => r.name === message.run)) shown = ""; // a run that began elsewhere is shown
                card.event(message);
                if (message.more || message.ended || !history.runs.some((r) => r.name === message.run)) soon();
            });
            const soon = Studio.debounce(() => { if (Studio.state.step === "train" && Studio.visible) Studio.attempt(() => loadHistory(true)); }, 400);
            Studio.on("reload", () => soon());
            Studio.on("dataset", () => { if (project && Studio.state.step === "train") askSoon(); });
            Studio.on("environment", () => drawSide());
            return {show: load, project: load};
        },
    });
})();
