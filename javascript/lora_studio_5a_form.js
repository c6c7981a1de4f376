// The options of a training: groups, every field with its default, what it does and when to change it; what was changed is marked and can be reset.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts} = Studio;
    const chinese = () => Studio.locale.startsWith("zh");
    const word = (both) => (both ? (chinese() ? both.zh || both.en : both.en) : "");
    const textOf = {
        size: (v) => (Array.isArray(v) ? (v[0] === v[1] ? String(v[0]) : v[0] + "x" + v[1]) : String(v)),
        pair: (v) => (Array.isArray(v) ? v.join(", ") : String(v)),
        list: (v) => (Array.isArray(v) ? v.join("\n") : String(v)),
    };
    const show = (kind, value) => (value === null || value === undefined ? "" : (textOf[kind] || String)(value));
    const small = (text) => text.toLowerCase().replace(/[_\s]+/g, " ").trim();

    // optionForm({groups, changed(settings)}) -> {node, set(settings), draft(draft), focus(name)}. ``settings`` holds only what differs from the preset.
    Studio.optionForm = function ({groups, changed}) {
        let settings = {}, values = {}, problems = {};
        const fields = {};
        const search = h("input.ls-input", {type: "search", placeholder: t("Search in the options"), "aria-label": t("Search in the options"), oninput: () => filter()});
        const onlyChanged = h("input", {type: "checkbox", onchange: () => filter()});
        const reset = Studio.button(t("Reset all"), () => { settings = {}; fill(); changed(settings); }, {kind: "small"});
        const none = h("div.ls-hint", {hidden: true}, t("No option fits this."));
        const boxes = groups.map(group);
        const node = h("div.ls-options", {}, h("div.ls-row.ls-options-top", {}, h("div.ls-options-search", {}, search), Studio.field(t("Only what I changed"), onlyChanged), reset), none, boxes.map((b) => b.node));

        function group(one) {
            const mark = h("span.ls-badge", {hidden: true}), bad = h("span.ls-badge.ls-bad", {hidden: true});
            const own = one.fields.map(field);
            const box = h("details.ls-options-group", {open: !one.advanced, dataset: {group: one.name}},
                h("summary", {}, h("span.ls-options-title", {}, word(one.title)), mark, bad), h("div.ls-options-grid", {}, own.map((f) => f.node)));
            return {node: box, mark, bad, fields: own, open: !one.advanced};
        }

        function field(one) {
            const trouble = h("div.ls-option-trouble", {hidden: true, role: "alert"});
            const back = h("button.ls-link", {type: "button", hidden: true, onclick: () => { delete settings[one.name]; fill(); changed(settings); }}, t("Reset"));
            const control = control_(one);
            const label = Studio.field(word(one.label), control.node);
            label.classList.add("ls-option-field");
            const top = label.querySelector("label");
            top.append(one.unit ? h("span.ls-option-unit", {}, t(one.unit)) : "", h("code.ls-option-name", {translate: "no"}, one.name), back);
            const node_ = h("div.ls-option", {dataset: {option: one.name}}, label, trouble,
                h("div.ls-hint", {}, word(one.help), one.when && word(one.when) ? [Studio.gap(word(one.help)), h("span.ls-option-when", {}, word(one.when))] : null));
            const found = {one, node: node_, control, trouble, back, words: small([one.name, one.label.en, one.label.zh, one.help.en, one.help.zh, one.when.en, one.when.zh].join(" "))};
            fields[one.name] = found;
            return found;
        }

        function control_(one) {
            const props = {dataset: {name: one.name}, id: "lora_studio_option_" + one.name};
            const take = (value) => {
                const text = typeof value === "boolean" ? value : value.trim();
                const same = typeof value === "boolean" ? value === Boolean(values[one.name]) : text === show(one.kind, values[one.name]);
                // An emptied number is the default; an emptied text or list is meant.
                if (same || (text === "" && !["text", "list"].includes(one.kind))) delete settings[one.name]; else settings[one.name] = text;
                mark();
                changed(settings);
            };
            if (one.kind === "bool") {
                const box = h("input", {...props, type: "checkbox", onchange: () => take(box.checked)});
                return {node: box, set: (v) => { box.checked = v === true || v === "true"; }};
            }
            if (one.kind === "choice") {
                const options = one.choices.map((o) => (Array.isArray(o) ? [o[0], word(o[1])] : o));
                const select = Studio.select(options, "", take, props);
                // A preset of another machine may name what is not there: it is shown as it is.
                const has = (v) => [...select.options].some((o) => o.value === v);
                return {node: select, set: (v) => { if (typeof v === "string" && v && !has(v)) select.append(h("option", {value: v}, v)); select.value = String(v); }};
            }
            if (one.kind === "list") {
                const area = h("textarea.ls-input", {...props, rows: 3, spellcheck: false, oninput: () => take(area.value)});
                return {node: area, set: (v) => { if (document.activeElement !== area) area.value = show("list", v); }};
            }
            const number = {int: {type: "number", step: 1, min: one.min, max: one.max}, number: {type: "text", inputMode: "decimal"}}[one.kind] || {type: "text"};
            const input = h("input.ls-input", {...props, ...number, autocomplete: "off", spellcheck: false, oninput: () => take(input.value)});
            // Nothing is written into a field while somebody types in it, an emptied one included; left empty, it shows the default again.
            input.addEventListener("blur", () => { if (!input.value.trim() && !(one.name in settings)) input.value = show(one.kind, values[one.name]); });
            return {node: input, set: (v) => { if (document.activeElement !== input) input.value = show(one.kind, v); }};
        }

        function fill() {
            for (const [name, f] of Object.entries(fields)) f.control.set(name in settings ? settings[name] : values[name]);
            mark();
        }
        function mark() {
            for (const [name, f] of Object.entries(fields)) {
                const differs = name in settings;
                f.node.classList.toggle("ls-changed", differs);
                f.back.hidden = !differs;
                f.back.title = differs ? t("Back to {value}", {value: f.one.kind === "bool" ? (values[name] ? t("on") : t("off")) : show(f.one.kind, values[name]) || t("empty")}) : "";
                const wrong = problems[name] || [];
                f.node.classList.toggle("ls-wrong", wrong.length > 0);
                f.trouble.hidden = !wrong.length;
                f.trouble.textContent = Studio.sentences(wrong.map((text) => ts(text)));
            }
            for (const b of boxes) {
                const n = b.fields.filter((f) => f.one.name in settings).length, wrong = b.fields.filter((f) => (problems[f.one.name] || []).length).length;
                b.mark.hidden = !n; b.mark.textContent = t("{n} changed", {n});
                b.bad.hidden = !wrong; b.bad.textContent = t("{n} to correct", {n: wrong});
            }
            reset.disabled = !Object.keys(settings).length;
            if (onlyChanged.checked) filter();
        }
        function filter() {
            const words = small(search.value), only = onlyChanged.checked;
            let any = false;
            for (const b of boxes) {
                let shown = 0;
                for (const f of b.fields) {
                    const fits = (!words || words.split(" ").every((w) => f.words.includes(w))) && (!only || f.one.name in settings);
                    f.node.hidden = !fits;
                    shown += fits;
                }
                b.node.hidden = !shown;
                if (words || only) b.node.open = true; else if (b.filtered) b.node.open = b.open;
                b.filtered = Boolean(words || only);
                any = any || shown > 0;
            }
            none.hidden = any;
        }

        return {
            node,
            set(now) { settings = {...now}; fill(); },
            // What the server says: the preset's values, and what is wrong with which option.
            draft(found) { values = found.values; problems = found.problems || {}; fill(); },
            focus(name) {
                const f = fields[name];
                if (!f) return;
                search.value = ""; onlyChanged.checked = false; filter();
                f.node.closest("details").open = true;
                f.control.node.focus();
                f.node.scrollIntoView({block: "center"});
            },
            search: () => search.focus(),
            label: (name) => (fields[name] ? word(fields[name].one.label) : name),
        };
    };
})();
