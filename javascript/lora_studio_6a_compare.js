// Pictures of every epoch side by side: a table with the base model's column always in sight, and an enlarged pair to walk through with the arrow keys.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    // pictureTable({columns: [{label, note, best}], rows: [{label}], picture(r, c) -> {src, text} or nothing, pinned, first}) -> node
    // ``pinned``: the column that stays in sight; ``first``: how many rows are shown before "Show all".
    Studio.pictureTable = function ({columns, rows, picture, pinned = null, first = 4}) {
        const heads = columns.map((c, k) => h("div.ls-shot-head", {class: [c.best && "ls-best", k === pinned && "ls-stay"].filter(Boolean).join(" ")},
            h("strong", {}, c.label, c.best ? h("span.ls-star", {title: t("recommended")}, " ★") : null), c.note ? h("div.ls-hint", {}, c.note) : null));
        const row = (one, r) => [
            one.label ? h("div.ls-shot-label", {}, h("span", {}, one.label)) : null,
            columns.map((c, k) => {
                const found = picture(r, k), stay = k === pinned ? "ls-stay" : "";
                if (!found) return h("div.ls-shot.ls-none", {class: stay}, "–");
                return h("button.ls-shot", {type: "button", class: [c.best && "ls-best", stay].filter(Boolean).join(" "), title: found.text, onclick: () => Studio.enlarge({columns, rows, picture, pinned, at: [r, k]})},
                    h("img", {loading: "lazy", decoding: "async", alt: c.label + ": " + found.text, src: found.src}));
            })];
        const grid = h("div.ls-shots", {style: {"--ls-shot-columns": columns.length}}, heads, rows.slice(0, first).map(row));
        const more = rows.length > first
            ? h("button.ls-button.ls-small", {type: "button", onclick: () => { Studio.append(grid, rows.slice(first).map((one, k) => row(one, k + first))); more.remove(); }}, t("Show all {n} rows", {n: rows.length}))
            : null;
        return h("div", {}, h("div.ls-shots-scroll", {tabIndex: 0, role: "group", "aria-label": t("Pictures by epoch")}, grid), more);
    };

    // One picture large, beside a pinned one when there is one. Left and right walk the columns, up and down the rows.
    Studio.enlarge = function ({columns, rows, picture, pinned, at}) {
        let [r, c] = at, beside = pinned !== null && pinned !== c ? pinned : null;
        const left = h("figure.ls-figure"), right = h("figure.ls-figure"), text = h("p.ls-hint.ls-enlarged-text");
        const pin = h("button.ls-button.ls-small", {type: "button", onclick: () => { beside = beside === c ? null : c; show(); }});
        const side = (node, k) => {
            const found = picture(r, k);
            node.hidden = false;
            Studio.fill(node, h("figcaption", {}, columns[k].label, columns[k].best ? " ★" : ""), found ? h("img", {alt: found.text, src: found.src}) : h("div.ls-none", {}, "–"));
        };
        function show() {
            if (beside === null || beside === c) left.hidden = true; else side(left, beside);
            side(right, c);
            const found = picture(r, c);
            const more = found ? found.text : "";
            text.textContent = more.includes(rows[r].label) ? more : [rows[r].label, more].filter(Boolean).join(" · ");
            pin.textContent = beside === c ? t("Show it alone") : t("Keep this one on the left");
        }
        function walk(dr, dc) {
            const rowsOf = rows.length, columnsOf = columns.length;
            r = (r + dr + rowsOf) % rowsOf;
            do c = (c + dc + columnsOf) % columnsOf; while (dc && columnsOf > 2 && c === beside);
            show();
        }
        const step = (label, sign, dr, dc) => h("button.ls-button.ls-small", {type: "button", title: label, "aria-label": label, onclick: () => walk(dr, dc)}, sign);
        const body = h("div.ls-enlarged", {}, h("div.ls-row", {}, step(t("Previous column"), "←", 0, -1), step(t("Next column"), "→", 0, 1), step(t("Previous row"), "↑", -1, 0), step(t("Next row"), "↓", 1, 0), pin,
            h("span.ls-hint", {}, t("The arrow keys walk through the pictures."))), h("div.ls-pair", {}, left, right), text);
        const keys = (event) => {
            if (!body.isConnected) return document.removeEventListener("keydown", keys, true);
            const [dr, dc] = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key] || [0, 0];
            if ((!dr && !dc) || event.isComposing) return undefined;
            event.preventDefault();
            event.stopPropagation();
            return walk(dr, dc);
        };
        document.addEventListener("keydown", keys, true);
        show();
        return Studio.dialog({title: t("Side by side"), body, wide: true}).then(() => document.removeEventListener("keydown", keys, true));
    };

    const KINDS = {
        trigger: ["The trigger alone", "Only the trigger word and who it is are prompted: everything else that is right was learnt.", "likeness"],
        flexibility: ["With other tags", "Background, clothes and expression are prompted: a good epoch obeys them.", "flexibility"],
        leakage: ["Without the trigger", "Somebody else: these should look as the base model draws them.", "leakage"],
    };
    const MEASURES = {likeness: "likeness {n}", flexibility: "flexibility {n}", leakage: "leakage {n}"};

    // The evaluation's pictures, one kind of prompt at a time.
    Studio.testCompare = function ({view, report, path}) {
        const kinds = Object.keys(KINDS).filter((kind) => report.prompts.some((one) => one.kind === kind));
        const body = h("div"), about = h("p.ls-hint");
        const scores = (epoch) => (epoch ? report.epochs.find((e) => e.epoch === epoch) : report.base);
        const columns = (kind) => view.columns.map(({epoch}) => {
            const value = scores(epoch)[KINDS[kind][2]];
            return {label: epoch ? t("Epoch {n}", {n: epoch}) : t("Base model"), best: epoch === report.recommended, note: value === null ? "" : t(MEASURES[KINDS[kind][2]], {n: Studio.percent(value)})};
        });
        const others = (prompt) => prompt.looked_for.join(", ");
        const tabs = kinds.map((kind) => h("button.ls-toggle", {type: "button", dataset: {kind}, onclick: () => open(kind)}, t(KINDS[kind][0])));
        function open(kind) {
            for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.kind === kind));
            const prompts = report.prompts.map((prompt, k) => ({...prompt, k})).filter((prompt) => prompt.kind === kind);
            const names = {trigger: (one) => t("seed {n}", {n: one.seed}), flexibility: others, leakage: (one) => one.text};
            about.textContent = Studio.sentences(t(KINDS[kind][1]), kind === "trigger" && prompts.length ? t("Prompt: {text}", {text: prompts[0].text}) : "");
            Studio.fill(body, Studio.pictureTable({
                columns: columns(kind),
                rows: prompts.map((one) => ({label: names[kind](one)})),
                picture: (r, c) => {
                    const column = view.columns[c], file = column.pictures[prompts[r].k];
                    return file && {src: Studio.api.url(path + "/evaluation/pictures/" + file.split("/").map(encodeURIComponent).join("/"), {v: column.version}), text: prompts[r].text};
                },
                pinned: 0,
            }));
        }
        open(kinds[0]);
        return h("div.ls-card.ls-test-compare", {}, h("h3", {}, t("Every epoch beside the base model")), h("div.ls-row.ls-toggles", {}, tabs), about, body);
    };
})();
