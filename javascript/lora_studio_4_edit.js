// Step 4: edit. The tags by frequency, the grid of pictures with their tags, edits of many at once, and the way back.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    Studio.panel("edit", {title: "Edit", create(root) {
        const state = Studio.editState({
            names: () => { draw(); grid.show(); },
            cards: (names) => { grid.update(names); if (large) large.update(names); controls(); },
            tags: () => { tags.show(); grid.recolour(); },
            selection: () => { grid.selection(); controls(); },
            asked: () => { filter.show(); tags.show(); }, // at once: the answer may take a while
            trouble: (error) => filter.trouble(error),
        });
        let large = null;
        const tags = Studio.editTags(state, {remove: (tag) => quick({remove: [tag]}, (n) => t("{tag} removed from {n} {caption|captions}.", {tag, n}))});
        const filter = Studio.editFilter(state);
        const grid = Studio.editGrid(state, {open: enlarge});

        const undo = Studio.button("↶", () => state.undo(), {kind: "small", title: t("Undo (Ctrl + Z)"), "aria-label": t("Undo (Ctrl + Z)")});
        const redo = Studio.button("↷", () => state.redo(), {kind: "small", title: t("Redo (Ctrl + Shift + Z)"), "aria-label": t("Redo (Ctrl + Shift + Z)")});
        const history = Studio.button(t("History"), () => Studio.historyDialog(state), {kind: "small"});
        const dedupe = Studio.button(t("Remove duplicates"), () => quick({dedupe: true}, (n) => t("Duplicates removed from {n} {caption|captions}.", {n})), {kind: "small"});
        const traits = Studio.button(t("Remove traits…"), () => Studio.traitsDialog(state), {kind: "primary", class: "ls-small"});
        const more = [
            Studio.button(t("Replace…"), () => Studio.replaceDialog(state), {kind: "small"}), Studio.button(t("Add…"), () => Studio.addDialog(state), {kind: "small"}),
            Studio.button(t("Remove…"), () => Studio.removeDialog(state), {kind: "small"}), Studio.button(t("In common…"), () => Studio.commonDialog(state), {kind: "small", title: t("Edit the tags that all of these pictures have")}), Studio.button(t("Tidy up…"), () => Studio.tidyDialog(state), {kind: "small"}),
        ];
        const saved = h("span.ls-hint.ls-edit-saved", {title: t("Every change is on the disk at once; there is nothing to save. Each step can be taken back, also after a restart, and the first state of every caption is kept.")}, t("Saved at once"));
        const count = h("span.ls-edit-count", {role: "status"});
        const all = Studio.button(t("Select all shown"), () => state.selectAll(), {kind: "small"}), none = Studio.button(t("Select none"), () => state.selectNone(), {kind: "small"});
        const size = Studio.select([["small", t("Small")], ["medium", t("Medium")], ["large", t("Large")]], grid.size(), (value) => grid.resize(value), {"aria-label": t("Size of the cards")});
        grid.node.dataset.size = grid.size();

        const nothing = h("div.ls-empty", {hidden: true}), noMatch = h("div.ls-empty", {hidden: true}, t("No picture fits the filter."));
        const body = h("div.ls-edit", {hidden: true}, tags.node, h("div.ls-edit-main", {},
            h("div.ls-row.ls-edit-bar", {}, dedupe, traits, more, Studio.editMore(state), h("span.ls-spring"), h("div.ls-row.ls-nowrap.ls-edit-back", {}, saved, undo, redo, history)),
            filter.node, h("div.ls-row.ls-edit-bar", {}, count, all, none, h("span.ls-spring"), size), noMatch, grid.node));
        root.append(nothing, body);

        function draw() {
            const project = Studio.state.project, empty = !project || (state.loaded && !state.total);
            nothing.hidden = !empty;
            body.hidden = empty || !state.loaded;
            if (empty) {
                Studio.fill(nothing, h("p", {}, project ? t("There are no cropped pictures in this project yet.") : t("No project is open.")),
                    h("button.ls-button.ls-primary", {type: "button", onclick: () => Studio.open(project ? "crop" : "project")}, project ? t("Crop pictures") : t("Choose a project")));
                return;
            }
            filter.show();
            noMatch.hidden = state.names.length > 0;
            grid.node.hidden = !state.names.length;
            controls();
        }
        function controls() {
            undo.disabled = !state.present.undo;
            redo.disabled = !state.present.redo;
            const n = state.selected.size;
            count.textContent = [state.filtered() ? t("{n} of {all} {picture|pictures}", {n: state.names.length, all: state.total}) : t("{n} {picture|pictures}", {n: state.total}), n ? t("{n} selected", {n}) : ""].filter(Boolean).join(" · ");
            none.disabled = !n;
            all.disabled = n === state.names.length;
            dedupe.textContent = state.repeated ? t("Remove duplicates ({n})", {n: state.repeated}) : t("Remove duplicates");
            dedupe.disabled = !state.repeated;
        }
        // A bulk edit of the pictures that are selected, else shown, at one click; it can be undone.
        async function quick(options, said) {
            const done = await state.bulk(options, Studio.scopeNow(state));
            if (done.changed) Studio.edited(state, said(done.changed)); else Studio.toast(t("No caption changes."));
            Studio.refresh();
        }
        // A picture large, with its tags.
        async function enlarge(name) {
            if (large) return;
            let at = Math.max(0, state.names.indexOf(name));
            const image = h("img", {alt: ""}), side = h("div.ls-edit-large-side"), whole = h("div.ls-edit-large", {}, h("div.ls-edit-large-picture", {}, image), side);
            let card = null;
            const show = () => {
                const one = state.names[at], found = state.cards.get(one);
                image.src = Studio.api.url(Studio.p`projects/${state.project}/pictures/dataset/${one}`, {v: found ? found.v : ""});
                card = Studio.editCard(state, one, {open: () => {}});
                const turn = (by, mark, title) => Studio.button(mark, () => { at = (at + by + state.names.length) % state.names.length; state.see([state.names[at]]); show(); }, {kind: "small", title, "aria-label": title});
                Studio.fill(side, h("div.ls-row", {}, turn(-1, "‹", t("The picture before")), turn(1, "›", t("The next picture")), h("span.ls-hint", {}, `${at + 1} / ${state.names.length}`)), card.node);
                card.show();
            };
            large = {update: (names) => { if (names.includes(state.names[at])) card.show(); }};
            show();
            await Studio.dialog({title: t("Picture and tags"), body: whole, wide: true});
            large = null;
        }
        async function copy() {
            const marked = String(getSelection());
            if (marked) { await navigator.clipboard.writeText(marked); return; }
            const name = state.names.find((one) => state.selected.has(one)), card = state.cards.get(name);
            if (!card) { Studio.toast(t("Select a picture first.")); return; }
            state.copied = card.tags;
            Studio.toast(t("{n} {tag|tags} of {name} copied. Select pictures and press Ctrl + V to add them.", {n: card.tags.length, name}));
            try { await navigator.clipboard.writeText(card.tags.join(", ")); } catch (error) { /* not allowed here: our own copy is enough */ }
        }
        async function paste() {
            if (!state.copied || !state.selected.size) { Studio.toast(t("Copy a picture's tags with Ctrl + C first, then select pictures.")); return; }
            await quick({add: state.copied}, (n) => t("Tags added to {n} {caption|captions}.", {n}));
        }
        const run = (work) => () => Studio.attempt(work);
        Studio.keys("edit", [
            {key: "ctrl+z", text: t("Undo"), run: run(() => state.undo())},
            {key: "shift+ctrl+z", text: t("Redo"), run: run(() => state.redo())},
            {key: "ctrl+y", text: t("Redo"), run: run(() => state.redo())},
            {key: "/", text: t("Go to the filter"), run: () => filter.focus()},
            {key: "ctrl+a", text: t("Select all shown"), run: () => state.selectAll()},
            {key: "Escape", text: t("Select none"), run: () => state.selectNone()},
            {key: "ArrowDown", text: t("The next row"), run: () => grid.go(grid.columns())},
            {key: "ArrowUp", text: t("The row before"), run: () => grid.go(-grid.columns())},
            {key: "Enter", text: t("Add a tag to the picture"), run: () => state.anchor !== null && grid.edit(state.anchor)},
            {key: "ctrl+c", text: t("Copy the picture's tags"), run: run(copy)},
            {key: "ctrl+v", text: t("Add the copied tags to the selected pictures"), run: run(paste)},
            {key: "ctrl+h", text: t("Search and replace"), run: run(() => Studio.replaceDialog(state))},
        ]);
        const inSight = () => Studio.state.step === "edit" && Studio.visible !== false;
        Studio.on("dataset", (event) => { if (state.project && event.project === state.project && inSight()) state.follow(event); });
        Studio.on("changed", () => { if (inSight()) state.look(); });
        Studio.on("reload", () => { if (inSight()) state.look(); });
        draw();
        const load = async () => { await state.load(); draw(); grid.show(); };
        return {show: load, project: load};
    }});
})();
