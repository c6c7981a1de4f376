// A grid of one's own: one prompt drawn with several epochs at several weights, filling up before one's eyes; kept, and gone on with later.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, p} = Studio;
    const LOOK_EVERY = 1500;   // milliseconds between two looks at a grid that is being drawn

    Studio.testGrid = function ({run, path, report, loras}, bar) {
        const example = loras.find((x) => report && x.epoch === report.recommended) || loras[loras.length - 1];
        const start = (example && example.usage) || {activation: "", negative: "", width: 512, height: 512};
        const few = run.epochs.length > 5 ? run.epochs.filter((n, k) => k % Math.ceil(run.epochs.length / 5) === 0 || n === run.epochs[run.epochs.length - 1]) : run.epochs;
        const epochs = Studio.toggles(run.epochs.map((n) => [n, String(n)]), few, count);
        const field = (value, props) => h("input", {type: "number", value, ...props});
        const inputs = {
            prompts: h("textarea", {rows: 2, value: start.activation, oninput: count}), negative: h("textarea", {rows: 2, value: start.negative}),
            weights: h("input", {type: "text", value: "0.4, 0.6, 0.8, 1", oninput: count}), seeds: h("input", {type: "text", value: "1", oninput: count}),
            steps: field(20, {min: 2, max: 150}), cfg: field(run.cfg, {min: 1, max: 30, step: 0.5}), width: field(start.width, {min: 64, step: 8}), height: field(start.height, {min: 64, step: 8}),
        };
        const lines = () => inputs.prompts.value.split("\n").map((x) => x.trim()).filter(Boolean);
        const values = () => ({
            prompts: lines(), epochs: epochs.value(), weights: Studio.numbersOf(inputs.weights.value), seeds: Studio.numbersOf(inputs.seeds.value), negative: inputs.negative.value.trim(),
            steps: Number(inputs.steps.value), cfg: Number(inputs.cfg.value), width: Number(inputs.width.value), height: Number(inputs.height.value),
        });
        const line = h("span.ls-hint"), hint = h("p.ls-hint"), list = h("div.ls-grid-list"), view = h("div");
        let open = "", drawn = "", timer = 0, asked = 0;

        const draw = Studio.button(t("Draw the grid"), async () => {
            const found = await Studio.api.post(path + "/grids", values());
            bar.follow(found.job);
            await look(found.grid);
        }, {kind: "primary"});
        function count() {
            const v = values(), n = v.prompts.length * v.epochs.length * v.weights.length * v.seeds.length;
            line.textContent = t("{n} {picture|pictures}", {n});
            draw.disabled = !n;
            hint.textContent = Studio.hasTxt2img() ? t("Drawn by txt2img itself, with its checkpoint for this LoRA. Generating there waits meanwhile, picture by picture.")
                : /(^|[^\\])[()[\]]/.test(inputs.prompts.value) ? t("Here (word:1.2) and [word] are read as plain text: emphasis works in the WebUI only.") : "";
        }

        // -- what was drawn ------------------------------------------------------------
        async function look(name) {
            clearTimeout(timer);
            open = name = name || open;
            const mine = ++asked, {grids} = await Studio.api.get(path + "/grids");
            if (mine !== asked) return; // another one was chosen meanwhile
            const whole = grids.filter((g) => !g.problem), broken = grids.filter((g) => g.problem);
            if (!name && whole.length) name = whole[0].name;
            open = name || "";
            Studio.fill(list, broken.map((g) => h("p.ls-hint", {}, Studio.runTime(g.name) + ": ", Studio.ts(g.problem))), whole.map((g) => h("button.ls-toggle", {type: "button", "aria-pressed": String(g.name === open), title: g.prompts.join("\n"), onclick: () => Studio.attempt(() => look(g.name))},
                Studio.runTime(g.name) + (g.drawn < g.total ? ` · ${g.drawn} / ${g.total}` : ""))));
            if (!open) return;
            const found = await Studio.api.get(path + p`/grids/${open}`);
            if (mine !== asked) return;
            show(found);
            if (bar.running() && node.isConnected) timer = setTimeout(() => Studio.attempt(() => look(open)), LOOK_EVERY);
        }
        function show(grid) {
            const o = grid.options, now = JSON.stringify([grid, bar.running()]);
            if (now === drawn) return;
            drawn = now;
            const at = new Map(grid.cells.map((c) => [[c.epoch, c.weight, c.prompt, c.seed].join(), c]));
            const whole = grid.cells.every((c) => c.drawn);
            const block = (prompt, k, seed) => [
                h("p.ls-grid-prompt", {}, prompt, h("span.ls-hint", {}, " · " + t("seed {n}", {n: seed}))),
                Studio.pictureTable({
                    first: o.epochs.length, columns: o.weights.map((w) => ({label: w ? t("Weight {w}", {w}) : t("Base model")})),
                    rows: o.epochs.map((epoch) => ({label: t("Epoch {n}", {n: epoch})})),
                    picture: (r, c) => {
                        const cell = at.get([o.epochs[r], o.weights[c], k, seed].join());
                        return cell && cell.drawn && {src: Studio.api.url(path + p`/grids/${grid.name}/pictures/` + cell.file.split("/").map(encodeURIComponent).join("/")), text: prompt};
                    },
                })];
            Studio.fill(view, o.prompts.map((prompt, k) => o.seeds.map((seed) => block(prompt, k, seed))),
                h("div.ls-row", {},
                    Studio.button(t("Download as one picture"), () => Studio.download(path + p`/grids/${grid.name}/sheet.png`), {kind: "small"}),
                    whole || bar.running() ? null : Studio.button(t("Draw what is missing"), async () => { bar.follow((await Studio.api.post(path + p`/grids/${grid.name}/resume`)).job); await look(grid.name); }, {kind: "small"}),
                    h("span.ls-hint", {}, t("{steps} steps, CFG {cfg}, {width} × {height}", {steps: o.steps, cfg: o.cfg, width: o.width, height: o.height}))));
        }

        const node = h("div.ls-card.ls-test-grid", {}, h("h3", {}, t("Epochs × weights")),
            h("p.ls-hint", {}, t("The same prompt and seed with each epoch at each weight. Write one prompt a line; the LoRA is added by itself, weight 0 is the base model.")),
            h("div.ls-test-fields.ls-wide", {}, Studio.field(t("Prompt"), inputs.prompts), Studio.field(t("Negative prompt"), inputs.negative)),
            h("div.ls-field", {}, h("span.ls-label", {}, t("Epochs")), epochs.node),
            h("div.ls-test-fields", {}, Studio.field(t("Weights"), inputs.weights), Studio.field(t("Seeds"), inputs.seeds), Studio.field(t("Sampling steps"), inputs.steps),
                Studio.field(t("CFG scale"), inputs.cfg), Studio.field(t("Width"), inputs.width), Studio.field(t("Height"), inputs.height)),
            h("div.ls-row", {}, draw, line), hint, bar.node, list, view);
        count();
        Studio.attempt(() => look(""));
        return {node, look: () => Studio.attempt(() => look(open))};
    };
})();
