// The history of the captions: every step, with a way to any of them and to the first state.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    const list = (tags) => tags.slice(0, 6).join(", ") + (tags.length > 6 ? " …" : "");
    // An edit in words.
    Studio.editWords = function (line) {
        const d = line.details || {};
        if (line.kind === "op") {
            const op = (d.ops || [])[0] || {};
            const words = {add: t("Added {tag}", op), remove: t("Removed {tag}", op), move: t("Moved {tag}", op), replace: op.new ? t("{tag} became {new}", op) : t("Removed {tag}", op), set: t("Tags set")}[op.op] || t("Edited");
            return [words, op.name ? t("in {name}", {name: op.name}) : "", d.count > 1 ? t("and {n} more", {n: d.count - 1}) : ""].filter(Boolean).join(" ");
        }
        if (line.kind === "restore") return t("First state restored");
        if (line.kind === "tag") return t("Tagged") + (d.model ? ": " + d.model : "");
        if (line.kind === "encoding") return t("Encodings repaired");
        if (line.kind === "import") return t("kohya's metadata read");
        if (line.kind !== "edit") return t("Captions written") + " (" + line.kind + ")";
        const parts = [];
        if (d.remove_traits) parts.push(t("traits removed"));
        if (d.trigger) parts.push(t("trigger word {word} first", {word: d.trigger}));
        if (d.dedupe) parts.push(t("duplicates removed"));
        if (d.implied) parts.push(t("implied tags removed"));
        if ((d.remove || []).length) parts.push(t("removed {tags}", {tags: list(d.remove)}));
        for (const [a, b] of d.replace || []) parts.push(b ? t("{a} became {b}", {a, b}) : t("removed {tags}", {tags: a}));
        for (const s of d.search || []) parts.push(s.new ? t("{a} became {b}", {a: s.find, b: s.new}) : t("removed {tags}", {tags: s.find}));
        const added = [...(d.add || []), ...(d.add_front || []), ...(d.add_after || []), ...(d.add_back || [])];
        if (added.length) parts.push(t("added {tags}", {tags: list(added)}));
        if (d.sort) parts.push(t("sorted"));
        if (d.max_tags || d.max_tokens) parts.push(t("shortened"));
        return parts.join("; ") || t("Edited");
    };

    Studio.historyDialog = async function (state) {
        const body = h("div.ls-edit-history");
        async function draw() {
            const found = await state.history(), lines = [...found.lines].reverse(), now = found.present.undo;
            const go = (entry) => async () => { await state.goTo(entry); await draw(); };
            const row = (line) => h("div.ls-history-row", {class: [line.undone && "ls-undone", line.id === now && "ls-now"].filter(Boolean).join(" "), "aria-current": line.id === now ? "true" : null},
                h("span.ls-history-when", {}, new Date(line.when * 1000).toLocaleString(Studio.locale.replace("_", "-"))),
                h("span.ls-history-what", {}, Studio.editWords(line), " ", h("span.ls-hint", {}, t("{n} {caption|captions}", {n: line.files}))),
                line.id === now ? h("span.ls-badge.ls-ok", {}, t("now")) : Studio.button(line.undone ? t("Do again up to here") : t("Back to here"), go(line.id), {kind: "small"}));
            Studio.fill(body,
                h("p", {}, t("Every change is on the disk at once; there is nothing to save. Each step can be taken back, also after a restart, and the first state of every caption is kept.")),
                found.note ? h("p", {}, Studio.ts(found.note)) : null,
                lines.length ? lines.map(row) : h("div.ls-empty", {}, t("Nothing was edited yet.")),
                found.steps > found.lines.filter((line) => !line.undone).length ? h("div.ls-hint", {}, t("{n} older {step is|steps are} not listed; undo goes through them too.", {n: found.steps - found.lines.filter((line) => !line.undone).length})) : null,
                lines.length ? h("div.ls-history-row", {class: now ? "" : "ls-now"}, h("span.ls-history-when"), h("span.ls-history-what", {}, t("Before the first step")), now ? Studio.button(t("Back to here"), go(""), {kind: "small"}) : h("span.ls-badge.ls-ok", {}, t("now"))) : null,
                found.first ? h("div.ls-row.ls-history-first", {}, Studio.button(t("Restore the first state"), async () => { const done = await state.restore(); Studio.toast(t("{n} {caption is as it was|captions are as they were} at first.", {n: done.changed}), "ok"); await draw(); }, {kind: "small"}),
                    h("span.ls-hint", {}, t("{n} {caption, as it was|captions, as they were} before Lora Studio first touched them. This is one more step, which can be undone.", {n: found.first}))) : null);
        }
        await draw();
        return Studio.dialog({title: t("History"), body, wide: true});
    };
})();
