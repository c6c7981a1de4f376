// The saved epochs: their numbers, how to use each, its favourite weight, and which of them to keep.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, p} = Studio;

    Studio.testEpochs = function ({project, run, report, loras, trash, reload}) {
        const scores = new Map(((report && report.epochs) || []).map((e) => [e.epoch, e]));
        const best = report ? report.recommended : null;
        const keep = new Set(loras.filter((x) => x.epoch === best && !x.partial).map((x) => x.file));
        const chosen = h("span.ls-hint"), button = Studio.button(t("Keep only these epochs"), () => keepOnly(), {kind: "small"});
        const mark = () => {
            button.disabled = !keep.size || keep.size === loras.length;
            chosen.textContent = keep.size ? t("{n} of {all} chosen", {n: keep.size, all: loras.length}) : t("Choose the epochs to keep.");
        };
        async function keepOnly() {
            const others = loras.filter((x) => !keep.has(x.file));
            const size = Studio.bytes(others.reduce((sum, x) => sum + x.size * (x.in_output + x.in_lora_dir), 0));
            const body = h("div", {}, h("p", {}, t("These go to the project's trash ({size}), out of the LoRA folder too:", {size})), h("p.ls-hint", {}, others.map((x) => x.file).join(", ")), h("p", {}, t("They can be put back at any time.")));
            if (!await Studio.confirm({title: t("Keep only {n} of {all} epochs?", {n: keep.size, all: loras.length}), body, ok: t("Move the others to the trash"), kind: "danger"})) return;
            const moved = await Studio.api.post(p`projects/${project}/loras/keep`, {keep: [...keep], run: run.name});
            const note = Studio.toast(t("Moved to the trash: {n}", {n: moved.moved.length}), "ok");
            note.append(Studio.button(t("Undo"), async () => { note.remove(); await putBack(moved.batch); }, {kind: "small"}));
            await reload();
            Studio.refresh();
        }
        async function putBack(batch) {
            const found = await Studio.api.post(p`projects/${project}/loras/restore`, {batch});
            Studio.toast(t("Put back: {n}", {n: found.restored.length}), "ok");
            await reload();
            Studio.refresh();
        }
        const name = (x) => (x.partial || x.epoch === null ? x.stem : t("Epoch {n}", {n: x.epoch}));
        const row = (x) => {
            const s = (!x.partial && scores.get(x.epoch)) || {};
            const weight = h("input", {type: "number", value: x.weight, min: -4, max: 4, step: 0.05, "aria-label": t("Favourite weight"), onchange: (e) => Studio.attempt(async () => {
                await Studio.api.post(p`projects/${project}/loras/${x.file}/weight`, {weight: Number(e.target.value)});
                Studio.toast(t("{file} is used at {weight} from now on.", {file: x.stem, weight: e.target.value}), "ok");
                await reload();
            })});
            return h("tr", {class: x.epoch === best && !x.partial ? "ls-best" : ""},
                h("td", {}, h("input", {type: "checkbox", checked: keep.has(x.file), "aria-label": t("Keep {name}", {name: x.stem}), onchange: (e) => { if (e.target.checked) keep.add(x.file); else keep.delete(x.file); mark(); }})),
                h("td.ls-epoch-name", {}, x.preview ? h("img", {loading: "lazy", alt: "", src: Studio.api.url(p`projects/${project}/loras/${x.file}/preview`, {v: x.modified})}) : null,
                    h("div", {}, h("strong", {}, name(x), x.epoch === best && !x.partial ? h("span.ls-star", {title: t("recommended")}, " ★") : null),
                        h("div.ls-hint", {}, x.file + " · " + Studio.bytes(x.size)),
                        x.problem ? h("div.ls-hint", {}, Studio.ts(x.problem)) : null,
                        x.in_lora_dir ? null : h("div.ls-hint", {}, t("not in the LoRA folder")))),
                report ? ["likeness", "flexibility", "leakage", "score"].map((key) => h("td.ls-number", {}, Studio.percent(s[key]))) : null,
                h("td.ls-weight", {}, weight),
                h("td", {}, h("div.ls-row", {}, Studio.useButtons(x, true))));
        };
        const base = report ? h("tr", {}, h("td"), h("td", {}, t("Base model")), ["likeness", "flexibility", "leakage"].map((key) => h("td.ls-number", {}, Studio.percent(report.base[key]))), h("td.ls-number", {}, "–"), h("td"), h("td")) : null;
        const heads = ["", t("Epoch"), ...(report ? [t("Likeness"), t("Flexibility"), t("Leakage"), t("Balance")] : []), t("Weight"), t("Use it")];
        mark();
        const trashed = trash.length ? h("div.ls-row.ls-test-trash", {}, h("span.ls-hint", {}, t("In the trash: {n} ({size})", {n: trash.reduce((sum, b) => sum + b.files.length, 0), size: Studio.bytes(trash.reduce((sum, b) => sum + b.size, 0))})),
            Studio.button(t("Put the last ones back"), () => putBack(trash[trash.length - 1].batch), {kind: "small"})) : null;
        if (!loras.length) return h("div.ls-card", {}, h("h3", {}, t("Saved epochs")), h("p.ls-hint", {}, t("No LoRA file of this run is there.")), trashed);
        return h("div.ls-card.ls-test-epochs", {}, h("h3", {}, t("Saved epochs")),
            h("div.ls-table-scroll", {}, h("table.ls-epochs", {}, h("thead", {}, h("tr", {}, heads.map((text) => h("th", {}, text)))), h("tbody", {}, base, loras.map(row)))),
            h("div.ls-row", {}, button, chosen), trashed);
    };
})();
