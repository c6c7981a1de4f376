// What to train on: the host's checkpoints by family, and a list of bases to download.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    const FAMILIES = {sd1: "SD 1.x", sd2: "SD 2.x", sdxl: "SDXL"};
    Studio.familyName = (family) => FAMILIES[family] || t("not usable");

    // basePicker({picked(path)}) -> {node, load(), set(path), value()}
    Studio.basePicker = function ({picked}) {
        let checkpoints = [], chosen = "";
        const select = h("select.ls-input", {"aria-label": t("Base model"), onchange: () => (select.value === "…" ? other() : choose(select.value))});
        const facts = h("div.ls-row.ls-base-facts");
        const trouble = h("div.ls-option-trouble", {hidden: true, role: "alert"});
        const bar = Studio.jobBar("base", ended, {page: true});
        const node = h("div.ls-base", {dataset: {option: "base"}},
            h("div.ls-row.ls-base-row", {}, select,
                Studio.button(t("Refresh"), async () => { checkpoints = (await Studio.api.post("host/checkpoints/refresh")).checkpoints; draw(); }, {kind: "small"}),
                Studio.button(t("Download a base…"), catalogue, {kind: "small"})),
            facts, trouble, bar.node);

        function draw() {
            const known = checkpoints.some((c) => c.path === chosen);
            const group = (title, list) => (list.length ? h("optgroup", {label: title}, list) : null);
            const option = (c) => h("option", {value: c.path, selected: c.path === chosen}, c.title === "demo" ? t("Demo (the tiny model that comes along)") : c.title);
            Studio.fill(select,
                chosen ? null : h("option", {value: "", selected: true, disabled: true}, t("Choose a checkpoint…")),
                Object.entries(FAMILIES).map(([family, title]) => group(title, checkpoints.filter((c) => c.family === family).map(option))),
                group(t("Cannot be trained on"), checkpoints.filter((c) => !c.family).map((c) => h("option", {value: c.path, disabled: true, title: Studio.ts(c.problem)}, c.title + (/\.safetensors$/i.test(c.title) ? " · " + Studio.ts(c.problem) : "")))),
                chosen && !known ? group(t("Elsewhere"), [h("option", {value: chosen, selected: true}, chosen)]) : null,
                Studio.state.session.paths_allowed ? h("option", {value: "…"}, t("Another file…")) : null);
            const found = checkpoints.find((c) => c.path === chosen);
            Studio.fill(facts, found ? [h("span.ls-badge", {}, Studio.familyName(found.family)), h("span.ls-hint", {}, Studio.bytes(found.size))] : null,
                checkpoints.some((c) => !c.family) ? h("span.ls-hint", {}, t("Greyed out: LoRAs, .ckpt files (they can run programs and are never opened) and other kinds of models.")) : null);
        }
        function choose(path) { chosen = path; draw(); picked(path); }

        async function other() {
            const input = h("input.ls-input", {type: "text", spellcheck: false, placeholder: "/…/model.safetensors"});
            const ok = await Studio.dialog({title: t("Another file"), body: Studio.field(t("Path of a .safetensors checkpoint or a diffusers folder on this machine"), input),
                buttons: [{text: t("Cancel"), value: false}, {text: t("Use it"), value: true, kind: "primary"}]});
            if (ok && input.value.trim()) choose(input.value.trim().replace(/^"|"$/g, "")); else draw();
        }

        async function catalogue() {
            const {bases, folder} = await Studio.api.get("training/bases");
            const about = (b) => (Studio.locale.startsWith("zh") ? b.about.zh : b.about.en);
            const row = (b) => h("div.ls-base-line", {dataset: {base: b.name}}, h("div.ls-base-text", {}, h("strong", {translate: "no"}, b.title), " ", h("span.ls-badge", {}, Studio.familyName(b.family)),
                h("div.ls-hint", {}, about(b)), h("div.ls-hint", {}, Studio.bytes(b.size), b.fetched && !b.here ? " · " + t("{n} fetched before", {n: Studio.bytes(b.fetched)}) : "")),
            b.here ? h("span.ls-badge.ls-ok", {}, t("is here")) : Studio.button(b.fetched ? t("Go on") : t("Download"), async () => {
                bar.follow(await Studio.api.post(p`training/bases/${b.name}/download`));
                document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
            }, {kind: "small"}));
            const body = h("div", {},
                h("p.ls-hint", {}, t("Train on the ancestor of the models you draw with: the LoRA then fits all of them. The files go to {folder}.", {folder})), bases.map(row), Studio.state.session.paths_allowed ? elsewhere() : null);
            const closed = Studio.dialog({title: t("Bases that people train on"), wide: true, body});
            // A dialog begins at its first field, which is the last thing here.
            (body.querySelector("button") || body.closest(".ls-dialog").querySelector("button")).focus({preventScroll: true});
            body.closest(".ls-dialog").scrollTop = 0;
            await closed;
        }
        // Any other checkpoint by its address.
        function elsewhere() {
            const url = h("input.ls-input", {type: "text", spellcheck: false, placeholder: "https://…/model.safetensors"}), file = h("input.ls-input", {type: "text", spellcheck: false, placeholder: "model.safetensors"});
            return h("div.ls-base-own", {}, h("strong", {}, t("Another address")), Studio.field(t("Address of the .safetensors file"), url), Studio.field(t("Name of the file here (may be left empty)"), file),
                Studio.button(t("Download"), async () => {
                    bar.follow(await Studio.api.post("training/bases/download", {url: url.value, file: file.value}));
                    document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
                }, {kind: "small"}));
        }
        async function ended(job) {
            if (job.state === "failed") Studio.toast(ts(job.error), "error", ts(job.hint));
            if (job.state === "done") Studio.toast(t("{file} is here.", {file: job.result.file}), "ok");
            await load();
        }
        async function load() {
            checkpoints = (await Studio.api.get("host/checkpoints")).checkpoints;
            draw();
        }
        return {
            node, load,
            set(path) { chosen = path; draw(); },
            value: () => chosen,
            // A base of an earlier time as it is called here; "" where it is not there and other paths are not allowed.
            known(base) {
                const found = checkpoints.find((c) => c.path === base || (base === "demo" && c.title === "demo"));
                return found ? found.path : base !== "demo" && Studio.state.session.paths_allowed ? base : "";
            },
            // Without a choice of the person's: what is set under Settings, else the first real checkpoint, else the demo.
            proposal() {
                const wanted = Studio.state.session.settings.default_base, usable = checkpoints.filter((c) => c.family);
                const found = usable.find((c) => wanted && (c.title === wanted || c.path === wanted)) || usable.find((c) => c.title !== "demo") || usable[0];
                return found ? found.path : "";
            },
            problems(list) { trouble.hidden = !list.length; trouble.textContent = Studio.sentences(list.map((text) => ts(text))); },
        };
    };
})();
