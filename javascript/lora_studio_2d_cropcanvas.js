// One picture, large, with its box: dragged, resized, drawn anew or placed by a focal point, by mouse, finger or keys.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, cropBox} = Studio;
    const CORNERS = ["nw", "ne", "sw", "se"];
    const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

    // cropCanvas({placed(change), live(box)}) gives {node, show(one, address, preview), mode(name), fit(), key(event), box(), flush(), image}.
    // `change` is {box} or {focal}, when somebody has let go; `live` is told at once.
    Studio.cropCanvas = function ({placed, live}) {
        const image = h("img", {alt: "", draggable: false});
        const frame = h("div.ls-crop-box", {}, CORNERS.map((c) => h("span.ls-crop-handle", {class: "ls-" + c, dataset: {corner: c}})));
        const point = h("div.ls-crop-point", {hidden: true}), hole = h("div.ls-crop-hole");
        const others = h("div.ls-crop-others");
        const photo = h("div.ls-crop-photo", {}, image, h("div.ls-crop-shade", {}, hole, others), frame, point);
        const node = h("div.ls-crop-stage", {tabIndex: 0, role: "application", "aria-label": t("The picture and its box. Arrow keys move the box, + and − change its size.")}, photo);
        let one = null, box = null, focal = null, scale = 1, how = "box", drag = null, least = 1, waiting = null, timer = 0;

        const aspect = () => one.target[0] / one.target[1];
        function draw() {
            if (!one) return;
            const [left, top, right, bottom] = box.map((v) => v * scale);
            for (const each of [frame, hole]) Object.assign(each.style, {left: left + "px", top: top + "px", width: right - left + "px", height: bottom - top + "px"});
            point.hidden = how !== "focal";
            if (how === "focal") Object.assign(point.style, {left: focal[0] * one.size[0] * scale + "px", top: focal[1] * one.size[1] * scale + "px"});
            live(box);
        }
        function fit() {
            if (!one || !node.clientWidth) return;
            const style = getComputedStyle(node);
            const room = [node.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight), node.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)];
            // A padded box reaches over the picture's edges: both have to be seen.
            const reach = [Math.max(one.size[0], one.box[2] - one.box[0]), Math.max(one.size[1], one.box[3] - one.box[1])];
            scale = Math.min(room[0] / reach[0], room[1] / reach[1], 4);
            photo.style.width = one.size[0] * scale + "px";
            photo.style.height = one.size[1] * scale + "px";
            draw();
        }
        function take(next, enlarge) {
            one = next;
            box = one.box.slice();
            focal = one.focal || cropBox.centre(box, one.size);
            // Below this width the crop would have to be enlarged, and nobody allowed that.
            least = enlarge ? 8 : Math.min(one.target[0], one.size[0], one.size[1] * aspect());
            others.replaceChildren(...(one.others || []).map((b) => h("div.ls-crop-frame.ls-more", {style: Studio.cropPlace(b, one.size)})));
            fit();
        }
        // Taken in hand, a padded box becomes one inside the picture.
        function own() {
            if (box[0] < 0 || box[1] < 0 || box[2] > one.size[0] || box[3] > one.size[1]) box = cropBox.largest(one.size, aspect(), cropBox.centre(box, one.size));
        }
        // What somebody does with keys arrives as one change once they pause.
        function later(change) { waiting = change; clearTimeout(timer); timer = setTimeout(flush, 500); }
        function flush() { clearTimeout(timer); const change = waiting; waiting = null; return change ? placed(change) : undefined; }

        function setFocal(x, y) {
            focal = [Math.min(Math.max(x, 0), 1), Math.min(Math.max(y, 0), 1)];
            box = cropBox.largest(one.size, aspect(), focal);
            draw();
        }
        const change = () => (how === "focal" ? {focal: focal.map((v) => Number(v.toFixed(5)))} : {box: box.map(Math.round)});

        const at = (event) => { const r = photo.getBoundingClientRect(); return [(event.clientX - r.left) / scale, (event.clientY - r.top) / scale]; };
        photo.addEventListener("pointerdown", (event) => {
            if (!one || drag || (event.pointerType === "mouse" && event.button)) return;
            if (how === "box") own();
            const from = at(event), corner = event.target.dataset ? event.target.dataset.corner : "";
            const inside = from[0] >= box[0] && from[0] <= box[2] && from[1] >= box[1] && from[1] <= box[3];
            drag = {id: event.pointerId, from, box: box.slice(), focal, corner, kind: how === "focal" ? "focal" : corner ? "corner" : inside ? "move" : "draw", moved: false};
            photo.setPointerCapture(event.pointerId);
            node.focus({preventScroll: true});
            event.preventDefault();
            if (drag.kind === "focal") { drag.moved = true; setFocal(from[0] / one.size[0], from[1] / one.size[1]); }
        });
        photo.addEventListener("pointermove", (event) => {
            if (!drag || event.pointerId !== drag.id) return;
            const to = at(event), [dx, dy] = [to[0] - drag.from[0], to[1] - drag.from[1]];
            // A hand that trembles while clicking draws nothing.
            if (!drag.moved && Math.hypot(dx, dy) * scale < 3) return;
            drag.moved = true;
            if (drag.kind === "focal") { setFocal(to[0] / one.size[0], to[1] / one.size[1]); return; }
            if (drag.kind === "move") box = cropBox.move(drag.box, dx, dy, one.size);
            else if (drag.kind === "corner") box = cropBox.resize(drag.box, drag.corner, to, aspect(), one.size, least);
            else {
                const start = [Math.min(Math.max(drag.from[0], 0), one.size[0]), Math.min(Math.max(drag.from[1], 0), one.size[1])];
                const towards = [start[0] >= one.size[0] ? -1 : 1, start[1] >= one.size[1] ? -1 : 1];
                box = cropBox.span(start, to, aspect(), one.size, least, towards);
                if (box[2] - box[0] < least - 0.5) box = cropBox.move([start[0], start[1], start[0] + least, start[1] + least / aspect()], 0, 0, one.size);
            }
            draw();
        });
        const end = (event, keep) => {
            if (!drag || event.pointerId !== drag.id) return;
            const was = drag;
            drag = null;
            if (!was.moved || !keep) { box = one.box.slice(); focal = was.focal; draw(); return; }
            waiting = null;
            placed(change());
        };
        photo.addEventListener("pointerup", (event) => end(event, true));
        photo.addEventListener("pointercancel", (event) => end(event, false));
        new ResizeObserver(fit).observe(node);

        return {
            node, image, flush, fit,
            box: () => box,
            busy: () => Boolean(drag || waiting),
            show(next, address, preview, enlarge) {
                if (!one || image.dataset.address !== address) {
                    // The thumbnail is there at once; the whole picture follows.
                    image.src = preview;
                    image.dataset.address = address;
                    const whole = new Image();
                    whole.onload = () => { if (image.dataset.address === address) image.src = address; };
                    whole.src = address;
                }
                take(next, enlarge);
            },
            mode(name) { if (how === name) return; how = name; node.classList.toggle("ls-focal", how === "focal"); if (one) { focal = one.method === "focal" && one.focal ? one.focal : cropBox.centre(box, one.size); draw(); } },
            // Whether this key did something to the box.
            key(event) {
                if (!one || event.ctrlKey || event.metaKey || event.altKey) return false;
                if (how === "box" && (ARROWS[event.key] || "+=-_".includes(event.key))) own();
                const arrow = ARROWS[event.key], step = Math.max(1, Math.round(1 / scale)) * (event.shiftKey ? 10 : 1);
                if (arrow && how === "focal") setFocal(focal[0] + arrow[0] * step / one.size[0], focal[1] + arrow[1] * step / one.size[1]);
                else if (arrow) box = cropBox.move(box, arrow[0] * step, arrow[1] * step, one.size);
                else if (how === "box" && ["+", "=", "-", "_"].includes(event.key)) box = cropBox.grow(box, ("+=".includes(event.key) ? 1 : -1) * (event.shiftKey && event.key !== "+" ? 0.1 : 0.02) + 1, aspect(), one.size, least);
                else return false;
                draw();
                later(change());
                return true;
            },
        };
    };
})();
