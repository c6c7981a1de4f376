// The grid of originals with their boxes: built a block of rows at a time, where somebody looks, so that ten thousand pictures cost what fifty do.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const NARROWEST = 158, GAP = 10, TEXT = 50, ROWS = 6;

    // cropGrid(state, {open(name)}) gives {node, show(names, mode), update(names)}; mode "boxes" or "crops".
    Studio.cropGrid = function (state, {open}) {
        const node = h("div.ls-crop-grid", {role: "list"});
        let names = [], mode = "boxes", columns = 0, side = 0, blocks = [];

        const watcher = new IntersectionObserver((entries) => {
            for (const entry of entries) { const block = entry.target.block; if (entry.isIntersecting) build(block); else clear(block); }
        }, {rootMargin: "700px 0px"});

        function measure() {
            const width = node.clientWidth;
            if (!width) return false;
            const now = Math.max(2, Math.floor((width + GAP) / (NARROWEST + GAP))), wide = Math.floor((width - GAP * (now - 1)) / now);
            const different = now !== columns || wide !== side;
            columns = now; side = wide;
            return different;
        }
        function layout() {
            watcher.disconnect();
            node.style.setProperty("--ls-crop-columns", columns);
            blocks = [];
            const per = columns * ROWS;
            for (let first = 0; first < names.length; first += per) {
                const block = {names: names.slice(first, first + per), cells: new Map(), built: false};
                const rows = Math.ceil(block.names.length / columns);
                block.node = h("div.ls-crop-block", {role: "presentation", style: {height: rows * (side + TEXT + GAP) + "px"}});
                block.node.block = block;
                blocks.push(block);
            }
            node.replaceChildren(...blocks.map((b) => b.node));
            for (const block of blocks) watcher.observe(block.node);
        }
        function build(block) {
            if (block.built) return;
            block.built = true;
            for (const name of block.names) { const cell = make(name); block.cells.set(name, cell); block.node.append(cell); }
        }
        function clear(block) {
            if (!block.built || block.node.contains(document.activeElement)) return;
            block.built = false;
            block.cells.clear();
            block.node.replaceChildren();
        }
        function make(name) {
            const cell = h("div.ls-crop-cell", {role: "listitem"});
            fill(cell, state.get(name));
            return cell;
        }
        function fill(cell, one) {
            if (!one) { cell.replaceChildren(); return; }
            const written = mode === "crops", [width, height] = written ? one.target : one.size, scale = Math.min((side - 8) / width, (side - 8) / height);
            const photo = h("div.ls-crop-thumb", {style: {width: Math.round(width * scale) + "px", height: Math.round(height * scale) + "px"}});
            if (!written || one.output) photo.append(h("img", {alt: "", src: state.address(one, written, 256), draggable: false, decoding: "async"}));
            else photo.append(h("span.ls-crop-none", {}, t("not cropped yet")));
            if (!written) photo.append(...Studio.cropFrames(one));
            const marks = Studio.cropBadges(one);
            if (one.more.length) marks.push([t("+{n}", {n: one.more.length}), "", t("Further crops of this picture")]);
            if (one.pad) marks.push([t("padded"), "", t("The whole picture, with its edges filled in.")]);
            if (one.by_hand) marks.push([t("by hand"), "", t("You placed this box.")]);
            if (one.pending) marks.push(["…", "", t("The best place is still being looked for; until then the box is in the middle.")]);
            if (one.done) marks.push(["✓", "ok", t("Cropped as shown")]);
            const about = t("{name}: box {w} × {h} of {W} × {H}, becomes {tw} × {th}", {name: one.source, w: one.box[2] - one.box[0], h: one.box[3] - one.box[1], W: one.size[0], H: one.size[1], tw: one.target[0], th: one.target[1]});
            const button = h("button.ls-crop-open", {type: "button", title: about, "aria-label": about, dataset: {source: one.source}, onclick: () => open(one.source), style: {height: side + "px"}}, photo);
            Studio.fill(cell, button, h("div.ls-crop-name", {title: one.source}, one.source),
                h("div.ls-crop-marks", {}, h("span.ls-crop-size", {}, one.target.join(" × ")), marks.map(([text, kind, why]) => h("span.ls-badge", {class: kind ? "ls-" + kind : "", title: why}, text))));
            cell.classList.toggle("ls-out", Boolean(one.left_out));
        }
        new ResizeObserver(() => { if (measure()) layout(); }).observe(node);

        return {
            node,
            show(wanted, how) {
                const same = how === mode && wanted.length === names.length && wanted.every((name, k) => name === names[k]);
                names = wanted; mode = how;
                measure();
                if (!columns) return;
                if (same && blocks.length) this.update(null); else layout();
            },
            update(some) {
                for (const block of blocks) {
                    if (!block.built) continue;
                    for (const [name, cell] of block.cells) if (!some || some.has(name)) { const focused = cell.contains(document.activeElement); fill(cell, state.get(name)); if (focused) cell.querySelector("button").focus(); }
                }
            },
        };
    };

    // Where a box lies in its picture, in percent: for whatever size it is shown at.
    Studio.cropPlace = function (box, [width, height]) {
        const percent = (v, of) => (100 * v / of).toFixed(3) + "%";
        return {left: percent(box[0], width), top: percent(box[1], height), width: percent(box[2] - box[0], width), height: percent(box[3] - box[1], height)};
    };
    // The boxes of a picture over its thumbnail: the main one with what is outside in shadow, the others dashed.
    Studio.cropFrames = (one) => [
        h("div.ls-crop-frame", {class: one.by_hand ? "ls-own" : "", style: Studio.cropPlace(one.box, one.size)}),
        ...one.more.filter((m) => !m.left_out).map((m) => h("div.ls-crop-frame.ls-more", {style: Studio.cropPlace(m.box, one.size)})),
    ];
})();
