// The grid: a card for each picture with its tags as chips. A click takes a tag out, dragging moves it, typing adds one.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const HEIGHTS = {small: 132, medium: 196, large: 300}, HOLD = 350, MOVED = 5;

    Studio.editGrid = function (state, {open}) {
        let size = Studio.remembered("edit.size") || "medium";
        const cards = new WeakMap();
        const list = Studio.virtual({height: (width) => (width < 420 ? Math.max(HEIGHTS[size], 168) : HEIGHTS[size]), narrowest: 400, gap: 10, draw, sight: (names) => state.see(names), label: t("Pictures and their tags"), role: "listbox"});
        list.node.classList.add("ls-edit-grid");
        list.node.setAttribute("aria-multiselectable", "true");

        function draw(name) {
            const card = Studio.editCard(state, name, {open});
            cards.set(card.node, card);
            card.show();
            return card.node;
        }
        const of = (node) => cards.get(node);
        return {
            node: list.node,
            show: () => list.show(state.names),
            update: (names) => { for (const name of names) { const cell = list.cell(name); if (cell) of(cell).show(); } },
            selection: () => list.each((cell) => of(cell).selection()),
            recolour: () => list.each((cell) => of(cell).show()),
            columns: list.columns,
            redraw: list.redraw,
            size: () => size,
            resize: (to) => { size = to; Studio.remember("edit.size", to); list.node.dataset.size = to; list.redraw(); },
            // Put the focus on the card some places further.
            go: (by) => {
                const from = state.anchor !== null && list.place(state.anchor) !== undefined ? list.place(state.anchor) : -1;
                const to = Math.max(0, Math.min(state.names.length - 1, from < 0 ? 0 : from + by));
                const name = state.names[to];
                if (name === undefined) return;
                state.select(name);
                state.selected.add(name);
                state.anchor = name;
                const cell = list.into(name);
                if (cell) of(cell).focus();
            },
            edit: (name) => { const cell = list.into(name); if (cell) of(cell).type(); },
        };
    };

    // One picture's card: {node, show(), selection(), focus(), type()}.
    Studio.editCard = function (state, name, {open}) {
        const image = h("img.ls-edit-image", {alt: "", loading: "lazy", decoding: "async", draggable: false});
        const box = h("input.ls-edit-tick", {type: "checkbox", tabIndex: -1, "aria-label": t("Select {name}", {name}), onclick: (e) => { e.stopPropagation(); state.select(name, {more: true, range: e.shiftKey}); }});
        const large = h("button.ls-edit-open", {type: "button", tabIndex: -1, title: t("Show large"), "aria-label": t("Show large"), onclick: (e) => { e.stopPropagation(); open(name); }}, "⤢");
        const picture = h("div.ls-edit-picture", {onclick: (e) => state.select(name, {range: e.shiftKey, more: e.ctrlKey || e.metaKey}), ondblclick: () => open(name)}, image, box, large);
        const chips = Studio.chips(state, name);
        const input = Studio.tagInput({placeholder: t("Add a tag"), label: t("Add a tag to {name}", {name}), onPick: (tag) => state.change([{op: "add", name, tag}])});
        const title = h("span.ls-edit-name", {title: name}, name), note = h("span.ls-edit-note"), badges = h("span.ls-edit-badges");
        const node = h("div.ls-edit-card", {role: "option", tabIndex: -1, dataset: {name}, onkeydown: keys}, picture,
            h("div.ls-edit-side", {}, h("div.ls-edit-head", {}, title, badges, note), chips.node, input.node));

        function show() {
            const card = state.cards.get(name);
            node.classList.toggle("ls-waiting", !card);
            selection();
            if (!card) return;
            const address = Studio.api.url(Studio.p`projects/${state.project}/pictures/dataset/${name}`, {size: 256, v: card.v});
            if (image.getAttribute("src") !== address) image.src = address;
            note.textContent = t("{n} {tag|tags} · {tokens} {token|tokens}", {n: card.tags.length, tokens: card.tokens});
            note.classList.toggle("ls-warn", card.tokens > 75);
            note.title = card.tokens > 75 ? t("CLIP reads 75 tokens at a time; the trainer reads up to 225.") : "";
            Studio.fill(badges,
                card.problem ? h("span.ls-badge.ls-bad", {title: Studio.ts(card.problem)}, t("cannot be read")) : null,
                card.shared ? h("span.ls-badge.ls-warn", {title: t("Several pictures have this name with another ending: they share one caption.")}, t("shared caption")) : null,
                card.against.length ? h("span.ls-badge.ls-warn", {title: card.against.map(([a, b]) => t("{a} and {b} cannot both be true", {a, b})).join("\n")}, t("contradiction")) : null);
            chips.show(card);
        }
        function selection() {
            const on = state.selected.has(name);
            node.setAttribute("aria-selected", String(on));
            box.checked = on;
        }
        function keys(e) {
            if (e.target !== node || e.isComposing) return;
            if (e.key === "Enter") { input.input.focus(); e.preventDefault(); e.stopPropagation(); }
            if (e.key === " ") { state.select(name, {more: true}); e.preventDefault(); }
        }
        return {node, show, selection, focus: () => node.focus({preventScroll: true}), type: () => input.input.focus({preventScroll: true})};
    };

    // The tags of a picture as chips: {node, show(card)}.
    Studio.chips = function (state, name) {
        const node = h("div.ls-chips", {role: "list", "aria-label": t("Tags of {name}", {name})});
        let tags = [], shown = "";

        function show(card) {
            tags = card.tags;
            const trigger = (Studio.state.project || {}).trigger || "", against = new Set(card.against.flat());
            const key = JSON.stringify([tags, trigger, [...against], state.kinds.size]);
            if (key === shown) return;
            shown = key;
            const focused = [...node.children].indexOf(document.activeElement), seen = new Set();
            Studio.fill(node, tags.map((tag, at) => {
                const again = seen.has(tag), kind = (state.kinds.get(tag) || {}).kind;
                seen.add(tag);
                const classes = [kind && "ls-is-" + kind, again && "ls-again", tag === trigger && "ls-trigger", against.has(tag) && "ls-against"].filter(Boolean).join(" ");
                return h("span.ls-chip", {role: "listitem", tabIndex: at ? -1 : 0, class: classes, title: again ? t("This tag is there already") : "", onkeydown: (e) => keys(e, at)},
                    h("span.ls-chip-text", {}, tag), h("button.ls-chip-x", {type: "button", tabIndex: -1, "aria-label": t("Remove {tag}", {tag}), onclick: () => remove(at)}, "×"));
            }), tags.length ? null : h("span.ls-hint", {}, t("No tags yet")));
            if (focused >= 0 && node.children.length) focus(Math.min(focused, tags.length - 1));
        }
        function focus(at) {
            [...node.children].forEach((chip, k) => { chip.tabIndex = k === at ? 0 : -1; });
            if (node.children[at]) node.children[at].focus({preventScroll: true});
        }
        const remove = (at) => state.change([{op: "remove", name, tag: tags[at], at}]);
        const move = (at, to) => (at === to ? null : state.change([{op: "move", name, tag: tags[at], at, to}]));
        function keys(e, at) {
            if (e.isComposing) return;
            const by = {ArrowLeft: -1, ArrowRight: 1}[e.key];
            if (by && (e.ctrlKey || e.metaKey)) { const to = at + by; if (to >= 0 && to < tags.length) { move(at, to); focus(to); } }
            else if (by) focus(Math.max(0, Math.min(tags.length - 1, at + by)));
            else if (e.key === "Delete" || e.key === "Backspace") remove(at);
            else if (e.key === "F2") rename(at);
            else return;
            e.preventDefault(); e.stopPropagation();
        }
        // Write a tag differently, in its place.
        function rename(at) {
            const chip = node.children[at], tag = tags[at];
            const field = h("input.ls-chip-edit", {type: "text", value: tag, "aria-label": t("Write {tag} differently", {tag})});
            let over = false;
            const end = (keep) => {
                if (over) return;
                over = true;
                shown = "";
                if (keep && field.value.trim() !== tag) state.change([{op: "replace", name, tag, at, new: field.value}]);
                else if (state.cards.get(name)) show(state.cards.get(name));
            };
            field.addEventListener("keydown", (e) => {
                e.stopPropagation();
                if (e.isComposing || e.keyCode === 229) return;
                if (e.key === "Enter") end(true);
                if (e.key === "Escape") { end(false); e.preventDefault(); }
            });
            field.addEventListener("blur", () => end(true));
            chip.firstChild.replaceWith(field);
            field.focus(); field.select();
        }
        node.addEventListener("dblclick", (e) => { const at = [...node.children].findIndex((chip) => chip.contains(e.target)); if (at >= 0 && tags.length && !e.target.closest("button, input")) rename(at); });

        // -- dragging --------------------------------------------------------
        // By mouse at once; by finger after holding still, so that a list can be scrolled.
        let drag = null;
        node.addEventListener("pointerdown", (e) => {
            const chip = e.target.closest(".ls-chip");
            if (!chip || e.button || e.target.closest("button, input")) return;
            drag = {chip, at: [...node.children].indexOf(chip), x: e.clientX, y: e.clientY, on: false, id: e.pointerId, touch: e.pointerType === "touch"};
            if (drag.touch) drag.timer = setTimeout(() => { if (drag) begin(); }, HOLD);
        });
        function begin() {
            drag.on = true;
            drag.to = drag.at;
            drag.chip.classList.add("ls-dragged");
            try { node.setPointerCapture(drag.id); } catch (error) { /* the pointer is gone */ }
        }
        node.addEventListener("pointermove", (e) => {
            if (!drag || e.pointerId !== drag.id) return;
            const far = Math.hypot(e.clientX - drag.x, e.clientY - drag.y) > MOVED;
            if (!drag.on && far) { if (drag.touch) { cancel(); return; } begin(); }
            if (drag.on) { drag.to = target(e.clientX, e.clientY); mark(); e.preventDefault(); }
        });
        // The place among the other chips that a point means.
        function target(x, y) {
            const others = [...node.querySelectorAll(".ls-chip")].filter((chip) => chip !== drag.chip);
            let to = others.length;
            for (const [k, chip] of others.entries()) {
                const at = chip.getBoundingClientRect();
                if (y < at.top || (y <= at.bottom && x < at.left + at.width / 2)) { to = k; break; }
            }
            return to;
        }
        function mark() {
            const others = [...node.querySelectorAll(".ls-chip")].filter((chip) => chip !== drag.chip);
            others.forEach((chip, k) => { chip.classList.toggle("ls-before", k === drag.to); chip.classList.toggle("ls-behind", drag.to === others.length && k === others.length - 1); });
        }
        function cancel() {
            if (!drag) return null;
            clearTimeout(drag.timer);
            const was = drag;
            drag = null;
            was.chip.classList.remove("ls-dragged");
            for (const chip of node.children) chip.classList.remove("ls-before", "ls-behind");
            return was;
        }
        node.addEventListener("pointerup", () => { const was = cancel(); if (was && was.on) move(was.at, was.to); else if (was) focus(was.at); });
        node.addEventListener("pointercancel", cancel);
        node.addEventListener("touchmove", (e) => { if (drag && drag.on) e.preventDefault(); }, {passive: false});
        return {node, show};
    };
})();
