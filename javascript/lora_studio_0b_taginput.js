// A text field that completes tags: from the dataset first, then from the tagger's vocabulary, each with its count.
//
// LoraStudio.tagInput({placeholder, multiple, onPick(tag), source?, label?, value?}) -> {node, input, value(), set(text), close()}
// With onPick each finished tag is handed over and the field is empty again (Enter, comma, a click; a pasted list is several tags).
// Without it the field keeps its text; multiple: a comma-separated list, of which the piece at the cursor is completed, and value() is an array.
// source(text) -> promise of [{tag, count, here, category, alias}] or of strings; by default the open project's vocabulary.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const SEPARATOR = /[,，\r\n]+/;
    const SHOWN = 12;
    let ids = 0;

    async function vocabulary(text) {
        const project = Studio.state.project;
        if (!project) return [];
        const found = await Studio.api.get(Studio.p`projects/${project.id}/vocabulary`, {q: text, limit: SHOWN});
        return found.tags || found.items || [];
    }
    const entry = (found) => (typeof found === "string" ? {tag: found} : found);
    // By what other name it was found; what it is called in Chinese, for who reads that.
    const other = (row) => (row.alias && row.alias !== row.tag ? "← " + row.alias : row.chinese && Studio.locale.startsWith("zh") ? row.chinese : "");
    const short = (n) => (n >= 1e6 ? (n / 1e6).toFixed(1) + "M" : n >= 1e3 ? Math.round(n / 1e3) + "k" : String(n));
    Studio.splitTags = (text) => text.split(SEPARATOR).map((tag) => tag.trim()).filter(Boolean);

    Studio.tagInput = function ({placeholder = "", multiple = false, onPick = null, source = vocabulary, label = "", value = ""} = {}) {
        const id = "lora_studio_tags_" + ++ids;
        const input = h("input.ls-input.ls-tag-input", {
            type: "text", placeholder, value, autocomplete: "off", spellcheck: false, role: "combobox",
            "aria-expanded": "false", "aria-autocomplete": "list", "aria-controls": id, "aria-label": label || placeholder,
        });
        const list = h("div.ls-tag-list", {id, role: "listbox", hidden: true});
        const node = h("div.ls-tag-field", {}, input);
        let shown = [], at = -1, asked = 0;
        const follow = (e) => { if (!list.contains(e.target)) (input.isConnected ? place : close)(); };

        // The piece of a list in which the cursor stands: [from, to, text].
        function piece() {
            if (!multiple || onPick) return [0, input.value.length, input.value.trim()];
            const cursor = input.selectionStart === null ? input.value.length : input.selectionStart;
            const before = Math.max(input.value.lastIndexOf(",", cursor - 1), input.value.lastIndexOf("，", cursor - 1)) + 1;
            const after = input.value.slice(cursor).search(SEPARATOR);
            const to = after < 0 ? input.value.length : cursor + after;
            return [before, to, input.value.slice(before, to).trim()];
        }
        function close() {
            asked++;
            shown = []; at = -1;
            window.removeEventListener("scroll", follow, {capture: true});
            list.hidden = true;
            list.remove();
            input.setAttribute("aria-expanded", "false");
            input.removeAttribute("aria-activedescendant");
        }
        function mark(index) {
            at = index;
            [...list.children].forEach((row, k) => row.setAttribute("aria-selected", String(k === at)));
            if (at >= 0) { input.setAttribute("aria-activedescendant", id + "_" + at); list.children[at].scrollIntoView({block: "nearest"}); } else input.removeAttribute("aria-activedescendant");
        }
        function place() {
            const box = input.getBoundingClientRect(), below = window.innerHeight - box.bottom;
            const width = Math.min(Math.max(box.width, 240), window.innerWidth - 16);
            list.style.width = width + "px";
            list.style.left = Math.max(8, Math.min(box.left, window.innerWidth - width - 8)) + "px";
            const up = below < 200 && box.top > below;
            list.style.maxHeight = Math.max(120, Math.min(320, (up ? box.top : below) - 12)) + "px";
            list.style.top = up ? "" : box.bottom + 2 + "px";
            list.style.bottom = up ? window.innerHeight - box.top + 2 + "px" : "";
        }
        function show(found) {
            shown = found.map(entry).slice(0, SHOWN);
            if (!shown.length || document.activeElement !== input) { close(); return; }
            Studio.fill(list, shown.map((row, k) => h("div.ls-tag-option", {
                id: id + "_" + k, role: "option", "aria-selected": "false", class: row.category ? "ls-kind-" + row.category : "",
                onpointerdown: (e) => { e.preventDefault(); take(row.tag); },
            }, h("span.ls-tag-name", {}, row.tag), other(row) ? h("span.ls-hint", {translate: "no"}, other(row)) : null,
            row.here ? h("span.ls-tag-here", {title: t("On {n} {picture|pictures} here", {n: row.here})}, String(row.here)) : null,
            row.count ? h("span.ls-tag-count", {title: t("Used {n} {time|times} on Danbooru", {n: row.count})}, short(row.count)) : null)));
            Studio.root.append(list);
            list.hidden = false;
            window.addEventListener("scroll", follow, {capture: true, passive: true});
            input.setAttribute("aria-expanded", "true");
            place();
            mark(-1);
        }
        async function look() {
            const text = piece()[2], mine = ++asked;
            if (!text) { close(); return; }
            const found = await Promise.resolve(source(text)).catch(() => []);
            if (mine === asked) show(found);
        }
        const lookSoon = Studio.debounce(look, 120);

        function take(tag) {
            if (onPick) { input.value = ""; close(); onPick(tag); return; }
            const [from, to] = piece();
            const head = input.value.slice(0, from), gap = head && !/\s$/.test(head) ? " " : "";
            const rest = input.value.slice(to), end = multiple && !rest ? ", " : "";
            input.value = head + gap + tag + end + rest;
            const cursor = (head + gap + tag + end).length;
            input.setSelectionRange(cursor, cursor);
            close();
            input.dispatchEvent(new Event("input", {bubbles: true}));
            close();
        }
        function handOver(text) {
            input.value = "";
            close();
            for (const tag of Studio.splitTags(text)) onPick(tag);
        }
        input.addEventListener("input", (e) => {
            if (e.isComposing) return;
            if (onPick && SEPARATOR.test(input.value)) {
                // A comma ends a tag; what follows the last one is still being typed, unless a list was pasted.
                const parts = input.value.split(SEPARATOR), rest = e.inputType === "insertFromPaste" ? "" : parts.pop();
                const done = Studio.splitTags(parts.join(","));
                input.value = rest.trimStart();
                for (const tag of done) onPick(tag);
            }
            lookSoon();
        });
        input.addEventListener("compositionend", () => input.dispatchEvent(new Event("input", {bubbles: true})));
        input.addEventListener("keydown", (e) => {
            if (e.isComposing || e.keyCode === 229) return;
            const open = !list.hidden && shown.length;
            if (open && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
                const next = at + (e.key === "ArrowDown" ? 1 : -1);
                mark(next >= shown.length ? -1 : next < -1 ? shown.length - 1 : next);
                e.preventDefault(); e.stopPropagation();
            } else if (open && e.key === "Tab" && !e.shiftKey && !e.ctrlKey && !e.altKey) {
                take(shown[Math.max(0, at)].tag);
                e.preventDefault();
            } else if (e.key === "Enter" && open && at >= 0) {
                take(shown[at].tag);
                e.preventDefault(); e.stopPropagation();
            } else if (e.key === "Enter" && onPick && input.value.trim()) {
                handOver(input.value);
                e.preventDefault(); e.stopPropagation();
            } else if (e.key === "Escape" && open) {
                close();
                e.preventDefault(); e.stopPropagation();
            }
        });
        input.addEventListener("blur", close);  // what was typed but not finished stays in the field
        return {
            node, input, close,
            value: () => (multiple ? Studio.splitTags(input.value) : input.value.trim()),
            set: (text) => { input.value = text; close(); },
        };
    };
})();
