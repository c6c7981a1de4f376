// The runs of a project: a line each, two or more loss curves over one another, deleted ones in the trash.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts, p} = Studio;

    // runHistory({open(name), changed(history)}) -> {node, draw(project, history, shown)}
    Studio.runHistory = function ({open, changed}) {
        let project = "", history = null, shown = "";
        const chosen = new Set(), curves = new Map();
        const table = h("div.ls-table-scroll"), compare = h("div"), tools = h("div.ls-row"), link = h("span");
        const node = h("section.ls-card.ls-history", {hidden: true}, h("div.ls-row", {}, h("h3", {}, t("History")), tools), h("p.ls-hint", {}, t("Tick two runs or more to compare their loss curves.")), table, compare, link);

        function draw(id, found, now) {
            if (id !== project) { chosen.clear(); curves.clear(); compare.replaceChildren(); link.replaceChildren(); }
            project = id; history = found; shown = now;
            node.hidden = !history.runs.length && !history.trash.length;
            for (const name of [...chosen]) if (!history.runs.some((r) => r.name === name)) chosen.delete(name);
            Studio.fill(tools, history.tensorboard && history.runs.length ? Studio.button("TensorBoard", tensorboard, {kind: "small", title: t("Starts TensorBoard on this machine and opens it")}) : null,
                history.trash.length ? Studio.button(t("Trash ({n})", {n: history.trash.length}), trash, {kind: "small"}) : null);
            const heads = ["", t("Started"), t("State"), t("Base model"), t("Epoch"), t("Step"), t("Loss"), t("Saved"), ""];
            Studio.fill(table, h("table.ls-epochs", {}, h("thead", {}, h("tr", {}, heads.map((x) => h("th", {}, x)))), h("tbody", {}, history.runs.map(row))));
        }
        const row = (r) => h("tr", {class: r.name === shown ? "ls-best" : "", dataset: {run: r.name}},
            h("td", {}, h("input", {type: "checkbox", checked: chosen.has(r.name), "aria-label": t("Compare {name}", {name: Studio.runTime(r.name)}), onchange: (e) => tick(r.name, e.target.checked)})),
            h("td.ls-number", {}, h("button.ls-link", {type: "button", onclick: () => open(r.name)}, Studio.runTime(r.name))),
            h("td", {title: r.message ? ts(r.message) : null}, Studio.runBadge(r.state)), h("td", {}, h("span", {translate: "no"}, r.base), r.problem ? h("div.ls-hint", {}, ts(r.problem)) : null), h("td.ls-number", {}, r.epoch || "–"),
            h("td.ls-number", {}, r.total ? r.step + " / " + r.total : "–"), h("td.ls-number", {}, r.loss === null ? "–" : String(+r.loss.toPrecision(3))), h("td.ls-number", {}, r.saved),
            h("td", {}, r.state === "running" ? null : Studio.button(t("Delete"), () => remove(r), {kind: "small"})));

        async function remove(r) {
            const sure = await Studio.confirm({title: t("Delete the run of {time}?", {time: Studio.runTime(r.name)}), ok: t("Move to the trash"), kind: "danger",
                body: h("p", {}, t("Its settings, curve, samples and resumable state go to the project's trash. Its LoRA files stay where they are."))});
            if (sure) changed(await Studio.api.delete(p`projects/${project}/runs/${r.name}`));
        }
        async function trash() {
            const name = await Studio.dialog({title: t("Runs in the trash"), body: h("p", {}, t("Put a run back:")), buttons: [...history.trash.map((n) => ({text: Studio.runTime(n), value: n})), {text: t("Cancel"), value: null}]});
            if (name) changed(await Studio.api.post(p`projects/${project}/runs/${name}/restore`));
        }
        async function tensorboard() {
            const {url} = await Studio.api.post(p`projects/${project}/tensorboard`);
            Studio.fill(link, h("a.ls-link", {href: url, target: "_blank", rel: "noopener"}, t("Open TensorBoard"), " ", h("span", {translate: "no"}, url)));
            window.open(url, "_blank", "noopener");
        }
        async function tick(name, on) {
            if (on) chosen.add(name); else chosen.delete(name);
            const names = history.runs.map((r) => r.name).filter((n) => chosen.has(n));
            if (names.length < 2) { compare.replaceChildren(); return; }
            await Studio.attempt(async () => {
                for (const n of names) curves.set(n, (await Studio.api.get(p`projects/${project}/runs/${n}`)).points || []);
                compare.replaceChildren();
                Studio.chart(compare, {xLabel: t("Step"), yLabel: t("Loss (smoothed)"), format: (y) => String(+y.toPrecision(3)),
                    series: names.filter((n) => curves.get(n).length).map((n) => ({name: Studio.runTime(n), points: curves.get(n).map((x) => [x[0], x[2]])}))});
            });
        }
        return {node, draw};
    };
})();
