// Step 2: crop. The settings, the grid of originals with their boxes, and their application to all.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    Studio.panel("crop", {title: "Crop", create(root) {
        let editor = null, filter = "all", mode = "boxes", looked = "";
        const state = Studio.cropState((some) => draw(some));
        const settings = Studio.cropSettings((options) => Studio.attempt(() => state.setOptions(options)));
        const files = Studio.cropFiles(state);
        const grid = Studio.cropGrid(state, {open});
        const told = h("div.ls-crop-told");
        const looking = Studio.jobBar("crop-plan", () => Studio.attempt(state.load));
        const cropping = Studio.jobBar("crop", (job) => { if (job.state === "done") report(job.result); Studio.attempt(state.load); });
        const apply = Studio.button(t("Crop all"), start, {kind: "primary"});
        const counts = h("div.ls-crop-counts", {role: "status"});
        const back = Studio.button("↶", () => state.back(), {kind: "small", title: t("Undo (Ctrl + Z)"), "aria-label": t("Undo (Ctrl + Z)")});
        const forward = Studio.button("↷", () => state.forward(), {kind: "small", title: t("Redo (Ctrl + Y)"), "aria-label": t("Redo (Ctrl + Y)")});
        const which = Studio.select([["all", t("All pictures")], ["warned", t("With warnings")], ["hand", t("Placed by hand")], ["out", t("Left out")], ["todo", t("Not cropped yet")]], filter,
            (value) => { filter = value; draw(null); }, {"aria-label": t("Which pictures")});
        const views = {boxes: t("Boxes"), crops: t("Crops")}, buttons = {};
        for (const [name, text] of Object.entries(views)) buttons[name] = h("button.ls-toggle", {type: "button", onclick: () => { mode = name; draw(null); }}, text);
        const broken = h("details.ls-card.ls-crop-broken", {hidden: true});

        const empty = h("div.ls-empty", {hidden: true});
        const body = h("div.ls-columns.ls-crop", {},
            h("div", {}, settings.node, files.node),
            h("div.ls-crop-main", {},
                h("div.ls-card", {}, h("div.ls-row", {}, apply, counts), looking.node, cropping.node, told),
                h("div.ls-row.ls-crop-bar", {}, which, h("div.ls-row", {role: "group", "aria-label": t("Show")}, Object.values(buttons)), h("span.ls-spring"), h("div.ls-row", {}, back, forward)),
                broken, grid.node));
        root.append(empty, body);

        function names() {
            const wanted = {all: () => true, warned: (o) => o.warnings.length && !o.left_out, hand: (o) => o.by_hand, out: (o) => o.left_out, todo: (o) => !o.done && !o.left_out}[filter];
            return state.entries.filter(wanted).map((one) => one.source);
        }
        function draw(some) {
            const project = Studio.state.project, found = state.counts();
            const nothing = !project || (state.options && !found.pictures && !state.adopt);
            empty.hidden = Boolean(project) && !nothing;
            body.hidden = Boolean(nothing) || !state.options;
            if (nothing) {
                Studio.fill(empty, h("p", {}, project ? t("There are no pictures in this project yet.") : t("No project is open.")),
                    h("button.ls-button.ls-primary", {type: "button", onclick: () => Studio.open("project")}, project ? t("Add pictures") : t("Choose a project")));
                return;
            }
            if (!state.options) return;
            settings.show(state.options, state.detector);
            files.show(found);
            back.disabled = !state.undo; forward.disabled = !state.redo;
            for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === mode));
            tell(found);
            if (!some || filter !== "all") grid.show(names(), mode); else grid.update(some);
            if (editor) editor.changed(some);
            look(found);
        }
        function tell(found) {
            apply.disabled = cropping.running() || (!found.wanted && !state.adopt);
            apply.textContent = found.wanted && found.done === found.wanted ? t("Crop all again") : t("Crop all");
            const parts = state.adopt ? [[t("{n} {picture in the dataset becomes an original|pictures in the dataset become the originals} when you crop.", {n: state.adopt})]] : [
                [t("{n} of {all} cropped as shown", {n: found.done, all: found.wanted}), found.done === found.wanted && found.wanted ? "ok" : ""],
                found.more ? [t("Further crops: {n}", {n: found.more})] : null,
                found.enlarged ? [t("{n} enlarged", {n: found.enlarged}), "warn"] : null,
                found.too_small ? [t("{n} too small and left out", {n: found.too_small}), "warn"] : null,
                found.excluded ? [t("{n} left out by you", {n: found.excluded})] : null,
                found.unreadable ? [t("{n} cannot be read", {n: found.unreadable}), "bad"] : null,
            ];
            Studio.fill(counts, parts.filter(Boolean).map(([text, kind]) => h("span.ls-badge", {class: kind ? "ls-" + kind : ""}, text)));
            broken.hidden = !state.skipped.length;
            Studio.fill(broken, h("summary", {}, t("Pictures that cannot be read")), h("ul", {}, state.skipped.map((one) => h("li", {}, one.source, ": ", Studio.ts(one.reason)))));
        }
        // The best places are looked for in the background, once for a state of things; nobody has to ask.
        async function look(found) {
            const key = state.project + " " + found.pending;
            if (!found.pending || looked === key || looking.running() || cropping.running()) return;
            looked = key;
            try { looking.follow(await Studio.api.post(Studio.p`projects/${state.project}/crop/plan`)); } catch (error) { if (error.status !== 422) throw error; }
        }
        async function start() {
            const found = state.counts();
            told.replaceChildren();
            const again = found.wanted && found.done === found.wanted;
            cropping.follow(await Studio.api.post(Studio.p`projects/${state.project}/crop/apply`, {force: Boolean(again)}));
            tell(found);
        }
        // How many of what, with why pictures were left out.
        function report(result) {
            const parts = [t("{n} {picture|pictures} cropped.", {n: result.written})];
            if (result.unchanged) parts.push(t("{n} {was|were} there already as shown.", {n: result.unchanged}));
            if (result.captions) parts.push(t("{n} {caption|captions} came along.", {n: result.captions}));
            if (result.left_out) parts.push(t("{n} {crop of a picture|crops of pictures} now left out {was|were} moved out of the dataset.", {n: result.left_out}));
            if (result.kept_aside) parts.push(t("{n} {picture|pictures} that somebody had changed {was|were} kept in dataset/.lora_studio/replaced.", {n: result.kept_aside}));
            Studio.fill(told, h("p.ls-crop-report", {role: "status"}, Studio.sentences(parts)),
                result.listed.length ? h("details", {}, h("summary", {}, t("Left out: {n}", {n: result.skipped})), h("ul", {}, result.listed.map(([name, why]) => h("li", {}, name, ": ", Studio.ts(why))))) : null);
        }
        function open(name) {
            const list = names();
            editor = Studio.cropEditor(state, list.includes(name) ? list : [name], name);
            editor.closed.then(() => { editor = null; draw(null); });
        }
        Studio.keys("crop", [
            {key: "ctrl+z", text: t("Undo"), run: () => Studio.attempt(state.back)},
            {key: "ctrl+y", text: t("Redo"), run: () => Studio.attempt(state.forward)},
            {key: "shift+ctrl+z", text: t("Redo"), run: () => Studio.attempt(state.forward)},
            {key: "o", text: t("Crop the first picture by hand"), run: () => { const first = names()[0]; if (first) open(first); }},
        ]);
        const inSight = () => Studio.state.step === "crop" && Studio.visible !== false;
        Studio.on("changed", Studio.debounce((event) => { if (inSight() && (event.what !== "crop" || event.revision !== state.revision)) Studio.attempt(() => state.follow(event)); }, 300));
        Studio.on("reload", () => { if (inSight()) Studio.attempt(state.load); });
        const load = () => { looked = ""; told.replaceChildren(); return state.load(); };
        draw(null);
        return {show: () => state.load(), project: load};
    }});
})();
