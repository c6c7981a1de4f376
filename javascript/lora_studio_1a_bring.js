// Bringing pictures in: a place to drop files and folders on, and a field for the path of a folder of this machine.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, p} = Studio;
    const READ = /\.(png|jpe?g|jfif|webp|avif|bmp|gif|txt|zip)$/i;
    const AT_ONCE = 3; // uploads at the same time

    // Everything below what was dropped: files of folders too. Browsers give a folder's entries a hundred at a time.
    async function walk(entry) {
        if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
        const reader = entry.createReader(), found = [];
        for (;;) {
            const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
            if (!some.length) break;
            for (const one of some) if (!one.name.startsWith(".")) found.push(...(await walk(one)));
        }
        return found;
    }
    async function dropped(transfer) {
        const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
        const name = entries.length === 1 && entries[0].isDirectory ? entries[0].name : "";
        const files = entries.length ? (await Promise.all(entries.map(walk))).flat() : [...transfer.files];
        return {name, files};
    }

    // bringIn({target(name) -> project id or null, done(job)}) -> {node}: asks for the project only once there is something to bring into it.
    Studio.bringIn = function ({target}) {
        const bar = h("div.ls-bar-fill"), text = h("div.ls-job-text");
        let stop = false;
        const sending = h("div.ls-job", {hidden: true}, h("div.ls-bar", {role: "progressbar"}, bar), h("div.ls-row", {}, text, h("button.ls-button.ls-small", {type: "button", onclick: () => { stop = true; }}, t("Stop"))));
        const choose = (props) => h("input", {type: "file", multiple: true, hidden: true, onchange: (e) => { const files = [...e.target.files]; e.target.value = ""; Studio.attempt(() => send("", files)); }, ...props});
        const files = choose({accept: ".png,.jpg,.jpeg,.jfif,.webp,.avif,.bmp,.gif,.txt,.zip"}), folder = choose({webkitdirectory: true});
        const path = h("input.ls-input", {type: "text", spellcheck: false, placeholder: navigator.platform.startsWith("Win") ? "C:\\Users\\me\\Pictures\\her" : "/home/me/pictures/her",
            onkeydown: (e) => { if (e.key === "Enter" && !e.isComposing) { e.preventDefault(); Studio.attempt(byPath); } }});
        const zone = h("div.ls-drop", {
            ondragover: (e) => { if ([...e.dataTransfer.types].includes("Files")) { e.preventDefault(); zone.classList.add("ls-over"); } },
            ondragleave: () => zone.classList.remove("ls-over"),
            ondrop: (e) => { e.preventDefault(); e.stopPropagation(); zone.classList.remove("ls-over"); Studio.attempt(async () => { const found = await dropped(e.dataTransfer); await send(found.name, found.files); }); },
        }, h("strong", {}, t("Drop pictures or a folder here")),
        h("div.ls-row.ls-center", {}, h("button.ls-button", {type: "button", onclick: () => files.click()}, t("Choose pictures…")), h("button.ls-button", {type: "button", onclick: () => folder.click()}, t("Choose a folder…")), files, folder),
        h("div.ls-hint", {}, t("PNG, JPEG, WebP, AVIF, BMP, GIF, captions beside them, or a ZIP. They are copied; your own files stay as they are.")), sending);

        async function send(name, all) {
            const wanted = all.filter((f) => READ.test(f.name) && !f.name.startsWith("."));
            if (!wanted.length) { Studio.toast(t("There is no picture among them."), "error", t("PNG, JPEG, WebP, AVIF, BMP and GIF are read.")); return; }
            const project = await target(name);
            if (!project) return;
            const total = wanted.reduce((sum, f) => sum + f.size, 0), queue = [...wanted], began = Date.now(), part = new Map();
            let sent = 0;
            stop = false;
            sending.hidden = false;
            const show = () => {
                const now = sent + [...part.values()].reduce((sum, n) => sum + n, 0), speed = now / Math.max(1, Date.now() - began) * 1000;
                bar.style.width = (100 * now / Math.max(1, total)).toFixed(1) + "%";
                text.textContent = [t("Uploading: {done} of {total}", {done: Studio.bytes(now), total: Studio.bytes(total)}), speed > 0 && now < total ? t("{time} left", {time: Studio.duration((total - now) / speed)}) : ""].filter(Boolean).join(" · ");
            };
            async function worker() {
                for (let file = queue.shift(); file && !stop; file = queue.shift()) {
                    await Studio.api.upload(p`projects/${project}/uploads`, file, {name: file.name}, (share) => { part.set(file, share * file.size); show(); });
                    part.delete(file);
                    sent += file.size;
                    show();
                }
            }
            try { show(); await Promise.all(Array.from({length: AT_ONCE}, worker)); } finally { sending.hidden = true; }
            if (sent) await Studio.api.post(p`projects/${project}/import`, {});
        }
        async function byPath() {
            const chosen = path.value.trim().replace(/^"|"$/g, "");
            if (!chosen) return;
            const project = await target(chosen.split(/[\\/]/).filter(Boolean).pop() || "");
            if (!project) return;
            await Studio.api.post(p`projects/${project}/import`, {paths: [chosen]});
            path.value = "";
        }
        return {node: h("div.ls-bring", {}, zone,
            Studio.state.session.paths_allowed ? h("div.ls-row.ls-path-row", {}, h("label.ls-label", {}, t("or a folder of this machine"), " ", path), Studio.button(t("Bring in"), byPath)) : null)};
    };
})();
