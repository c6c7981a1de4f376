// What else can be done with captions: tags that seem to be missing, odd encodings, kohya's metadata, pictures into another project.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const at = (state, what) => Studio.p`projects/${state.project}/captions/` + what;

    // Tags that a tagger saw on pictures whose captions are without them.
    Studio.missingDialog = function (state) {
        const body = h("div.ls-edit-missing"), told = h("div.ls-hint"), list = h("div.ls-edit-changes");
        const least = h("input", {type: "range", min: 10, max: 95, step: 5, value: 50}), number = h("span.ls-edit-share");
        let open = "";
        async function draw() {
            number.textContent = least.value + " %";
            const found = await Studio.api.get(at(state, "missing"), {tag: open, least: Number(least.value) / 100});
            told.textContent = found.tagger ? t("By {tagger}, which has looked at {n} {picture|pictures}. Only tags that some caption has are listed.", {tagger: found.tagger, n: found.stored})
                : t("No tagger has looked at these pictures yet: tag them first, then its probabilities are kept.");
            Studio.fill(list, found.tagger && !found.tags.length ? h("div.ls-empty", {}, t("Nothing seems to be missing.")) : found.tags.map(([tag, n, have]) => h("div.ls-missing", {},
                h("div.ls-row", {}, h("button.ls-toggle", {type: "button", "aria-pressed": String(tag === open), onclick: () => { open = open === tag ? "" : tag; Studio.attempt(draw); }}, tag),
                    h("span.ls-hint", {}, t("seems missing on {n}, is on {have}", {n, have})),
                    tag === open ? Studio.button(t("Add to all {n}", {n: found.pictures.length}), () => add(tag, found.pictures.map(([name]) => name)), {kind: "small"}) : null),
                tag === open ? h("div.ls-missing-pictures", {}, found.pictures.slice(0, 60).map(([name, p]) => h("button.ls-missing-picture", {type: "button", title: t("Add {tag} to {name}", {tag, name}), onclick: () => Studio.attempt(() => add(tag, [name]))},
                    h("img", {alt: name, loading: "lazy", src: Studio.api.url(Studio.p`projects/${state.project}/pictures/dataset/${name}`, {size: 160})}), h("span", {}, Math.round(100 * p) + " %")))) : null)));
        }
        async function add(tag, names) {
            await state.change(names.map((name) => ({op: "add", name, tag})));
            await draw();
        }
        least.addEventListener("input", Studio.debounce(() => Studio.attempt(draw), 250));
        Studio.append(body, [told, Studio.field(t("At least so probable"), h("div.ls-row.ls-nowrap", {}, least, number)), list]);
        Studio.attempt(draw);
        return Studio.dialog({title: t("Missing tags"), body, wide: true});
    };

    // Captions in strange encodings or of several lines: how they are read, and what would be written.
    Studio.encodingsDialog = async function (state) {
        const told = h("div.ls-edit-told", {role: "status"}), rows = h("div.ls-edit-changes"), choice = h("select.ls-input", {onchange: () => Studio.attempt(draw)});
        const problem = (one) => h("div.ls-edit-change", {}, h("div.ls-hint", {}, one.file + " · " + one.encoding + " · " + one.problems.map((text) => Studio.ts(text)).join(", ")), h("div", {}, one.text || "—"));
        let count = 0;
        async function draw() {
            const found = await Studio.api.get(at(state, "encodings"), {encoding: choice.value || "auto"});
            if (!choice.options.length) Studio.fill(choice, found.choices.map((name) => h("option", {value: name}, name === "auto" ? t("recognised by itself") : name)));
            count = found.found.length;
            told.textContent = count ? t("{n} {caption is|captions are} not plain UTF-8 on one line. Made so:", {n: count}) : t("All captions are plain UTF-8 on one line.");
            Studio.fill(rows, found.found.slice(0, 50).map(problem));
        }
        await draw();
        const answer = await Studio.dialog({title: t("Repair encodings"), wide: true, body: h("div.ls-edit-bulk", {}, Studio.field(t("Encoding of those that are not UTF-8"), choice), told, rows),
            buttons: [{text: t("Cancel"), value: null}, ...(count ? [{text: t("Repair"), value: "go", kind: "primary"}] : [])]});
        if (answer !== "go") return;
        const done = await Studio.api.post(at(state, "encodings"), {encoding: choice.value});
        await state.load();
        Studio.edited(state, t("{n} {caption|captions} changed.", {n: done.changed}));
    };

    // Captions from and for kohya's metadata JSON.
    Studio.metadataDialog = async function (state) {
        const file = h("input", {type: "file", accept: ".json,application/json", "aria-label": t("Metadata file")}), full = h("input", {type: "checkbox"});
        const existing = Studio.select([["overwrite", t("replace them")], ["append", t("add behind them")], ["prepend", t("add before them")], ["skip", t("keep them")]], "overwrite");
        const save = Studio.button(t("Save as JSON"), async () => {
            const found = await Studio.api.get(at(state, "metadata"), {full: full.checked});
            const link = h("a", {href: URL.createObjectURL(new Blob([JSON.stringify(found, null, 2)], {type: "application/json"})), download: Studio.state.project.name + ".json"});
            link.click();
            setTimeout(() => URL.revokeObjectURL(link.href), 1000);
        });
        const body = h("div.ls-edit-fields", {},
            h("div", {}, h("h4", {}, t("Out")), Studio.field(t("Name the pictures by their full paths"), full, {hint: t("Otherwise by their file names.")}), save),
            h("div", {}, h("h4", {}, t("In")), Studio.field(t("Metadata file"), file), Studio.field(t("Tags that are there already"), existing)));
        const answer = await Studio.dialog({title: t("kohya's metadata"), body, wide: true, buttons: [{text: t("Close"), value: null}, {text: t("Read the file"), value: "take", kind: "primary"}]});
        if (answer !== "take" || !file.files.length) return;
        let metadata;
        try { metadata = JSON.parse(await file.files[0].text()); } catch (error) { Studio.toast(t("This is not JSON: {why}", {why: error.message}), "error"); return; }
        const done = await Studio.api.post(at(state, "metadata"), {metadata, existing: existing.value});
        await state.load();
        const left = done.unknown.length + done.unclear.length;
        Studio.edited(state, Studio.sentences(t("{n} {caption|captions} changed.", {n: done.changed}), left ? t("{n} {entry fits|entries fit} no picture, or several.", {n: left}) : ""));
    };

    // Pictures with their captions into another project.
    Studio.transferDialog = async function (state) {
        const others = ((await Studio.api.get("projects")).projects || []).filter((one) => one.id !== state.project);
        if (!others.length) { Studio.toast(t("There is no other project yet.")); return; }
        const to = Studio.select(others.map((one) => [one.id, one.name]), others[0].id), scope = Studio.scopeSelect(state), move = h("input", {type: "checkbox"});
        const answer = await Studio.dialog({title: t("Copy pictures to another project"), body: h("div", {}, Studio.field(t("Pictures"), scope.node), Studio.field(t("To the project"), to),
            Studio.field(t("Take them out of this project"), move, {hint: t("They are moved instead of copied. Nothing in the other project is overwritten: a name that is taken there gets a number.")})),
        buttons: [{text: t("Cancel"), value: null}, {text: t("Copy"), value: "go", kind: "primary"}]});
        if (answer !== "go") return;
        const done = await Studio.api.post(at(state, "transfer"), {to: to.value, move: move.checked, ...state.scope(scope.value())});
        await state.load();
        Studio.toast(t("{n} {picture copied with its caption|pictures copied with their captions}.", {n: done.pictures.length}), "ok");
        if (done.skipped.length) Studio.toast(t("{n} left: {why}", {n: done.skipped.length, why: done.skipped[0].map(Studio.ts).join(": ")}), "error");
    };

    // The rest of what can be done, behind one button.
    Studio.editMore = function (state) {
        const list = [[t("Missing tags…"), Studio.missingDialog], [t("Repair encodings…"), Studio.encodingsDialog], [t("kohya's metadata…"), Studio.metadataDialog], [t("To another project…"), Studio.transferDialog]];
        const select = h("select.ls-input.ls-edit-more", {"aria-label": t("More"), onchange: () => { const k = Number(select.value); select.value = ""; Studio.attempt(() => list[k][1](state)); }},
            h("option", {value: "", selected: true}, t("More…")), list.map(([text], k) => h("option", {value: k}, text)));
        return select;
    };
})();
