// Bringing pictures in: a place to drop files and folders on, a field for the path of a folder of this machine, and what was uploaded and not imported.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;
    const READ = /\.(png|jpe?g|jfif|webp|avif|bmp|gif|txt|zip)$/i;
    const JUNK = /^(\.|Thumbs\.db$|desktop\.ini$)/i;
    const AT_ONCE = 3; // uploads at the same time
    const GIVE_UP = 3; // failures one after the other

    // A file and its path below what was dropped or chosen: a caption belongs to the picture of its name in its folder.
    const item = (file, path) => ({file, path: path || file.webkitRelativePath || file.name});
    const asked = (ask) => new Promise(ask).catch(() => null);
    // Everything below what was dropped: files of folders too. Browsers give a folder's entries a hundred at a time.
    async function walk(entry) {
        const path = entry.fullPath.replace(/^\//, "");
        if (entry.isFile) return [item(await asked((resolve, reject) => entry.file(resolve, reject)), path)];
        const reader = entry.createReader(), found = [];
        for (;;) {
            const some = await asked((resolve, reject) => reader.readEntries(resolve, reject));
            if (!some) return [...found, item(null, path)];
            if (!some.length) return found;
            for (const one of some) if (!JUNK.test(one.name)) found.push(...(await walk(one)));
        }
    }
    async function dropped(transfer) {
        const entries = [...transfer.items].map((one) => one.webkitGetAsEntry && one.webkitGetAsEntry()).filter(Boolean);
        const name = entries.length === 1 && entries[0].isDirectory ? entries[0].name : "";
        return {name, items: entries.length ? (await Promise.all(entries.map(walk))).flat() : [...transfer.files].map((file) => item(file))};
    }
    // One upload runs at a time in a window; its bar moves to the place that is in sight (a new project opens while its pictures come in).
    let sending = null, bar = null, text = null, stop = false, live = null;
    function sendingBar() {
        if (sending) return sending;
        bar = h("div.ls-bar-fill");
        text = h("div.ls-job-text");
        sending = h("div.ls-job", {hidden: true}, h("div.ls-bar", {role: "progressbar"}, bar), h("div.ls-row", {}, text, h("button.ls-button.ls-small", {type: "button", onclick: () => { stop = true; }}, t("Stop"))));
        return sending;
    }
    const mine = new Set(); // batches that this window sent
    // A word for all files of one import. (randomUUID is there on https alone.)
    const newBatch = () => [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(16).padStart(2, "0")).join("");

    // leftOut([[name, reason]]): names every file that was not taken; many of one kind are one line.
    Studio.leftOut = async function (list) {
        if (!list.length) return;
        const kinds = new Map(), ending = (name) => (/\.\w+$/.exec(name) || [""])[0].toLowerCase();
        for (const [name, reason] of list) { const key = ending(name) + "\n" + reason; kinds.set(key, [...(kinds.get(key) || []), name]); }
        const rows = [...kinds].flatMap(([key, names]) => { const reason = key.slice(key.indexOf("\n") + 1); return names.length > 20 ? [["*" + ending(names[0]) + " × " + names.length, reason]] : names.map((name) => [name, reason]); });
        const shown = (name) => (/^([A-Za-z]:)?[\\/]/.test(name) ? name.split(/[\\/]/).pop() : name);
        await Studio.dialog({title: t("{n} {file was|files were} left out", {n: list.length}), body: h("ul.ls-left-out", {}, rows.slice(0, 200).map(([name, reason]) => h("li", {}, h("strong", {translate: "no"}, shown(String(name))), ": ", ts(reason))))});
    };

    // bringIn({target(name) -> project id or null, started(job)}) -> {node, load(project)}: asks for the project only once there is something to bring
    // into it. load: shows what was uploaded into this project and not imported.
    Studio.bringIn = function ({target, started = () => {}}) {
        const waiting = h("div.ls-waiting", {hidden: true});
        let shown = null;
        const choose = (props) => h("input", {type: "file", multiple: true, hidden: true, onchange: (e) => { const items = [...e.target.files].map((file) => item(file)); e.target.value = ""; Studio.attempt(() => send("", items)); }, ...props});
        const files = choose({accept: ".png,.jpg,.jpeg,.jfif,.webp,.avif,.bmp,.gif,.txt,.zip"}), folder = choose({webkitdirectory: true});
        const path = h("input.ls-input", {type: "text", spellcheck: false, placeholder: navigator.platform.startsWith("Win") ? "C:\\Users\\me\\Pictures\\her" : "/home/me/pictures/her",
            onkeydown: (e) => { if (e.key === "Enter" && !e.isComposing) { e.preventDefault(); Studio.attempt(byPath); } }});
        const zone = h("div.ls-drop", {
            ondragover: (e) => { if ([...e.dataTransfer.types].includes("Files")) { e.preventDefault(); zone.classList.add("ls-over"); } },
            ondragleave: () => zone.classList.remove("ls-over"),
            ondrop: (e) => { e.preventDefault(); e.stopPropagation(); zone.classList.remove("ls-over"); Studio.attempt(async () => { const found = await dropped(e.dataTransfer); await send(found.name, found.items); }); },
        }, h("strong", {}, t("Drop pictures or a folder here")),
        h("div.ls-row.ls-center", {}, h("button.ls-button", {type: "button", onclick: () => files.click()}, t("Choose pictures…")), h("button.ls-button", {type: "button", onclick: () => folder.click()}, t("Choose a folder…")), files, folder),
        h("div.ls-hint", {}, t("PNG, JPEG, WebP, AVIF, BMP, GIF, captions beside them, or a ZIP. They are copied; your own files stay as they are.")), sendingBar(), waiting);

        async function send(name, all) {
            if (!sending.hidden) { Studio.toast(t("An upload is running already."), "error", t("Wait for its end, or stop it first.")); return; }
            const some = all.filter(({path}) => !path.split("/").some((part) => JUNK.test(part))), wanted = some.filter(({file, path}) => file && READ.test(path));
            const lost = some.filter((one) => !wanted.includes(one)).map(({file, path}) => [path, file ? t("Only pictures, captions (.txt) and ZIPs are taken.") : t("It cannot be read.")]);
            if (!wanted.length) { Studio.toast(t("There is no picture among them."), "error", t("PNG, JPEG, WebP, AVIF, BMP and GIF are read.")); return; }
            const project = await target(name);
            if (!project) return;
            const total = wanted.reduce((sum, {file}) => sum + file.size, 0), queue = [...wanted], began = Date.now(), part = new Map(), batch = newBatch();
            let sent = 0, stored = 0, failures = 0, broken = null;
            mine.add(batch);
            stop = false;
            sending.hidden = false;
            const show = () => {
                const now = sent + [...part.values()].reduce((sum, n) => sum + n, 0), speed = now / Math.max(1, Date.now() - began) * 1000;
                bar.style.width = (100 * now / Math.max(1, total)).toFixed(1) + "%";
                text.textContent = [t("Uploading: {done} of {total}", {done: Studio.bytes(now), total: Studio.bytes(total)}), speed > 0 && now < total ? t("{time} left", {time: Studio.duration((total - now) / speed)}) : ""].filter(Boolean).join(" · ");
            };
            async function worker() {
                for (let one = queue.shift(); one && !stop; one = queue.shift()) {
                    const {file, path} = one;
                    try {
                        await Studio.api.upload(p`projects/${project}/uploads`, file, {name: path, batch}, (share) => { part.set(file, share * file.size); show(); });
                        stored += 1;
                        failures = 0;
                    } catch (error) {
                        lost.push([path, [error.message, error.hint].filter(Boolean).join(" ")]);
                        failures += 1;
                        if (failures >= GIVE_UP || error.status !== 422) { broken = error; stop = true; }
                    }
                    part.delete(file);
                    sent += file.size;
                    show();
                }
            }
            try { show(); await Promise.all(Array.from({length: AT_ONCE}, worker)); } finally { sending.hidden = true; }
            if (broken) Studio.fail(broken);
            lost.push(...queue.map(({path}) => [path, t("The upload was stopped.")]));
            // Stopped or broken off: what has arrived waits, and it is asked what becomes of it.
            const job = stored && !stop ? await Studio.attempt(() => Studio.api.post(p`projects/${project}/import`, {batch})) : null;
            if (job && live) live.started(job); else if (live) await live.refresh();
            await Studio.leftOut(lost);
        }
        // What was uploaded and not imported: by a page that was closed, an upload that was stopped, an import that failed.
        async function load(project) {
            shown = project;
            const {batches} = await Studio.api.get(p`projects/${project}/uploads`);
            if (shown !== project) return;
            const left = batches.filter((one) => !one.busy || (one.busy === "uploading" && mine.has(one.batch) && sending.hidden));
            waiting.hidden = !left.length;
            Studio.fill(waiting, left.map((one) => h("div.ls-waiting-row", {dataset: {batch: one.batch}},
                h("div", {}, t("{n} {file was|files were} uploaded and not imported ({size}):", {n: one.files, size: Studio.bytes(one.bytes)}), " ", h("span.ls-hint", {translate: "no"}, one.names.join(", ") + (one.files > one.names.length ? " …" : ""))),
                h("div.ls-row.ls-center", {}, Studio.button(t("Import"), async () => { started(await Studio.api.post(p`projects/${project}/import`, {batch: one.batch})); await load(project); }, {kind: "small"}),
                    Studio.button(t("Throw away"), async () => { await Studio.api.delete(p`projects/${project}/uploads/${one.batch}`); await load(project); }, {kind: "small"})))));
        }
        async function byPath() {
            const chosen = path.value.trim().replace(/^"|"$/g, "");
            if (!chosen) return;
            const project = await target(chosen.split(/[\\/]/).filter(Boolean).pop() || "");
            if (!project) return;
            await Studio.api.post(p`projects/${project}/import`, {paths: [chosen]});
            path.value = "";
        }
        live = {started: (job) => started(job), refresh: async () => { if (shown) await load(shown); }};
        return {load, node: h("div.ls-bring", {}, zone,
            Studio.state.session.paths_allowed ? h("div.ls-row.ls-path-row", {}, h("label.ls-label", {}, t("or a folder of this machine"), " ", path), Studio.button(t("Bring in"), byPath)) : null)};
    };
})();
