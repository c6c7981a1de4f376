// The contact sheet: every picture of a project, with what there is to say of it; choose some and take them out.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    const FEW = 5; // pictures taken out without a question: they can be brought back
    const PAGE = 1000, NARROWEST = 136, GAP = 10, WORDS = 52; // pixels below a picture
    const BADGES = {small: ["small", "ls-warn"], blurred: ["blurred", "ls-warn"], double: ["twice", "ls-warn"], clear: ["see-through", "ls-warn"], long: ["very long", ""]};

    // contactSheet({removed(), turned(where)}) -> {node, load(project, where, counts), badges(quality), choose(names), takeOut(names)}
    Studio.contactSheet = function ({removed, turned}) {
        let project = null, where = "raw", quality = {where: "raw", pictures: {}}, asked = 0, last = -1, current = -1, keys = [];
        const pictures = new Map(), chosen = new Set();
        const list = Studio.virtual({height: (width) => Math.round(width) + WORDS, narrowest: NARROWEST, gap: GAP, draw: cell, label: t("Pictures"), role: "listbox"});
        list.node.classList.add("ls-sheet");
        list.node.setAttribute("aria-multiselectable", "true");
        list.node.addEventListener("keydown", onKey);
        const count = h("span.ls-hint"), remove = Studio.button(t("Take out of the project"), () => takeOut([...chosen]), {kind: "small"}), none = Studio.button(t("Select none"), () => choose([]), {kind: "small"});
        const folders = h("div.ls-row.ls-sheet-folders", {role: "group", "aria-label": t("Which pictures")}), broken = h("div"), trash = h("div");
        const node = h("div", {}, folders, h("div.ls-row.ls-sheet-tools", {}, count, remove, none), list.node, broken, trash);

        // A key changes with its picture, so that a changed one is drawn anew.
        const keyOf = (picture) => where + "/" + picture.v + "/" + picture.name;
        const thumb = (picture) => Studio.api.url(p`projects/${project}/pictures/${where}/${picture.name}`, {size: 256, v: picture.v});
        function cell(key) {
            const picture = pictures.get(key), flags = h("div.ls-sheet-flags");
            const one = h("div.ls-sheet-cell", {role: "option", title: picture.name, dataset: {name: picture.name}, onclick: (e) => pick(keys.indexOf(key), e), ondblclick: () => large(picture), onfocus: () => { current = keys.indexOf(key); marked(); }},
                h("img", {src: thumb(picture), alt: picture.name, draggable: false}), h("div.ls-sheet-name", {translate: "no"}, picture.name), h("div.ls-hint", {}, picture.width + " × " + picture.height), flags);
            mark(one, key);
            return one;
        }
        function mark(one, key) {
            const picture = pictures.get(key);
            if (!picture) return;
            const on = chosen.has(picture.name), known = quality.where === where ? quality.pictures[picture.name] || [] : [];
            one.setAttribute("aria-selected", String(on));
            one.classList.toggle("ls-on", on);
            one.tabIndex = keys[Math.max(0, current)] === key ? 0 : -1; // one stop for the tab key; the arrows go on from there
            Studio.fill(one.querySelector(".ls-sheet-flags"), known.map((kind) => (BADGES[kind] ? h("span.ls-badge", {class: BADGES[kind][1]}, t(BADGES[kind][0])) : null)));
        }
        const marked = () => list.each(mark);

        // Pages come one after the other; the first is shown at once when there was nothing.
        async function load(id, folder, counts) {
            const mine = ++asked, found = [];
            if (id !== project || folder !== where) { chosen.clear(); keys = []; current = last = -1; }
            project = id;
            where = folder;
            tabs(counts);
            let page;
            do {
                page = await Studio.api.get(p`projects/${id}/pictures`, {where, offset: found.length, limit: PAGE});
                if (mine !== asked) return;
                found.push(...page.pictures);
                if (!keys.length) show(found, page);
            } while (page.pictures.length && found.length < page.total);
            show(found, page);
            const {batches} = await Studio.api.get(p`projects/${id}/pictures/trash`);
            if (mine === asked) inTrash(batches);
        }
        function show(found, {unreadable}) {
            const names = new Set(found.map((picture) => picture.name));
            pictures.clear();
            for (const picture of found) pictures.set(keyOf(picture), picture);
            keys = [...pictures.keys()];
            for (const name of [...chosen]) if (!names.has(name)) chosen.delete(name);
            current = Math.min(current, keys.length - 1);
            list.show(keys);
            Studio.fill(broken, unreadable.length ? h("details.ls-card", {open: true}, h("summary", {}, t("{n} {file|files} cannot be read", {n: unreadable.length})), h("ul.ls-left-out", {}, unreadable.map(([name, reason]) => h("li", {}, h("strong", {translate: "no"}, name), ": ", ts(reason))))) : null);
            tell();
        }
        function tabs({raw, dataset}) {
            const one = (folder, text) => h("button.ls-button.ls-small", {type: "button", "aria-pressed": String(where === folder), class: where === folder ? "ls-on" : "", dataset: {where: folder}, onclick: () => turned(folder)}, text);
            Studio.fill(folders, raw && dataset ? [one("raw", t("Originals: {n}", {n: raw})), one("dataset", t("Cropped: {n}", {n: dataset}))] : null);
            folders.hidden = !(raw && dataset);
        }
        function inTrash(batches) {
            const total = batches.reduce((sum, one) => sum + one.names.length, 0);
            const row = (one) => (one.problem ? h("p.ls-hint", {}, ts(one.problem)) :
                h("div.ls-row", {}, h("span", {title: one.names.slice(0, 30).join("\n")}, t("{n} {picture|pictures}", {n: one.names.length}), " · ", new Date(1000 * one.time).toLocaleString(Studio.locale.replace("_", "-"))),
                    Studio.button(t("Bring back"), () => back(project, one.batch), {kind: "small"})));
            Studio.fill(trash, batches.length ? h("details.ls-card.ls-sheet-trash", {}, h("summary", {}, t("In the project's trash: {n}", {n: total})), batches.map(row)) : null);
        }

        function pick(at, event) {
            if (event.shiftKey && last >= 0) for (let k = Math.min(at, last); k <= Math.max(at, last); k++) chosen.add(pictures.get(keys[k]).name);
            else { const {name} = pictures.get(keys[at]); if (chosen.has(name)) chosen.delete(name); else chosen.add(name); }
            last = current = at;
            tell();
        }
        function onKey(event) {
            if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey || !keys.length) return;
            const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -list.columns(), ArrowDown: list.columns(), Home: -keys.length, End: keys.length};
            if (event.key in steps) {
                current = Math.max(0, Math.min(keys.length - 1, Math.max(0, current) + steps[event.key]));
                const one = list.into(keys[current]);
                if (one) one.focus({preventScroll: true});
                marked();
            } else if (event.key === " ") pick(Math.max(0, current), event);
            else if (event.key === "Enter" && current >= 0) large(pictures.get(keys[current]));
            else return;
            event.preventDefault();
        }
        function choose(names) {
            const there = new Set([...pictures.values()].map((picture) => picture.name));
            chosen.clear();
            for (const name of names) if (there.has(name)) chosen.add(name);
            const first = keys.findIndex((key) => chosen.has(pictures.get(key).name));
            if (first >= 0) { list.into(keys[first]); list.node.scrollIntoView({block: "nearest", behavior: "smooth"}); }
            tell();
        }
        function tell() {
            marked();
            count.textContent = chosen.size ? t("{n} of {total} selected", {n: chosen.size, total: keys.length}) : t("{n} {picture|pictures}; click to select, double-click to look", {n: keys.length});
            remove.hidden = none.hidden = !chosen.size;
        }
        async function takeOut(names) {
            if (names.length > FEW && !(await Studio.confirm({title: t("Take {n} {picture|pictures} out of the project?", {n: names.length}), ok: t("Take them out"), kind: "danger",
                body: h("div", {}, h("p", {}, t("They move to the project's trash, from where they can be brought back.")), h("ul.ls-left-out", {translate: "no"}, names.map((name) => h("li", {}, name))))}))) return;
            const id = project, {batch} = await Studio.api.post(p`projects/${id}/pictures/remove`, {where, names});
            chosen.clear();
            await removed();
            const note = Studio.toast(t("{n} {picture is|pictures are} in the project's trash.", {n: names.length}), "ok", "", 60);
            note.append(Studio.button(t("Bring back"), async () => { await back(id, batch); note.remove(); }, {kind: "small"}));
        }
        async function back(id, batch) {
            await Studio.api.post(p`projects/${id}/pictures/restore`, {batch});
            await removed();
        }
        function large(picture) {
            Studio.dialog({title: picture.name, wide: true, body: h("div.ls-sheet-large", {}, h("img", {src: Studio.api.url(p`projects/${project}/pictures/${where}/${picture.name}`, {v: picture.v}), alt: picture.name}), h("div.ls-hint", {}, picture.width + " × " + picture.height + " · " + Studio.bytes(picture.bytes)))});
        }
        return {node, load, choose, takeOut, badges(found) { quality = found; marked(); }};
    };
})();
