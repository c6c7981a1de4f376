// A long list of which only what is in sight is in the page: ten thousand cards cost what twenty do.
//
// LoraStudio.virtual({height(width), narrowest, gap, draw(key) -> node, sight(keys), label}) -> {node, show(keys, anew), redraw(), each(fn), cell(key), into(key), columns()}
// All rows are equally high. A node lives as long as its key stays near the visible part; `sight` is told which keys those are.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h} = Studio;

    Studio.virtual = function ({height, narrowest = Infinity, gap = 0, draw, sight, label = "", role = "list"}) {
        const space = h("div.ls-virtual-space", {role: "presentation"});
        const node = h("div.ls-virtual", {role, "aria-label": label, tabIndex: -1}, space);
        let keys = [], places = new Map(), columns = 1, rowHeight = 1, wide = 0, last = "", waiting = 0;
        const cells = new Map();

        function measure() {
            wide = space.clientWidth;
            columns = Number.isFinite(narrowest) ? Math.max(1, Math.floor((wide + gap) / (narrowest + gap))) : 1;
            rowHeight = height((wide - gap * (columns - 1)) / columns) + gap;
            space.style.height = Math.max(0, Math.ceil(keys.length / columns) * rowHeight - gap) + "px";
        }
        function place(cell, k) {
            const column = k % columns, row = Math.floor(k / columns), width = (wide - gap * (columns - 1)) / columns;
            cell.style.transform = `translate(${Math.round(column * (width + gap))}px, ${row * rowHeight}px)`;
            cell.style.width = Math.floor(width) + "px";
            cell.style.height = rowHeight - gap + "px";
        }
        function near() {
            const top = node.scrollTop, bottom = top + node.clientHeight, more = Math.max(1, Math.ceil(node.clientHeight / 3 / rowHeight));
            return [Math.max(0, (Math.floor(top / rowHeight) - more) * columns), Math.min(keys.length, (Math.ceil(bottom / rowHeight) + more) * columns)];
        }
        function look(force) {
            if (!node.clientHeight) return;
            const [from, to] = near(), now = from + " " + to;
            if (now === last && !force) return;
            last = now;
            const wanted = keys.slice(from, to), there = new Set(wanted);
            for (const [key, cell] of cells) {
                // What somebody types in stays, out of sight, until they go elsewhere.
                if (!there.has(key) && !(places.has(key) && cell.contains(document.activeElement))) { cell.remove(); cells.delete(key); }
            }
            wanted.forEach((key, n) => {
                let cell = cells.get(key);
                if (!cell) {
                    cell = draw(key);
                    cell.classList.add("ls-virtual-cell");
                    cells.set(key, cell);
                    space.append(cell);
                }
                place(cell, from + n);
                cell.setAttribute("aria-setsize", keys.length);
                cell.setAttribute("aria-posinset", from + n + 1);
            });
            for (const [key, cell] of cells) if (!there.has(key)) place(cell, places.get(key));
            if (sight) sight(wanted);
        }
        function soon() {
            if (waiting) return;
            waiting = requestAnimationFrame(() => { waiting = 0; look(false); });
        }
        function redraw() { measure(); look(true); }
        // anew: every node is drawn again, since what it says has changed; the list stays where it was scrolled to.
        function show(found, anew = false) {
            if (anew) { for (const cell of cells.values()) cell.remove(); cells.clear(); }
            keys = found;
            places = new Map(keys.map((key, k) => [key, k]));
            measure();
            if (node.scrollTop > space.clientHeight) node.scrollTop = 0;
            look(true);
        }
        // Bring a key into sight; its node, or null when it is not in the list.
        function into(key) {
            const k = places.get(key);
            if (k === undefined) return null;
            const top = Math.floor(k / columns) * rowHeight, bottom = top + rowHeight - gap;
            if (top < node.scrollTop) node.scrollTop = top;
            else if (bottom > node.scrollTop + node.clientHeight) node.scrollTop = bottom - node.clientHeight;
            look(true);
            return cells.get(key) || null;
        }
        node.addEventListener("scroll", soon, {passive: true});
        new ResizeObserver(() => { if (node.clientHeight && (space.clientWidth !== wide || node.clientHeight)) redraw(); }).observe(node);
        return {node, show, redraw, into, each: (fn) => { for (const [key, cell] of cells) fn(cell, key); }, cell: (key) => cells.get(key), columns: () => columns, place: (key) => places.get(key)};
    };
})();
