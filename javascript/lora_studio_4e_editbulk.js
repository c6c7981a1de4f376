// Edits of many captions at once: what they do is shown before they are done.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const ROWS = 20;

    // Before and after of a caption: what goes is struck out, what comes is underlined.
    Studio.captionChange = function (before, after) {
        const split = (text) => Studio.splitTags(text), old = split(before), fresh = split(after), left = new Map();
        for (const tag of fresh) left.set(tag, (left.get(tag) || 0) + 1);
        const had = new Map();
        for (const tag of old) had.set(tag, (had.get(tag) || 0) + 1);
        const gone = [...old].reverse().filter((tag) => { const n = left.get(tag) || 0; if (n) left.set(tag, n - 1); return !n; });
        const chip = (tag, kind) => h(kind === "gone" ? "del.ls-chip.ls-gone" : kind === "new" ? "ins.ls-chip.ls-new" : "span.ls-chip", {}, tag);
        return h("div.ls-chips", {}, fresh.map((tag) => { const n = had.get(tag) || 0; had.set(tag, n - 1); return chip(tag, n > 0 ? "" : "new"); }), gone.reverse().map((tag) => chip(tag, "gone")));
    };
    Studio.previewRows = (rows) => rows.slice(0, ROWS).map(([file, before, after]) => h("div.ls-edit-change", {}, h("div.ls-hint", {}, file), Studio.captionChange(before, after)));

    // The pictures a bulk edit is for; by default those selected, else those shown.
    Studio.scopeSelect = function (state, change) {
        const options = [];
        if (state.selected.size) options.push(["selected", t("the {n} selected {picture|pictures}", {n: state.selected.size})]);
        if (state.filtered()) options.push(["shown", t("the {n} {picture|pictures} shown", {n: state.names.length})]);
        options.push(["all", t("all {n} pictures", {n: state.total})]);
        const node = Studio.select(options, options[0][0], change, {"aria-label": t("Which pictures")});
        return {node, value: () => node.value};
    };
    Studio.scopeNow = (state) => (state.selected.size ? "selected" : state.filtered() ? "shown" : "all");

    // bulkDialog(state, {title, body, options() -> edit or null, found?(report), said(report)}): previews whatever is chosen, then does it.
    Studio.bulkDialog = async function (state, {title, body, options, found, said, ok = t("Apply")}) {
        const told = h("div.ls-edit-told", {role: "status"}), rows = h("div.ls-edit-changes");
        const scope = Studio.scopeSelect(state, () => look());
        let report = null, asked = 0;
        const apply = () => { const dialog = told.closest(".ls-dialog"); return dialog && dialog.querySelector(".ls-end .ls-primary"); };
        async function look() {
            const mine = ++asked, wanted = options();
            report = null;
            if (apply()) apply().disabled = true;
            if (!wanted) { told.textContent = ""; rows.replaceChildren(); if (found) found(null); return; }
            try {
                const now = await state.preview(wanted, scope.value());
                if (mine !== asked) return;
                report = now;
                Studio.fill(told, now.matches ? t("Found {n} {time|times}. ", {n: now.matches}) : "", now.changed ? t("{n} of {all} {caption changes|captions change}.", {n: now.changed, all: now.pictures}) : t("No caption changes."),
                    now.changed > ROWS ? " " + t("The first {n}:", {n: ROWS}) : "");
                Studio.fill(rows, Studio.previewRows(now.preview));
                if (found) found(now);
                if (apply()) apply().disabled = !now.changed;
            } catch (error) {
                if (mine !== asked) return;
                if (!(error instanceof Studio.ApiError)) throw error;
                Studio.fill(told, h("span.ls-edit-wrong", {}, Studio.ts(error.message)), " ", h("span.ls-hint", {}, Studio.ts(error.hint)));
                rows.replaceChildren();
                if (found) found(null);
            }
        }
        const lookSoon = Studio.debounce(() => Studio.attempt(look), 200);
        const whole = h("div.ls-edit-bulk", {oninput: lookSoon, onchange: lookSoon}, h("div.ls-row.ls-edit-scope", {}, h("span", {}, t("In")), scope.node), body, told, rows);
        Studio.attempt(look);
        for (;;) {
            const answer = Studio.dialog({title, body: whole, wide: true, buttons: [{text: t("Cancel"), value: null}, {text: ok, value: "apply", kind: "primary"}]});
            if (apply()) apply().disabled = !(report && report.changed);
            if ((await answer) !== "apply" || !report) return;
            try {
                const done = await state.bulk(options(), scope.value(), report.revision);
                Studio.edited(state, said ? said(done) : t("{n} {caption|captions} changed.", {n: done.changed}));
                Studio.refresh();
                return;
            } catch (error) {
                Studio.fail(error);
                if (error.status !== 409) return;
                await look();
            }
        }
    };
    // A message with a way back.
    Studio.edited = function (state, text) {
        const note = Studio.toast(text, "ok"), entry = state.present.undo;
        if (entry) note.append(Studio.button(t("Undo"), async () => { note.remove(); if (!(await state.undo(entry))) Studio.toast(t("Something else was edited since: use the history.")); }, {kind: "small"}));
    };

    const check = (on = false) => h("input", {type: "checkbox", checked: on});
    const several = (placeholder) => Studio.tagInput({multiple: true, placeholder, label: placeholder});

    Studio.replaceDialog = function (state, find = "") {
        const what = Studio.tagInput({placeholder: t("What to look for"), value: find}), by = Studio.tagInput({placeholder: t("Nothing: it is removed"), label: t("Replace by")});
        const where = Studio.select([["tag", t("whole tags")], ["part", t("inside tags")], ["caption", t("the whole caption")]], "tag"), regex = check(), exact = check();
        return Studio.bulkDialog(state, {
            title: t("Search and replace"), ok: t("Replace"),
            body: h("div.ls-edit-fields", {}, Studio.field(t("Look for"), what.node), Studio.field(t("Replace by"), by.node), Studio.field(t("Where"), where),
                h("div", {}, Studio.field(t("Regular expression"), regex, {hint: t("Groups are written $1, $2, …")}), Studio.field(t("Capitals matter"), exact))),
            options: () => (what.input.value.trim() ? {search: [{find: what.input.value.trim(), new: by.input.value.trim(), scope: where.value, regex: regex.checked, match_case: exact.checked}]} : null),
        });
    };
    Studio.addDialog = function (state) {
        const tags = several(t("Tags, with commas between them")), where = Studio.select([["front", t("At the front")], ["after", t("Behind the trigger word")], ["end", t("At the end, where missing")]], "end");
        return Studio.bulkDialog(state, {
            title: t("Add tags"), ok: t("Add"),
            body: h("div.ls-edit-fields", {}, Studio.field(t("Tags"), tags.node), Studio.field(t("Where"), where)),
            options: () => { const found = tags.value(); return found.length ? {[{front: "add_front", after: "add_after", end: "add"}[where.value]]: found} : null; },
        });
    };
    Studio.removeDialog = function (state) {
        const tags = several(t("Tags, with commas between them"));
        return Studio.bulkDialog(state, {title: t("Remove tags"), ok: t("Remove"), body: Studio.field(t("Tags"), tags.node), options: () => (tags.value().length ? {remove: tags.value()} : null)});
    };
    Studio.tidyDialog = function (state) {
        const dedupe = check(true), implied = check(), sort = Studio.select([["", t("as they are")], ["frequency", t("most frequent first")], ["alphabetical", t("by name")]], "");
        const number = (label) => h("input.ls-input", {type: "number", min: 0, max: 100000, value: 0, "aria-label": label});
        const tags = number(t("At most so many tags")), tokens = number(t("At most so many tokens")), whole = (field) => Math.max(0, Math.round(Number(field.value) || 0));
        return Studio.bulkDialog(state, {
            title: t("Tidy up"),
            body: h("div.ls-edit-fields", {},
                h("div", {}, Studio.field(t("Remove duplicates"), dedupe), Studio.field(t("Remove what another tag says already"), implied, {hint: t("“long hair” where there is “very long hair”, “skirt” where there is “pleated skirt”.")})),
                Studio.field(t("Order of the tags"), sort, {hint: t("The trigger word stays first.")}),
                Studio.field(t("At most so many tags"), tags, {hint: t("0: no limit.")}), Studio.field(t("At most so many tokens"), tokens, {hint: t("What is beyond is cut off at the end. CLIP reads 75 at a time.")})),
            options: () => ({dedupe: dedupe.checked, implied: implied.checked, sort: sort.value || false, max_tags: whole(tags), max_tokens: whole(tokens)}),
        });
    };
})();
