// On another machine: a training packed into one file for a rented graphics card, and what was trained there brought home.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;

    // carry({choice() -> {base, preset, settings}, runs() -> [run], changed()}) -> {node, load(project)}
    Studio.carry = function ({choice, runs, changed}) {
        let project = null;
        const packs = Studio.jobBar("bundle", (job) => Studio.attempt(() => packed(job))), homes = Studio.jobBar("unbundle", (job) => Studio.attempt(() => home(job)));
        const list = h("div"), sending = h("div.ls-job-text", {hidden: true});
        const node = h("details.ls-card.ls-carry", {}, h("summary", {}, h("h3", {}, t("On another machine"))),
            h("p.ls-hint", {}, t("For a graphics card that is rented or stands elsewhere: one file holds pictures, captions, settings and state, and starts the training there. It comes back as a file too.")),
            h("div.ls-row", {}, Studio.button(t("Pack for another machine…"), pack, {kind: "small"}), Studio.button(t("Bring home…"), bring, {kind: "small"})),
            packs.node, sending, homes.node, list);

        async function load(id) {
            project = id;
            const found = await Studio.api.get(p`projects/${id}/bundles`);
            if (id === project) draw(found);
        }
        // arrived: what was uploaded and did not come home, because something failed or the page was closed.
        function draw({bundles, arrived}) {
            Studio.fill(list, arrived.map((one) => h("div.ls-row.ls-carry-arrived", {}, h("span", {}, t("Uploaded and not home yet")), h("span.ls-hint", {}, Studio.bytes(one.bytes)),
                Studio.button(t("Bring home"), async () => { homes.follow(await Studio.api.post(p`projects/${project}/bundles/home`, {file: one.file})); await load(project); }, {kind: "small"}),
                Studio.button(t("Throw away"), async () => draw(await Studio.api.delete(p`projects/${project}/bundles/uploads/${one.file}`)), {kind: "small"}))), bundles.map((one) => h("div.ls-row.ls-carry-file", {}, h("span", {translate: "no"}, one.file), h("span.ls-hint", {}, Studio.bytes(one.bytes)),
                Studio.button(t("Download"), () => Studio.download(p`projects/${project}/bundles/${one.file}`), {kind: "small"}),
                Studio.button(t("Delete"), async () => {
                    if (await Studio.confirm({title: t("Delete {name}?", {name: one.file}), body: t("The training it was made of stays."), ok: t("Delete"), kind: "danger"})) draw(await Studio.api.delete(p`projects/${project}/bundles/${one.file}`));
                }, {kind: "small"}))));
        }

        async function pack() {
            const open = runs().filter((run) => run.state !== "running" && run.state !== "finished");
            const which = Studio.select([["", t("A new training with the settings above")], ...open.map((run) => [run.name, t("Go on with the run of {time}", {time: Studio.runTime(run.name)})])], open.length ? open[0].name : "");
            const base = h("input", {type: "checkbox"});
            const ok = await Studio.dialog({title: t("Pack for another machine"), buttons: [{text: t("Cancel"), value: false}, {text: t("Pack"), value: true, kind: "primary"}],
                body: h("div", {}, Studio.field(t("What is trained there"), which), Studio.field(t("Put the base model into the file"), base, {hint: t("Otherwise the other machine needs the same file: it is checked there.")}))});
            if (!ok) return;
            packs.follow(await Studio.api.post(p`projects/${project}/bundles`, {...(which.value ? {run: which.value} : choice()), include_base: base.checked}));
            changed();
        }
        async function packed(job) {
            if (job.project !== project) return;
            await load(project);
            if (job.state !== "done") return;
            const {file, bytes, command, left_out} = job.result, name = file.split(/[\\/]/).pop();
            const get = await Studio.dialog({title: t("Packed: {size}", {size: Studio.bytes(bytes)}), buttons: [{text: t("Close"), value: false}, {text: t("Download"), value: true, kind: "primary"}],
                body: h("div", {}, h("p", {}, t("Copy it to the other machine, where Python is, and start it:")), h("pre.ls-run-log", {translate: "no"}, command), h("p.ls-hint", {}, t("What it packs at the end comes back here with “Bring home…”.")), rest(left_out))});
            if (get) Studio.download(p`projects/${project}/bundles/${name}`);
        }
        const rest = (rows) => (rows.length ? h("div", {}, h("h4", {}, t("Left out")), h("ul.ls-left-out", {}, rows.map(([name, reason]) => h("li", {}, h("span", {translate: "no"}, name), ": ", ts(reason))))) : null);

        async function bring() {
            const file = h("input", {type: "file", accept: ".zip"}), path = h("input.ls-input", {type: "text", spellcheck: false});
            const ok = await Studio.dialog({title: t("Bring home"), buttons: [{text: t("Cancel"), value: false}, {text: t("Bring home"), value: true, kind: "primary"}],
                body: h("div", {}, Studio.field(t("The file that the other machine packed (…-back.zip)"), file), Studio.state.session.paths_allowed ? Studio.field(t("or its path on this machine"), path) : null)});
            if (!ok || (!file.files.length && !path.value.trim())) return;
            const id = project, [one] = file.files;
            let from = {path: path.value.trim()};
            if (one) {
                sending.hidden = false;
                try {
                    const sent = await Studio.api.upload(p`projects/${id}/bundles/uploads`, one, {name: one.name}, (share) => { sending.textContent = t("Uploading: {done} of {total}", {done: Studio.bytes(share * one.size), total: Studio.bytes(one.size)}); });
                    from = {file: sent.file};
                } finally { sending.hidden = true; }
            }
            homes.follow(await Studio.api.post(p`projects/${id}/bundles/home`, from));
        }
        async function home(job) {
            if (job.state !== "done") return load(project);
            const found = job.result, here = Studio.state.project && found.project === Studio.state.project.name;
            await Studio.dialog({title: t("It is home"), body: h("div", {}, h("p", {}, here ? t("The run is in the history below.") : t("It belongs to the project {name}.", {name: found.project})),
                h("p", {}, t("{n} {LoRA|LoRAs} came along.", {n: found.loras.length})), rest(found.left_out))});
            changed();
        }
        return {node, load};
    };
})();
