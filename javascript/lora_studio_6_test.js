// Step 6: test. Which epoch to use, why, and how: an evaluation's verdict, its pictures and numbers, the saved epochs, and grids of one's own.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;

    Studio.panel("test", {
        title: "Test",
        create(root) {
            const page = h("div.ls-test");
            root.append(page);
            let project = null;   // id of the project that is shown
            let tests = null;     // {runs, taggers} of the server
            let chosen = "";      // name of the run that is shown
            let shown = "";       // what is drawn now, as text: nothing is drawn twice
            let maker = null;     // the grid maker of the run that is shown
            let asked = 0;        // how often the server was asked: an answer that came late is not shown
            const bars = {evaluate: Studio.jobBar("evaluate", () => load()), grid: Studio.jobBar("grid", () => maker && maker.look())};

            const path = () => p`projects/${project}/runs/${chosen}`;
            const run = () => tests.runs.find((r) => r.name === chosen);
            const forEmpty = (text, button, step) => Studio.fill(page, h("div.ls-empty", {}, h("p", {}, text), h("button.ls-button.ls-primary", {type: "button", onclick: () => Studio.open(step)}, button)));

            async function load(force) {
                const open = Studio.state.project;
                if (!open) { project = null; shown = ""; return forEmpty(t("No project is open."), t("Choose a project"), "project"); }
                if (open.id !== project) { project = open.id; chosen = ""; shown = ""; maker = null; page.replaceChildren(); }
                const mine = ++asked, id = project, found = await Studio.api.get(p`projects/${id}/test`);
                if (id !== project || mine !== asked) return;
                tests = found;
                if (!tests.runs.length) { shown = ""; return forEmpty(t("Nothing was trained yet: there is nothing to test."), t("Go to Train"), "train"); }
                if (!run()) chosen = (tests.runs.find((r) => r.state === "finished" && r.epochs.length) || tests.runs.find((r) => r.epochs.length) || tests.runs[0]).name;
                const wanted = chosen, [view, loras] = await Promise.all([Studio.api.get(path() + "/evaluation"), Studio.api.get(p`projects/${id}/loras`)]);
                if (id !== project || wanted !== chosen || mine !== asked) return;
                if (view.gone) return load(force); // deleted in another window since the runs were listed
                const now = JSON.stringify([tests, chosen, view, loras]);
                if (now === shown && !force) return;
                shown = now;
                draw(view, loras);
            }

            function draw(view, loras) {
                const report = view.report;
                const own = loras.loras.filter((x) => x.run === chosen || !x.run);
                const context = {project, run: run(), path: path(), view, report, taggers: tests.taggers, loras: own, trash: loras.trash, reload: () => load()};
                const form = evaluateForm(context, bars.evaluate);
                Studio.fill(page,
                    h("div.ls-row.ls-test-top", {}, runChooser(),
                        h("span.ls-badge", {class: {finished: "ls-ok", failed: "ls-bad", crashed: "ls-bad", running: "ls-warn"}[run().state] || ""}, t(STATES[run().state] || run().state)),
                        h("div.ls-row.ls-test-tools", {},
                            report ? Studio.button(t("Evaluate again…"), () => { form.hidden = !form.hidden; }, {kind: "small"}) : null,
                            report ? Studio.button(t("Export report"), () => download(path() + "/evaluation/report.html"), {kind: "small"}) : null,
                            Studio.button(t("Open folder"), () => openFolder(project, "output"), {kind: "small"}))),
                    form, bars.evaluate.node,
                    report ? verdict(context) : firstLook(context),
                    report ? Studio.testCompare(context) : null,
                    report ? Studio.testScores(context) : null,
                    Studio.testEpochs(context),
                    run().epochs.length ? grid(context) : null);
                form.hidden = Boolean(report) || bars.evaluate.running() || !run().epochs.length;
            }

            // The grid maker keeps what was typed into it while everything around it is drawn anew.
            function grid(context) {
                const key = chosen + " " + context.run.epochs;
                if (!maker || maker.key !== key) maker = Object.assign(Studio.testGrid(context, bars.grid), {key});
                return maker.node;
            }

            function runChooser() {
                const options = tests.runs.map((r) => [r.name, [Studio.runTime(r.name), r.recommended ? t("epoch {n} recommended", {n: r.recommended}) : "", r.epochs.length ? "" : t("nothing saved"), r.problem ? t("cannot be read") : ""].filter(Boolean).join(" · ")]);
                const problem = (run() || {}).problem;
                return h("div.ls-test-run", {}, problem ? h("p.ls-run-warning", {}, Studio.ts(problem)) : null, Studio.field(t("Training run"), Studio.select(options, chosen, (name) => { chosen = name; maker = null; Studio.attempt(() => load(true)); }), {inline: true}));
            }

            Studio.on("loras", () => soon());
            Studio.on("reload", () => soon());
            Studio.on("run", () => soon());
            const soon = Studio.debounce(() => { if (Studio.state.step === "test" && Studio.visible) Studio.attempt(() => load()); }, 500);
            return {show: () => load(), project: () => load()};
        },
    });

    const STATES = {created: "not started", running: "running", finished: "finished", stopped: "stopped", failed: "failed", crashed: "crashed"};

    // "2026-11-23_02-19-07_2" -> "2026-11-23 02:19:07 (2)"
    Studio.runTime = (name) => name.replace(/^(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)(?:_(\d+))?$/, (all, day, hour, minute, second, k) => `${day} ${hour}:${minute}:${second}` + (k ? ` (${k})` : ""));
    Studio.percent = (value) => (value === null || value === undefined ? "–" : Math.round(100 * value) + "%");

    function download(address) {
        const link = h("a", {href: Studio.api.url(address), download: ""});
        Studio.root.append(link);
        link.click();
        link.remove();
    }
    Studio.download = download;

    async function openFolder(project, which) {
        const found = await Studio.api.post(p`projects/${project}/folder/open`, {which});
        if (found.opened) return;
        await Studio.dialog({title: t("The folder on the machine that runs Lora Studio"), body: h("div", {}, h("code.ls-test-path", {}, found.path), h("p.ls-hint", {}, t("It can be opened from here only in a browser on that machine."))),
            buttons: [{text: t("Copy path"), value: true}, {text: t("Close"), value: false, kind: "primary"}]}).then((copy) => copy && Studio.copyText(found.path));
    }

    // -- the verdict -------------------------------------------------------------
    function verdict({report, loras, run}) {
        const chinese = Studio.locale.startsWith("zh"), best = loras.find((x) => x.epoch === report.recommended && !x.partial);
        return h("div.ls-card.ls-test-verdict", {},
            h("div.ls-test-big", {}, t("Use epoch {n}", {n: report.recommended})),
            h("p", {}, chinese ? report.reason_zh || report.reason : report.reason),
            (report.notes || []).map((note) => h("p.ls-hint", {}, ts(note))),
            best ? h("div.ls-row", {}, Studio.useButtons(best), h("code.ls-test-prompt", {}, best.usage.prompt)) : h("p.ls-hint", {}, t("Its file is not there any more.")),
            h("p.ls-hint", {}, t("Measured with {base} on {n} {picture|pictures} of each epoch.", {base: report.base_model, n: report.prompts.length})));
    }

    // -- before anything is evaluated: the samples of the training -------------------
    function firstLook({view, path, run}) {
        const steps = [...new Set(view.samples.map((s) => s.step))], rows = [...new Set(view.samples.map((s) => s.index))];
        if (!view.samples.length) return h("div.ls-card", {}, h("p", {}, run.epochs.length ? t("This run drew no samples while training. Evaluate it to see what it learnt.") : t("This run has not saved an epoch yet.")));
        const at = (r, c) => view.samples.find((s) => s.index === rows[r] && s.step === steps[c]);
        const label = (step) => { const s = view.samples.find((x) => x.step === step); return s.step ? t("Epoch {n}", {n: s.epoch}) : t("Before training"); };
        return h("div.ls-card", {}, h("h3", {}, t("A first look")), h("p.ls-hint", {}, t("Samples drawn while training: the same prompt and seed each time.")),
            Studio.pictureTable({
                columns: steps.map((step) => ({label: label(step)})),
                rows: rows.map((index) => ({label: (view.samples.find((s) => s.index === index) || {}).prompt || ""})),
                picture: (r, c) => at(r, c) && {src: Studio.api.url(path + p`/evaluation/samples/${at(r, c).file}`), text: at(r, c).prompt},
                pinned: steps.length > 1 ? 0 : null,
            }));
    }

    // -- evaluate ----------------------------------------------------------------
    function evaluateForm({run, path, report, taggers}, bar) {
        const before = (report && report.options) || {};
        const number = (name, value, props) => h("input", {type: "number", value, dataset: {name}, ...props, oninput: count});
        const inputs = {
            trigger_pictures: number("trigger_pictures", before.trigger_pictures || 12, {min: 1, max: 200}),
            flexibility_pictures: number("flexibility_pictures", before.flexibility_pictures || 16, {min: 1, max: 200}),
            leakage_pictures: number("leakage_pictures", before.leakage_pictures || 12, {min: 1, max: 200}),
            steps: number("steps", before.steps || 20, {min: 2, max: 150}),
            cfg: number("cfg", before.cfg || run.cfg, {min: 1, max: 30, step: 0.5}),
            seed: number("seed", before.seed === undefined ? 1000 : before.seed, {min: 0}),
            weights: h("input", {type: "text", dataset: {name: "weights"}, value: (before.weights || [0.4, 0.6, 0.8, 1]).join(", "), oninput: count}),
        };
        const epochs = Studio.toggles(run.epochs.map((n) => [n, t("Epoch {n}", {n})]), run.epochs, count);
        let tagger = [before.tagger, run.tagger].find((n) => n && taggers.includes(n)) || taggers[0];
        const line = h("p");
        const values = () => ({
            ...Object.fromEntries(["trigger_pictures", "flexibility_pictures", "leakage_pictures", "steps", "cfg", "seed"].map((k) => [k, Number(inputs[k].value)])),
            weights: numbers(inputs.weights.value), epochs: epochs.value().length === run.epochs.length ? [] : epochs.value(), tagger,
        });
        function count() {
            const v = values(), models = (v.epochs.length || run.epochs.length) + 1;
            const n = models * (v.trigger_pictures + v.flexibility_pictures + v.leakage_pictures) + (models - 1) * v.weights.filter((w) => w !== 1).length;
            const time = run.seconds_per_picture ? Studio.duration(n * run.seconds_per_picture * v.steps / 20) : "";
            line.textContent = Studio.sentences(t("{n} {picture|pictures} to draw.", {n}), time ? t("That takes about {time} on this machine.", {time}) : t("How long it takes shows after the first pictures; it can be stopped."));
        }
        const form = h("div.ls-card.ls-test-form", {},
            h("h3", {}, t("Which epoch is the best?")),
            h("p", {}, t("Evaluate draws the same prompts with the base model and with every epoch, lets a tagger read the pictures, and recommends the epoch that shows the character, still obeys other tags, and leaves everyone else alone.")),
            line,
            h("details", {}, h("summary", {}, t("Options")),
                h("div.ls-test-fields", {},
                    Studio.field(t("Pictures with the trigger alone"), inputs.trigger_pictures), Studio.field(t("Pictures with other tags"), inputs.flexibility_pictures),
                    Studio.field(t("Pictures without the trigger"), inputs.leakage_pictures), Studio.field(t("Sampling steps"), inputs.steps), Studio.field(t("CFG scale"), inputs.cfg),
                    Studio.field(t("Seed"), inputs.seed), Studio.field(t("Weights of the overview grid"), inputs.weights),
                    Studio.field(t("Tagger"), Studio.select(taggers.map((n) => [n, n === "none" ? t("none: only draw the pictures") : n]), tagger, (v) => { tagger = v; }))),
                h("div.ls-field", {}, h("span.ls-label", {}, t("Epochs")), epochs.node)),
            Studio.button(t("Evaluate"), async () => { bar.follow(await Studio.api.post(path + "/evaluate", values())); form.hidden = true; }, {kind: "primary"}));
        count();
        return form;
    }

    const numbers = (text) => text.split(/[\s,，;]+/).filter(Boolean).map(Number).filter((n) => Number.isFinite(n));
    Studio.numbersOf = numbers;

    // Choices that are on or off: toggles([[value, text]], chosen, changed) -> {node, value()}.
    Studio.toggles = function (options, chosen, changed) {
        const on = new Set(chosen);
        const node = h("div.ls-row.ls-toggles", {}, options.map(([value, text]) => {
            const chip = h("button.ls-toggle", {type: "button", "aria-pressed": String(on.has(value)), onclick: () => {
                if (on.has(value)) on.delete(value); else on.add(value);
                chip.setAttribute("aria-pressed", String(on.has(value)));
                if (changed) changed();
            }}, text);
            return chip;
        }));
        return {node, value: () => options.map(([value]) => value).filter((v) => on.has(v))};
    };
})();
