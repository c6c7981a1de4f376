// One run: phase, bar, time left, speed, memory, the loss curve as it grows, and the samples as they come.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    Studio.runStates = {created: "not started", running: "running", finished: "finished", stopped: "stopped", failed: "failed", crashed: "crashed"};
    Studio.runBadge = (state) => h("span.ls-badge", {class: {finished: "ls-ok", failed: "ls-bad", crashed: "ls-bad", running: "ls-warn"}[state] || "", dataset: {state}}, t(Studio.runStates[state] || state));
    const PHASES = {
        dataset: "Reading the pictures", model: "Loading the base model", latents: "Preparing the pictures", training: "Training", sampling: "Drawing samples",
        validation: "Measuring the held-out pictures",
        memory: "Measuring the graphics memory", compiling: "Compiling the model",
    };
    const LIMIT = 2400; // points kept while the page watches; then the server thins them again
    const number = (n, digits = 4) => (n === null || n === undefined ? "–" : String(+Number(n).toPrecision(digits)));

    Studio.resumeRun = async function (project, name) {
        const {has_txt2img, settings} = Studio.state.session;
        const found = await Studio.api.post(p`projects/${project}/runs/${name}/resume`, {release: Boolean(has_txt2img && settings.release_model)});
        if (found.released) Studio.toast(ts(found.released.message));
    };

    // runCard({changed()}) -> {node, show(project, name), event(message), run()}
    Studio.runCard = function ({changed}) {
        let project = "", run = null, chart = null, vram = null, timer = 0, asked = 0, stopping = false, gone = false;
        const head = h("div.ls-row.ls-run-head"), line = h("div.ls-run-line"), fill = h("div.ls-bar-fill");
        const bar = h("div.ls-bar", {role: "progressbar", "aria-label": t("Progress")}, fill);
        const facts = h("div.ls-run-facts"), trouble = h("div"), curve = h("div.ls-run-curve"), samples = h("div.ls-run-samples");
        const node = h("section.ls-card.ls-run", {hidden: true, "aria-label": t("Training run")}, head, line, bar, facts, trouble, curve, samples);
        const path = (more = "") => p`projects/${project}/runs/${run.name}` + more;

        async function show(id, name) {
            if (id !== project || !run || run.name !== name) { node.hidden = true; stopping = false; if (chart) { chart.node.remove(); chart = null; } }
            project = id;
            gone = false;
            const mine = ++asked;
            const found = await Studio.api.get(p`projects/${id}/runs/${name}`);
            if (mine !== asked) return;
            if (found.gone) { gone = true; clear(); return changed(); } // deleted in another window: the list says what there is
            if (run && run.name === name && run.state === "running" && found.state !== "running") tellEnd(found);
            run = found;
            if (run.state !== "running") stopping = false;
            node.hidden = false;
            draw();
            watchMemory();
        }
        function tellEnd(found) {
            if (found.state === "finished") Studio.toast(t("The training is finished: {n} {epoch|epochs} saved.", {n: found.checkpoints.length}), "ok");
            else if (found.state === "stopped") Studio.toast(t("The training has stopped. It can be resumed where it was."));
            else Studio.toast(ts(found.message), "error", ts(found.hint));
        }
        const reload = Studio.debounce(() => { if (run && !gone) Studio.attempt(() => show(project, run.name)); }, 250);

        // What the server tells: steps are added here; for anything else the run is asked for anew.
        function event(message) {
            if (!run || message.run !== run.name) return;
            if (message.removed) { gone = true; return; } // deleted: the step asks for the list and shows another one
            if (message.message) Studio.toast(ts(message.message));
            const news = message.events.filter((e) => e.seq > run.seq);
            if (message.more || message.ended || (news.length && news[0].seq !== run.seq + 1) || news.some((e) => !["step", "phase"].includes(e.type))) {
                reload();
                if (message.ended) changed();
                return;
            }
            for (const e of news) {
                run.seq = e.seq;
                if (e.type === "phase") {
                    run.phase = {name: e.name, done: e.done, total: e.total};
                    if (e.name === "training") run.total_steps = e.total;
                    if (e.name === "validation" && Number.isFinite(e.loss)) run.validation = [...run.validation.filter((x) => x[0] < e.step), [e.step, e.loss]];
                } else {
                    run.phase = {name: "training"};
                    Object.assign(run, {step: e.step, total_steps: e.total, epoch: e.epoch, epochs: e.epochs, loss: e.loss_average, steps_per_second: e.steps_per_second, seconds_left: e.eta, lr: e.lr, lr_text: e.lr_text, vram: e.vram || run.vram});
                    while (run.points.length && run.points[run.points.length - 1][0] >= e.step) run.points.pop();
                    run.points.push([e.step, e.loss, e.loss_average]);
                }
            }
            if (run.points.length > LIMIT) reload();
            drawState();
            drawCurve();
        }

        function draw() {
            Studio.fill(head, h("h3", {}, Studio.runTime(run.name)), Studio.runBadge(run.state), h("span.ls-hint", {translate: "no"}, baseName()), h("div.ls-run-tools.ls-row", {}, buttons()));
            Studio.fill(trouble,
                run.message ? h("div.ls-run-trouble", {role: "alert"}, h("strong", {}, ts(run.message)), run.hint ? h("div.ls-hint", {}, ts(run.hint)) : null) : null,
                (run.warnings || []).map((text) => h("div.ls-run-warning", {}, ts(text))));
            drawState();
            drawCurve();
            drawSamples();
        }
        const baseName = () => String((run.config || {}).base || "").split(/[\\/]/).pop();
        function buttons() {
            const live = run.state === "running";
            return [
                live ? Studio.button(stopping ? t("Stopping…") : t("Stop"), async () => { await Studio.api.post(path("/stop")); stopping = true; if (run) draw(); }, {kind: "danger", disabled: stopping, title: t("Saves what is needed to go on, at the next step")}) : null,
                live ? Studio.button(t("Save now"), async () => { await Studio.api.post(path("/ask/save")); Studio.toast(t("A LoRA is saved at the next step.")); }, {kind: "small"}) : null,
                live && (run.config.sample_prompts || []).length ? Studio.button(t("Draw samples now"), async () => { await Studio.api.post(path("/ask/sample")); Studio.toast(t("Samples are drawn at the next step.")); }, {kind: "small"}) : null,
                ["stopped", "failed", "crashed", "created"].includes(run.state) ? Studio.button(t("Resume"), resume, {kind: "primary"}) : null,
                run.state !== "running" && run.checkpoints.length ? Studio.button(t("Test it"), () => Studio.open("test"), {kind: run.state === "finished" ? "primary" : ""}) : null,
                Studio.button(t("Log"), log, {kind: "small"}),
                Studio.button(t("For kohya"), () => Studio.download(path("/kohya.zip")), {kind: "small", title: t("The settings of this run as files for kohya's sd-scripts")}),
            ];
        }
        async function resume() {
            const name = run.name;
            await Studio.resumeRun(project, name);
            await show(project, name);
            changed();
        }
        async function log() {
            const {text} = await Studio.api.get(path("/log"));
            await Studio.dialog({title: t("What the trainer printed"), wide: true, body: h("pre.ls-run-log", {translate: "no", tabindex: 0}, text || t("Nothing yet."))});
        }

        function drawState() {
            const live = run.state === "running", phase = run.phase || {}, training = phase.name === "training" || run.step > 0 || !live;
            const [done, total] = training ? [run.step, run.total_steps] : [phase.done || 0, phase.total || 0];
            bar.hidden = !live && !total;
            fill.classList.toggle("ls-unknown", live && !total);
            fill.style.width = total ? (100 * done / total).toFixed(1) + "%" : "";
            bar.setAttribute("aria-valuenow", total ? Math.round(100 * done / total) : 0);
            const stage = !live ? "" : !phase.name ? t("Starting") : t(PHASES[phase.name] || phase.name);
            line.textContent = [
                stage,
                training && run.epochs ? t("epoch {n} of {all}", {n: run.epoch, all: run.epochs}) : "",
                total ? (training ? t("step {n} of {all}", {n: done, all: total}) : done + " / " + total) : "",
                live && run.seconds_left ? t("{time} left", {time: Studio.duration(run.seconds_left)}) : "",
                !live && run.started && run.ended ? t("took {time}", {time: Studio.duration(run.ended - run.started)}) : "",
            ].filter(Boolean).join(" · ");
            const speed = run.steps_per_second;
            const pairs = [
                [t("Loss (smoothed)"), number(run.loss)],
                [t("Seconds a step"), speed ? number(1 / speed, 3) : "–"],
                [t("Learning rate"), run.lr ? Number(run.lr).toExponential(2) : "–"],
                vram && vram.total ? [t("Graphics memory"), t("{used} of {total}", {used: Studio.bytes(vram.total - vram.free), total: Studio.bytes(vram.total)})] : run.vram ? [t("Graphics memory"), Studio.bytes(run.vram)] : null,
                run.device ? [t("Device"), [run.card ? `${run.card} (${run.device})` : run.device, run.precision].filter(Boolean).join(", ")] : null,
            ].filter(Boolean);
            Studio.fill(facts, pairs.map(([name, value]) => h("div", {}, h("span.ls-hint", {}, name), h("strong", {translate: "no"}, value))));
        }

        function drawCurve() {
            const points = run.points || [];
            curve.hidden = points.length < 2;
            if (curve.hidden) return;
            const series = [
                {name: t("each step"), dim: true, color: "var(--ls-accent)", points: points.map((x) => [x[0], x[1]])},
                {name: t("smoothed"), color: "var(--ls-accent)", points: points.map((x) => [x[0], x[2]])},
            ];
            if (run.validation.length) series.push({name: t("held-out pictures"), color: "var(--ls-ok)", points: run.validation});
            const marks = (run.marks || []).map((m) => ({x: m.step, text: t("epoch {n}", {n: m.epoch})}));
            if (!chart) chart = Studio.chart(curve, {series, marks, xLabel: t("Step"), yLabel: t("Loss"), format: (y) => number(y, 3)});
            else chart.update(series, marks);
        }

        let drawn = "";
        function drawSamples() {
            const key = JSON.stringify([run.name, run.samples]);
            if (key === drawn) return;
            drawn = key;
            const steps = [...new Set(run.samples.map((s) => s.step))].sort((a, b) => b - a), rows = [...new Set(run.samples.map((s) => s.index))].sort((a, b) => a - b);
            samples.hidden = !steps.length;
            if (!steps.length) return;
            const at = (r, c) => run.samples.find((s) => s.index === rows[r] && s.step === steps[c]);
            const title = (step) => { const s = run.samples.find((x) => x.step === step); return s.step ? t("Epoch {n}", {n: s.epoch}) : t("Before training"); };
            Studio.fill(samples, h("h4", {}, t("Samples, the newest first")), Studio.pictureTable({
                columns: steps.map((step) => ({label: title(step), note: step ? t("step {n}", {n: step}) : ""})),
                rows: rows.map((index) => ({label: (run.samples.find((s) => s.index === index) || {}).prompt || ""})),
                picture: (r, c) => at(r, c) && {src: Studio.api.url(path(p`/samples/${at(r, c).file}`)), text: at(r, c).prompt},
            }));
        }

        // Memory is asked for while the run is looked at: the card says it, not the trainer.
        function watchMemory() {
            clearTimeout(timer);
            if (!run || run.state !== "running") { vram = null; return; }
            const look = async () => {
                if (!Studio.visible || Studio.state.step !== "train" || !run || run.state !== "running") return;
                const found = await Studio.api.get("host/vram", {device: (run.config || {}).device || "auto"}).catch(() => null);
                vram = found;
                if (!found || !found.total) return; // no card: nothing to look at again
                drawState();
                timer = setTimeout(look, 5000);
            };
            look();
        }

        function clear() { run = null; node.hidden = true; clearTimeout(timer); }
        return {node, show, event, run: () => run, clear};
    };
})();
