// The tags by frequency: + shows only the pictures with a tag, − those without it, × takes it out of the pictures a bulk edit is for.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    // editTags(state, {remove(tag)}): {node, show()}.
    Studio.editTags = function (state, {remove}) {
        let order = "count", rows = new Map();
        const find = h("input.ls-input", {type: "search", placeholder: t("Find a tag"), "aria-label": t("Find a tag"), oninput: Studio.debounce(() => show(), 100)});
        const sort = Studio.select([["count", t("Most frequent first")], ["rare", t("Rarest first")], ["name", t("By name")], ["traits", t("Traits first")]], order, (value) => { order = value; show(); }, {"aria-label": t("Order of the tags")});
        const number = h("span.ls-hint");
        const list = Studio.virtual({height: () => 30, draw, label: t("Tags by frequency")});
        list.node.classList.add("ls-edit-tags");
        const node = h("div.ls-card.ls-edit-left", {}, h("div.ls-row.ls-edit-left-head", {}, h("h4", {}, t("Tags")), number), find, sort, list.node);

        const draw_ = (mark, title, on, work) => h("button.ls-tag-act", {type: "button", title, "aria-label": title, "aria-pressed": on === null ? null : String(on), onclick: work}, mark);
        function draw(tag) {
            const [, here, all, group, kind] = rows.get(tag) || [tag, 0, 0, "", ""];
            const on = state.query.include.includes(tag), off = state.query.exclude.includes(tag);
            return h("div.ls-tag-row", {role: "listitem", class: on ? "ls-on" : off ? "ls-off" : "", dataset: {tag}},
                h("button.ls-tag-word", {type: "button", class: kind ? "ls-is-" + kind : "", title: group ? tag + " · " + Studio.groupName(group) : tag, onclick: () => turn("include", tag)}, tag),
                h("span.ls-tag-n", {title: here === all ? t("On {n} {picture|pictures}", {n: all}) : t("On {here} of the pictures shown, on {n} of all", {here, n: all})}, here === all ? String(all) : here + " / " + all),
                draw_("+", t("Only pictures with {tag}", {tag}), on, () => turn("include", tag)),
                draw_("−", t("Only pictures without {tag}", {tag}), off, () => turn("exclude", tag)),
                draw_("×", t("Remove {tag} from these pictures", {tag}), null, () => Studio.attempt(() => remove(tag))));
        }
        function turn(side, tag) {
            const other = side === "include" ? "exclude" : "include", now = state.query[side];
            Studio.attempt(() => state.ask({[side]: now.includes(tag) ? now.filter((one) => one !== tag) : [...now, tag], [other]: state.query[other].filter((one) => one !== tag)}));
        }
        function show() {
            const words = find.value.trim().toLowerCase().replace(/_/g, " ");
            let found = state.tags;
            // What is asked for stays in sight, also when no picture shown has it.
            const missing = [...state.query.include, ...state.query.exclude].filter((tag) => !found.some((row) => row[0] === tag));
            found = [...missing.map((tag) => [tag, 0, 0, "", ""]), ...found];
            if (words) found = found.filter((row) => row[0].toLowerCase().replace(/_/g, " ").includes(words));
            if (order === "rare") found = [...found].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
            if (order === "name") found = [...found].sort((a, b) => (a[0] < b[0] ? -1 : 1));
            if (order === "traits") found = [...found].sort((a, b) => (b[4] === "trait") - (a[4] === "trait") || b[1] - a[1]);
            rows = new Map(found.map((row) => [row[0], row]));
            number.textContent = words ? t("{n} of {all}", {n: found.length, all: state.tags.length}) : String(state.tags.length);
            const at = document.activeElement, row = at && at.closest(".ls-tag-row"), place = row && node.contains(row) ? [...row.children].indexOf(at) : -1, tag = row && row.dataset.tag;
            list.show(found.map((one) => one[0]), true);
            // Who goes through the list with the keyboard stays where they are.
            if (place >= 0 && list.cell(tag)) list.cell(tag).children[place].focus({preventScroll: true});
        }
        return {node, show};
    };

    // The line above the grid: the filter, what is wrong with it, and the tags asked for as chips.
    Studio.editFilter = function (state) {
        const input = h("input.ls-input.ls-edit-filter", {type: "search", spellcheck: false, placeholder: t('Filter: smile  tag:"long hair"  -tag:hat  count:>30'), "aria-label": t("Filter"), autocomplete: "off"});
        const trouble = h("div.ls-edit-trouble", {role: "alert", hidden: true}), chips = h("div.ls-row.ls-edit-asked", {hidden: true});
        const help = Studio.button("?", () => Studio.dialog({title: t("The filter"), body: explained()}), {kind: "small", title: t("How to write a filter"), "aria-label": t("How to write a filter")});
        const sort = Studio.select([["name", t("By name")], ["-name", t("By name, backwards")], ["-count", t("Most tags first")], ["count", t("Fewest tags first")], ["-tokens", t("Longest captions first")]], "name", (value) => Studio.attempt(() => state.ask({sort: value})), {"aria-label": t("Order of the pictures")});
        const ask = () => Studio.attempt(() => state.ask({filter: input.value}));
        const askSoon = Studio.debounce(ask, 300);
        input.addEventListener("input", (e) => { if (!e.isComposing) askSoon(); });
        input.addEventListener("compositionend", askSoon);
        input.addEventListener("keydown", (e) => { if (e.key === "Enter" && !e.isComposing) ask(); if (e.key === "Escape" && input.value) { input.value = ""; ask(); e.preventDefault(); } });

        function explained() {
            const rows = [["smile", t("a tag contains this")], ['tag:"long hair"', t("this very tag, with spaces or underscores")], ["-tag:hat", t("not this tag")], ["tag:*_eyes", t("* stands for anything, ? for one character")], ["tag:/^(red|blue) /", t("a regular expression")],
                ["count:>30, count:5..10", t("how many tags")], ["tokens:>75", t("how long for CLIP")], ["name:hana*", t("the file's name")], ["caption:\"1girl, solo\"", t("text anywhere in the caption")], ["trait:hair_color, trait:any", t("has a trait of this group")],
                ["is:empty, is:repeated, is:implied, is:contradictory", t("no tags; a tag twice; a tag that another one says already; tags that cannot both be true")], ["smile OR frown, NOT (a b)", t("terms side by side must all hold")]];
            return h("table.ls-keys.ls-edit-help", {}, h("tbody", {}, rows.map(([code, text]) => h("tr", {}, h("td", {}, h("code", {}, code)), h("td", {}, text)))));
        }
        function asked(side, mark, label) {
            return state.query[side].map((tag) => h("span.ls-chip", {class: side === "include" ? "ls-with" : "ls-without"}, h("span", {}, mark + " " + tag),
                h("button.ls-chip-x", {type: "button", "aria-label": t(label, {tag}), onclick: () => Studio.attempt(() => state.ask({[side]: state.query[side].filter((one) => one !== tag)}))}, "×")));
        }
        return {
            node: h("div.ls-edit-filter-box", {}, h("div.ls-row.ls-edit-filter-row", {}, input, help, sort), trouble, chips),
            focus: () => input.focus(),
            trouble: (error) => {
                trouble.hidden = !error;
                input.setAttribute("aria-invalid", String(Boolean(error)));
                if (!error) return;
                const at = error.data ? error.data.at : -1;
                Studio.fill(trouble, h("div", {}, Studio.ts(error.message)), at > 0 && at <= input.value.length ? h("code", {}, input.value.slice(0, at), h("mark", {}, input.value.slice(at) || "…")) : null, h("div.ls-hint", {}, Studio.ts(error.hint)));
            },
            show: () => {
                if (document.activeElement !== input) input.value = state.query.filter;
                const found = [...asked("include", "+", "No longer ask for {tag}"), ...asked("exclude", "−", "No longer leave out {tag}")];
                chips.hidden = !found.length;
                Studio.fill(chips, found);
            },
        };
    };
})();
