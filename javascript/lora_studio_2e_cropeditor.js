// The dialog of one picture: its box on the canvas, what becomes of it, what lies in the dataset now; from picture to picture by keys.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const PREVIEW = 240; // pixels of the longer side

    // cropEditor(state, names, name): opens it. Gives {changed(names)} to be told of answers from the server, and `closed`, a promise.
    Studio.cropEditor = function (state, names, name) {
        let at = Math.max(0, names.indexOf(name)), how = "box", after = false, part = "";
        const one = () => state.get(names[at]);
        const send = (change) => Studio.attempt(() => state.change([{source: names[at], ...change}]));
        // The box in hand: the picture's main one, or one of its siblings in its place.
        function held() {
            const main = one(), more = main && main.more.find((m) => m.part === part);
            if (!main || (part && !more)) part = "";
            if (!main) return main;
            const rest = [...(part ? [main.box] : []), ...main.more.filter((m) => m.part !== part && !m.left_out).map((m) => m.box)];
            return part ? {...main, ...more, focal: null, warnings: more.scale > 1.01 ? ["enlarged"] : [], others: rest} : {...main, others: rest};
        }

        const canvas = Studio.cropCanvas({placed: (change) => send(part ? {part, ...change} : change), live: () => { preview(); tell(); }});
        const shot = h("canvas.ls-crop-preview"), facts = h("div.ls-crop-facts"), marks = h("div.ls-crop-marks"), made = h("div.ls-crop-made");
        const title = h("strong.ls-crop-title"), place = h("span.ls-hint");
        const toggle = (text, hint, work) => h("button.ls-toggle", {type: "button", title: hint, onclick: () => { work(); canvas.node.focus(); }}, text);
        const modes = {
            box: toggle(t("Box"), t("Drag the box, its corners, or draw a new one (b)"), () => mode("box")),
            focal: toggle(t("Focal point"), t("Click what matters: the largest box around it is taken (f)"), () => mode("focal")),
        };
        const methods = {
            "": toggle(t("Automatic"), t("As the settings say (r)"), () => send({method: "reset"})),
            smart: toggle(t("Smart"), t("Where the eye goes"), () => send({method: "smart"})),
            center: toggle(t("Centre"), t("The middle of the picture"), () => send({method: "center"})),
        };
        const leave = toggle(t("Leave out"), t("Not for the dataset (Delete)"), () => send({excluded: one().left_out !== "excluded"}));
        const compare = toggle(t("Before / after"), t("The picture that lies in the dataset now, beside its original (a)"), () => { after = !after; show(); });
        const back = Studio.button("↶", () => state.back(), {kind: "small", title: t("Undo (Ctrl + Z)"), "aria-label": t("Undo (Ctrl + Z)")});
        const forward = Studio.button("↷", () => state.forward(), {kind: "small", title: t("Redo (Ctrl + Y)"), "aria-label": t("Redo (Ctrl + Y)")});
        const previous = h("button.ls-button.ls-small", {type: "button", onclick: () => go(-1)}, "‹ ", t("Previous")), next = h("button.ls-button.ls-small", {type: "button", onclick: () => go(1)}, t("Next"), " ›");
        const shape = h("span.ls-crop-shape"), boxes = h("div.ls-row.ls-crop-boxes", {role: "group", "aria-label": t("Crops of this picture")});
        const large = h("img.ls-crop-large", {alt: ""}), side = h("div.ls-crop-after", {hidden: true}, large);

        const node = h("div.ls-crop-editor", {onkeydown: key},
            h("div.ls-row", {}, previous, next, title, place, h("span.ls-spring"), back, forward),
            h("div.ls-crop-work", {}, canvas.node, side,
                h("div.ls-crop-side", {}, h("h4", {}, t("Becomes")), shot, facts, marks, h("h4", {}, t("In the dataset now")), made)),
            boxes,
            h("div.ls-row.ls-crop-tools", {}, modes.box, modes.focal, h("span.ls-crop-gap"), Object.values(methods), shape, h("span.ls-crop-gap"), leave, compare),
            h("div.ls-hint.ls-crop-help", {}, t("Arrow keys move it, with Shift in larger steps; + and − change its size; N and P go to the next and previous picture; R is automatic again, C adds a crop, 1 to 9 choose one, Delete leaves the picture out.")));
        canvas.image.addEventListener("load", () => preview());

        function preview() {
            const now = held(), box = canvas.box();
            if (!now || !box || !canvas.image.naturalWidth) return;
            const scale = PREVIEW / Math.max(...now.target), size = now.target.map((v) => Math.max(1, Math.round(v * scale)));
            if (shot.width !== size[0] || shot.height !== size[1]) [shot.width, shot.height] = size;
            const across = canvas.image.naturalWidth / now.size[0], down = canvas.image.naturalHeight / now.size[1];
            const pen = shot.getContext("2d");
            pen.imageSmoothingQuality = "high";
            pen.fillStyle = now.pad && now.pad !== "edge" ? now.pad : "#888";
            pen.fillRect(0, 0, size[0], size[1]);
            pen.drawImage(canvas.image, box[0] * across, box[1] * down, (box[2] - box[0]) * across, (box[3] - box[1]) * down, 0, 0, size[0], size[1]);
        }
        function tell() {
            const now = held(), box = canvas.box();
            if (!now || !box) return;
            const [width, height] = [Math.round(box[2] - box[0]), Math.round(box[3] - box[1])];
            facts.textContent = t("{w} × {h} of {W} × {H} pixels become {tw} × {th}.", {w: width, h: height, W: now.size[0], H: now.size[1], tw: now.target[0], th: now.target[1]});
        }
        function show() {
            const main = one(), now = held();
            if (!now) return;
            if (part && how === "focal") how = "box";
            title.textContent = now.source;
            place.textContent = t("{n} of {all}", {n: at + 1, all: names.length});
            previous.disabled = at === 0; next.disabled = at === names.length - 1;
            back.disabled = !state.undo; forward.disabled = !state.redo;
            canvas.mode(how);
            if (!canvas.busy()) canvas.show(now, state.address(now, false, 0), state.address(now, false, 512), state.options.upscale);
            for (const [key, button] of Object.entries(modes)) button.setAttribute("aria-pressed", String(key === how));
            for (const [key, button] of Object.entries(methods)) { button.setAttribute("aria-pressed", String(key === (main.by_hand ? main.method : ""))); button.disabled = Boolean(part); }
            modes.focal.disabled = Boolean(part);
            leave.setAttribute("aria-pressed", String(main.left_out === "excluded"));
            compare.setAttribute("aria-pressed", String(after));
            canvas.node.classList.toggle("ls-out", Boolean(now.left_out));
            Studio.fill(marks, Studio.cropBadges(now).map(([text, kind, why]) => [h("span.ls-badge", {class: kind ? "ls-" + kind : ""}, text), h("div.ls-hint", {}, why)]));
            Studio.fill(made, now.output ? [h("img", {alt: t("The crop that was written"), src: state.address(now, true, 256)}), now.done ? null : h("div.ls-hint", {}, t("It is from before: crop to bring it up to date."))] : h("div.ls-hint", {}, t("Nothing yet.")));
            compare.disabled = !now.output;
            side.hidden = !(after && now.output);
            if (!side.hidden) large.src = state.address(now, true, 0); else large.removeAttribute("src");
            Studio.fill(shape, state.buckets.length ? shapes(now) : null);
            Studio.fill(boxes, siblings(main));
            canvas.fit();
        }
        // With buckets the shape is free: the largest box of another one around the same place.
        function shapes(now) {
            const list = state.buckets.map(([w, height]) => [`${w}x${height}`, `${w} × ${height}`]);
            return Studio.select([["", t("Another shape…")], ...list], "", (value) => {
                const found = list.find(([key]) => key === value);
                if (!found) return;
                const [w, height] = value.split("x").map(Number);
                send({...(part ? {part} : {}), box: Studio.cropBox.largest(now.size, w / height, Studio.cropBox.centre(canvas.box(), now.size)).map(Math.round)});
            }, {"aria-label": t("Another shape…")});
        }
        // The crops that this picture becomes, one of them in hand.
        function siblings(main) {
            const chip = (name, text, hint) => h("button.ls-toggle", {type: "button", "aria-pressed": String(name === part), title: hint, onclick: () => take(name)}, text);
            const known = {face: t("Face"), upper: t("Upper body")};
            const found = [chip("", t("Main crop"), "1"), ...main.more.map((m, k) => chip(m.part, known[m.part] || (m.part.startsWith("split") ? t("Part {n}", {n: m.part.slice(5)}) : t("Crop {n}", {n: m.part})), String(k + 2)))];
            const mine = main.more.find((m) => m.part === part);
            if (main.left_out !== "excluded") found.push(h("button.ls-button.ls-small", {type: "button", title: t("Another crop of the same picture, as a file of its own (c)"), onclick: add}, t("Add a crop")));
            if (mine && mine.by_hand) found.push(h("button.ls-button.ls-small", {type: "button", onclick: remove}, t("Remove this crop")));
            return found;
        }
        function take(name) { canvas.flush(); part = name; show(); canvas.node.focus(); }
        async function add() {
            canvas.flush();
            const main = one(), known = new Set(main.more.map((m) => m.part)), aspect = main.target[0] / main.target[1];
            // Half of the main box, but no smaller than what it becomes: something to drag.
            const wide = Math.max((main.box[2] - main.box[0]) / 2, state.options.upscale ? 0 : main.target[0]), [x, y] = Studio.cropBox.centre(main.box, main.size);
            const box = Studio.cropBox.grow(Studio.cropBox.largest(main.size, aspect, [x, y]), wide / Math.min(main.size[0], main.size[1] * aspect), aspect, main.size, 1);
            await send({add: box.map(Math.round)});
            const fresh = one().more.find((m) => !known.has(m.part));
            if (fresh) take(fresh.part);
        }
        function remove() { const mine = one().more.find((m) => m.part === part); if (!mine || !mine.by_hand) return; const gone = part; part = ""; send({part: gone, remove: true}); canvas.node.focus(); }
        function mode(name) { if (part && name === "focal") return; how = name; show(); }
        function go(step) {
            const to = at + step;
            if (to < 0 || to >= names.length) return;
            canvas.flush();
            at = to; part = "";
            show();
            canvas.node.focus();
        }
        function key(event) {
            if (event.isComposing || event.keyCode === 229 || (event.target.matches && event.target.matches("select"))) return;
            const ctrl = event.ctrlKey || event.metaKey, letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
            const known = {n: () => go(1), PageDown: () => go(1), p: () => go(-1), PageUp: () => go(-1), b: () => mode("box"), f: () => mode("focal"), r: () => methods[""].click(),
                Delete: () => (part ? remove() : leave.click()), c: () => add(), a: () => !compare.disabled && compare.click()};
            if (ctrl && (letter === "z" || letter === "y")) Studio.attempt(() => (letter === "y" || event.shiftKey ? state.forward() : state.back()));
            else if (ctrl || event.altKey) return;
            else if (known[letter]) known[letter]();
            else if (/^[1-9]$/.test(letter)) { const to = ["", ...one().more.map((m) => m.part)][Number(letter) - 1]; if (to === undefined) return; take(to); }
            else if (!canvas.key(event)) return;
            event.preventDefault();
            event.stopPropagation();
        }

        const closed = Studio.dialog({title: t("Crop by hand"), wide: true, body: node, buttons: [{text: t("Done"), value: null, kind: "primary"}]}).then(() => canvas.flush());
        show();
        canvas.node.focus();
        return {closed, changed: (some) => { if (!some || some.has(names[at])) show(); }};
    };
})();
