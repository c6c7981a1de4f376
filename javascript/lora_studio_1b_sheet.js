// The contact sheet: every picture of a project, with what there is to say of it; choose some and take them out.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    const PAGE = 500;
    const BADGES = {small: ["small", "ls-warn"], blurred: ["blurred", "ls-warn"], double: ["twice", "ls-warn"], clear: ["see-through", "ls-warn"], long: ["very long", ""]};

    // contactSheet({removed()}) -> {node, load(project), badges(quality), choose(names)}
    Studio.contactSheet = function ({removed}) {
        let project = null, where = "raw", loaded = 0, total = 0, marks = {}, asked = 0, last = -1;
        const cells = new Map(), chosen = new Set(), order = [];
        const grid = h("div.ls-sheet", {role: "listbox", "aria-multiselectable": "true", "aria-label": t("Pictures")}), more = Studio.button(t("Show more"), () => page(), {kind: "small"});
        const count = h("span.ls-hint"), remove = Studio.button(t("Take out of the project"), takeOut, {kind: "small"}), none = Studio.button(t("Select none"), () => choose([]), {kind: "small"});
        const tools = h("div.ls-row.ls-sheet-tools", {}, count, remove, none);
        const broken = h("div");
        const node = h("div", {}, tools, grid, h("div.ls-row.ls-center", {}, more), broken);

        const thumb = (picture) => Studio.api.url(p`projects/${project}/pictures/${where}/${picture.name}`, {size: 256, v: picture.v});
        function cell(picture) {
            const name = h("div.ls-sheet-name", {translate: "no"}, picture.name), flags = h("div.ls-sheet-flags");
            const one = h("div.ls-sheet-cell", {role: "option", tabIndex: 0, title: picture.name, "aria-selected": "false", dataset: {name: picture.name}, onclick: (e) => pick(picture.name, e), ondblclick: () => large(picture),
                onkeydown: (e) => { if (e.key === " " ) { e.preventDefault(); pick(picture.name, {ctrlKey: true}); } else if (e.key === "Enter") large(picture); }},
            h("img", {src: thumb(picture), loading: "lazy", alt: picture.name, draggable: false}), name, h("div.ls-hint", {}, picture.width + " × " + picture.height), flags);
            cells.set(picture.name, {one, flags, picture});
            order.push(picture.name);
            return one;
        }
        function flag(name) {
            const {flags} = cells.get(name);
            Studio.fill(flags, (marks[name] || []).map((kind) => (BADGES[kind] ? h("span.ls-badge", {class: BADGES[kind][1]}, t(BADGES[kind][0])) : null)));
        }
        async function page() {
            const mine = project, found = await Studio.api.get(p`projects/${project}/pictures`, {where, offset: loaded, limit: PAGE});
            if (mine !== project) return;
            total = found.total;
            loaded += found.pictures.length;
            Studio.append(grid, found.pictures.map(cell));
            for (const picture of found.pictures) flag(picture.name);
            more.hidden = loaded >= total;
            Studio.fill(broken, found.unreadable.length ? h("details.ls-card", {open: true}, h("summary", {}, t("{n} files cannot be read", {n: found.unreadable.length})), h("ul", {}, found.unreadable.map(([name, reason]) => h("li", {}, h("strong", {translate: "no"}, name), ": ", ts(reason))))) : null);
            tell();
        }
        async function load(id, folder) {
            const mine = ++asked;
            project = id;
            where = folder;
            const keep = Math.max(PAGE, loaded), found = await Studio.api.get(p`projects/${id}/pictures`, {where, offset: 0, limit: Math.min(keep, 1000)});
            if (mine !== asked) return;
            const now = JSON.stringify(found);
            if (grid.dataset.state === id + now) return;
            grid.dataset.state = id + now;
            cells.clear(); order.length = 0; loaded = 0;
            grid.replaceChildren();
            total = found.total;
            loaded = found.pictures.length;
            Studio.append(grid, found.pictures.map(cell));
            for (const name of [...chosen]) if (!cells.has(name)) chosen.delete(name);
            for (const picture of found.pictures) flag(picture.name);
            more.hidden = loaded >= total;
            Studio.fill(broken, found.unreadable.length ? h("details.ls-card", {open: true}, h("summary", {}, t("{n} files cannot be read", {n: found.unreadable.length})), h("ul", {}, found.unreadable.map(([name, reason]) => h("li", {}, h("strong", {translate: "no"}, name), ": ", ts(reason))))) : null);
            tell();
        }
        function pick(name, event) {
            const at = order.indexOf(name);
            if (event.shiftKey && last >= 0) for (let k = Math.min(at, last); k <= Math.max(at, last); k++) chosen.add(order[k]);
            else if (chosen.has(name)) chosen.delete(name);
            else chosen.add(name);
            last = at;
            tell();
        }
        function choose(names) { chosen.clear(); for (const name of names) if (cells.has(name)) chosen.add(name); tell(); if (names.length && cells.has(names[0])) cells.get(names[0]).one.scrollIntoView({block: "center", behavior: "smooth"}); }
        function tell() {
            for (const [name, {one}] of cells) { const on = chosen.has(name); one.setAttribute("aria-selected", String(on)); one.classList.toggle("ls-on", on); }
            count.textContent = chosen.size ? t("{n} of {total} selected", {n: chosen.size, total}) : t("{n} pictures; click to select, double-click to look", {n: total});
            remove.hidden = none.hidden = !chosen.size;
        }
        async function takeOut() {
            const id = project, {batch} = await Studio.api.post(p`projects/${id}/pictures/remove`, {where, names: [...chosen]}), n = chosen.size;
            chosen.clear();
            await removed();
            const note = Studio.toast(t("{n} pictures are in the project's trash.", {n}), "ok", "", 60);
            note.append(Studio.button(t("Bring back"), async () => { await Studio.api.post(p`projects/${id}/pictures/restore`, {batch}); note.remove(); await removed(); }, {kind: "small"}));
        }
        function large(picture) {
            Studio.dialog({title: picture.name, wide: true, body: h("div.ls-sheet-large", {}, h("img", {src: Studio.api.url(p`projects/${project}/pictures/${where}/${picture.name}`, {v: picture.v}), alt: picture.name}), h("div.ls-hint", {}, picture.width + " × " + picture.height + " · " + Studio.bytes(picture.bytes)))});
        }
        return {node, load, choose, badges(found) { marks = found; for (const name of cells.keys()) flag(name); }};
    };
})();
